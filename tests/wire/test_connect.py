"""What keeps a client from being made is reported as what it is."""

import pytest
import redis

from qtctl.errors import ConfigError
from qtctl.wire.client.connect import connect
from tests.support.cli import Cli


def connected(url: str) -> object:
    return connect(url, connect_timeout_sec=1.0, timeout_sec=1.0)


@pytest.mark.parametrize("place", ["redis://:hush@127.0.0.1:1/0", "unix://:hush@/run/none.sock"])
def test_an_option_that_redis_does_not_know_is_a_bad_url_that_names_it(place: str) -> None:
    with pytest.raises(ConfigError, match=r"has an unknown option: colour$") as raised:
        connected(f"{place}?colour=red")
    assert "hush" not in str(raised.value)


def test_an_option_with_a_bad_value_is_a_bad_url() -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        connected("redis://127.0.0.1:1/0?socket_timeout=much")


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis://127.0.0.1:1/0?db=1"])
def test_a_type_error_of_the_library_is_no_bad_url(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    """As from a redis-py that knows an argument of ours no more, or not yet."""

    def refusing(self: object, **_: object) -> None:
        raise TypeError("__init__() got an unexpected keyword argument 'driver_info'")

    monkeypatch.setattr(redis.Connection, "__init__", refusing)
    with pytest.raises(TypeError, match="driver_info"):
        connected(url)
    said = Cli(url, capsys)("permit", "list")
    assert "internal error: TypeError" in said.err
    assert "redis] url" not in said.err
