"""What answers at the port is no Redis, or one that serves nothing: 3, and what it is."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.cli import Cli

TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x16"
POSTGRES = b"E\0\0\0\x8dSFATAL\0"
MYSQL = b"J\0\0\0\x0a8.0.36\0"
PROTECTED = b"-DENIED Redis is running in protected mode because protected mode is enabled\r\n"
MASTERDOWN = (
    b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n"
)
BUSY = b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN.\r\n"

CASES = {
    "http": (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not Redis: it speaks HTTP"),
    "smtp": (b"", b"500 5.5.1 unrecognized\r\n", "is not Redis: it speaks SMTP or FTP"),
    "tls": (b"", TLS_ALERT, "is not Redis: it speaks TLS: use rediss://"),
    "memcached": (b"", b"ERROR\r\n", "is not Redis: it speaks memcached's protocol"),
    "postgres": (b"", POSTGRES, "is not Redis: it speaks memcached's protocol, or PostgreSQL's"),
    "odd": (b"", b"\x00\x01\x02", "is not Redis"),
    "denied": (b"", PROTECTED, "is in protected mode"),
    "masterdown": (b"", MASTERDOWN, "is a replica that has lost its primary"),
    "clusterdown": (b"", b"-CLUSTERDOWN The cluster is down\r\n", "node of a cluster that is down"),
    "busy": (b"", BUSY, "is busy with a script"),
}
GREETINGS = {"smtp": b"220 mail ESMTP\r\n", "ssh": b"SSH-2.0-OpenSSH_9.6\r\n", "mysql": MYSQL}
COMMANDS = {
    "plan list": ("plan", "list"),
    "status": ("status",),
    "inject": ("inject", "eff", "BTCUSDT", "0.2"),
    "tail": ("tail", "plans"),
    "serve --once": ("serve", "governor", "--once"),
    "doctor": ("doctor",),
}


@contextlib.contextmanager
def server(greeting: bytes, answer: bytes, echo: bool = False) -> Iterator[str]:
    """The URL of a server that greets, and answers everything with the same bytes.

    echo: `%s` in them stands for the command.
    """

    def speak(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.sendall(greeting)
            while asked := client.recv(65_536):
                # Several may come at once: each has its answer.
                commands = re.split(rb"(?:^|\r\n)\*(?=\d+\r\n\$)", asked)[1:] or [b""]
                for command in commands:
                    words = command.split(b"\r\n")
                    client.sendall(answer % words[2] if echo else answer)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=speak, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", CASES)
def test_what_answers_is_named(capsys: pytest.CaptureFixture[str], case: str, command: str) -> None:
    greeting, answer, says = CASES[case]
    with server(greeting, answer) as url:
        ended = Cli(url, capsys)(*COMMANDS[command])
    assert ended.code == 3, ended
    shown = ended.out if command == "doctor" else ended.err
    assert says in shown
    assert "internal error" not in ended.err


@pytest.mark.parametrize("greeting", GREETINGS)
def test_who_speaks_first_is_no_redis(capsys: pytest.CaptureFixture[str], greeting: str) -> None:
    with server(GREETINGS[greeting], b"") as url:
        ended = Cli(url, capsys)("plan", "list")
    assert ended.code == 3
    assert "is not Redis" in ended.err or "speaks before it is asked" in ended.err


def test_a_server_without_data_may_be_a_sentinel(capsys: pytest.CaptureFixture[str]) -> None:
    answer = b"-ERR unknown command '%s', with args beginning with: \r\n"
    with server(b"", answer, echo=True) as url:
        ended = Cli(url, capsys)("tail", "plans")
    assert ended.code == 3
    assert "does not know XREVRANGE" in ended.err
    assert "redis+sentinel://host:port/service" in ended.err


def test_a_command_that_a_provider_leaves_out_is_no_sign_of_a_sentinel(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with server(b"", b"-ERR unknown command 'EVALSHA', with args beginning with: \r\n") as url:
        ended = Cli(url, capsys)("tail", "plans")
    assert ended.code == 1
    assert "unknown command 'EVALSHA'" in ended.err
    assert "renamed or left out" in ended.err
    assert "sentinel" not in ended.err
