"""Who does something is kept as user@host, by whatever command."""

import socket

import pytest

from qtctl import operator

HOST = socket.gethostname()


@pytest.mark.parametrize(
    ("environ", "who"),
    [
        ({"SUDO_USER": "alice", "LOGNAME": "root"}, f"alice@{HOST}"),
        ({"SUDO_USER": "", "LOGNAME": "bob"}, f"bob@{HOST}"),
        ({"USER": "x" * 100}, f"{'x' * 64}@{HOST}"),
    ],
)
def test_the_user_behind_sudo_and_the_host(environ: dict[str, str], who: str) -> None:
    assert operator.user_at_host(environ) == who


def test_a_user_id_without_a_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError

    monkeypatch.setattr("getpass.getuser", nobody)
    assert operator.user_at_host({}) == f"unknown@{HOST}"
