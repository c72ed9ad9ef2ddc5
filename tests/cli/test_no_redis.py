"""Where no Redis answers: exit 3, soon, and one line that keeps the password to itself."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.ports import free_port
from tests.support.processes import qtctl
from tests.support.timing import least

COMMANDS = [
    "inject eff BTCUSDT 0.2",
    "inject target BTCUSDT 1000",
    "inject plan BTCUSDT",
    "inject plan BTCUSDT --wait 1",
    "inject clear",
    "inject clear --dry-run",
    "tail proposed",
    "tail plans BTCUSDT",
    "tail events -f",
    "tail rejected -o json",
    "permit",
    "permit list -o json",
    "permit show p1",
    "permit take p1 --cap 5",
    "plan list",
    "plan show p1",
    "plan explain p1",
    "plan list --what-if max_exec_per_hour=5",
    "why BTCUSDT",
    "halt",
    "halt BTCUSDT --all",
    "halt --dry-run",
    "resume --reason back --yes",
    "group list",
    "group recover --dry-run",
    "group prune",
    "stream list",
    "config diff",
    "target list",
    "eff list",
    "serve allocation --once",
    "serve governor --once",
    "serve all --once",
]


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def closed() -> int:
    """A port where nobody listens."""
    return free_port()


def says_it(said_code: int, out: str, err: str, port: int) -> None:
    assert said_code == 3
    assert out == ""
    assert "hush" not in err
    assert "Traceback" not in err
    *before, last = err.splitlines()
    assert last.startswith("qtctl: ")
    assert f"redis://ops@127.0.0.1:{port}/3" in last
    assert not any(line.startswith("qtctl:") for line in before)


@pytest.mark.parametrize("line", COMMANDS)
def test_no_redis_is_exit_3_and_one_line_without_the_password(
    line: str, closed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = Cli(f"redis://ops:hush@127.0.0.1:{closed}/3", capsys)
    begun = time.monotonic()
    says_it(*cli(*line.split()), closed)
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("line", ["tail plans -f", "inject plan BTCUSDT"])
def test_a_redis_that_never_answers_is_given_up_in_under_3_seconds(line: str, silent: int) -> None:
    url = f"redis://ops:hush@127.0.0.1:{silent}/3"

    def beyond_a_start() -> float:
        """A busy machine takes its time to start any program."""
        began = time.monotonic()
        with qtctl("version") as child:
            assert child.wait() == 0
        started = time.monotonic()
        with qtctl("--redis-url", url, *line.split()) as child:
            code = child.wait()
            says_it(code, child.stdout, child.stderr, silent)
        return (time.monotonic() - started) - (started - began)

    assert least(beyond_a_start, 2.7) < 2.7


def test_a_refused_login_is_told_without_the_password(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Cli(f"{redis_url}?username=ops&password=hush", capsys)("permit", "list")
    assert said.code == 3
    assert "refuses the login" in said.err
    assert "hush" not in said.err


def test_a_missing_database_is_told_in_one_line(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Cli(f"{redis_url}?db=999", capsys)("permit", "list")
    assert said.code != 0
    assert said.err.count("\n") == 1
    assert "internal error" not in said.err


def test_halt_says_in_whole_sentences_what_to_do_without_redis(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system's own message ends with a full stop here."""
    said = Cli(f"unix://{tmp_path}/none.sock", capsys)("halt")
    assert said.code == 3
    assert "No such file or directory. The URL comes from --redis-url. While Redis is" in said.err
