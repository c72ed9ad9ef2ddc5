"""Output into pipes that are slow, full or gone; and SIGTERM while a command waits."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from qtctl.wire.client.store import Store
from tests.support.processes import QTCTL, until

ROWS = 5_000
ENVIRON = {"PATH": os.environ["PATH"], "QTCTL_CONFIG": os.devnull}


@pytest.fixture
def listing(redis_url: str, store: Store) -> list[str]:
    """A command that prints many rows."""
    store.batch(
        [
            ("XADD", store.keys.events, "*", "event", "x", "plan_id", f"p{number}", "symbol", "BTC")
            for number in range(ROWS)
        ]
    )
    return ["tail", "events", "-n", str(ROWS), "-o", "ndjson", "--redis-url", redis_url]


def start(args: Sequence[str], stdout: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*QTCTL, *args],
        env=ENVIRON,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("blocking", [True, False])
def test_every_row_arrives_at_a_slow_reader(listing: list[str], blocking: bool) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    with start(listing, writer) as child:
        os.close(writer)
        time.sleep(1)
        read = b""
        while piece := os.read(reader, 50_000):
            read += piece
            time.sleep(0.002)
        os.close(reader)
        assert child.wait(30) == 0
    assert [line.count(b"plan_id") for line in read.splitlines()] == [1] * ROWS


def test_every_row_arrives_through_a_socket_that_is_full(listing: list[str]) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with start(listing, theirs.fileno()) as child, ours:
        theirs.close()
        time.sleep(0.5)
        read = b""
        while piece := ours.recv(50_000):
            read += piece
        assert child.wait(30) == 0
    assert len(read.splitlines()) == ROWS


@pytest.mark.parametrize(
    ("redirection", "code", "says"),
    [
        ("> /dev/full", 1, "qtctl: cannot write the output: No space left on device\n"),
        (">&-", 1, "qtctl: cannot write the output: Bad file descriptor\n"),
        ("2>&- >/dev/null", 0, ""),
        ("2>/dev/full >/dev/null", 0, ""),
        ("| head -n 1 >/dev/null; exit ${PIPESTATUS[0]}", 141, ""),
        ("<&- | tail -n 1 >/dev/null; exit ${PIPESTATUS[0]}", 0, ""),
    ],
)
def test_an_output_that_fails_is_no_success(
    listing: list[str], redirection: str, code: int, says: str
) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    ended = subprocess.run(
        [bash, "-c", f'"$@" {redirection}', "bash", *QTCTL, *listing],
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (code, says)


def test_nothing_is_written_into_the_connection_that_takes_the_place_of_stdout(
    redis_url: str, store: Store
) -> None:
    argv = [*QTCTL, "inject", "plan", "BTCUSDT", "--plan-id", "p1", "--redis-url", redis_url]
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *argv],
        env=ENVIRON,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert store.run("XLEN", store.keys.plans) == 1


WAITING = {
    "tail": ["tail", "plans", "-f"],
    "top": ["top", "--interval", "5s"],
    "inject": ["inject", "plan", "BTCUSDT", "--wait", "60"],
}


@pytest.mark.parametrize("reader", ["reads", "stuck"])
@pytest.mark.parametrize("waiting", WAITING)
@pytest.mark.parametrize("as_first", [False, True], ids=["child", "pid 1"])
def test_sigterm_ends_a_command_that_waits(
    redis_url: str, store: Store, as_first: bool, waiting: str, reader: str
) -> None:
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork"]
    if as_first and subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("no namespaces here")
    read_end, write_end = os.pipe()
    if reader == "stuck":
        os.set_blocking(write_end, False)
        while True:
            try:
                os.write(write_end, b"x" * 4096)
            except BlockingIOError:
                break
        os.set_blocking(write_end, True)
    argv = [*(unshare if as_first else []), *QTCTL, *WAITING[waiting], "--redis-url", redis_url]
    with subprocess.Popen(
        argv,
        env=ENVIRON,
        stdin=subprocess.DEVNULL,
        stdout=write_end,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as child:
        os.close(write_end)
        try:
            until(lambda: b"cmd=" in store.run("CLIENT", "LIST", "TYPE", "normal"))
            until(lambda: len(store.run("CLIENT", "LIST").splitlines()) > 1)
            if waiting == "tail":
                store.run("XADD", store.keys.plans, "*", "plan_id", "p1", "symbol", "BTCUSDT")
            time.sleep(1.5 if reader == "stuck" else 0.3)
            pid = _only_child(child.pid) if as_first else child.pid
            os.kill(pid, signal.SIGTERM)
            code = child.wait(30)
            assert code == (143 if as_first else -signal.SIGTERM)
        finally:
            os.killpg(child.pid, signal.SIGKILL) if child.poll() is None else None
            os.close(read_end)


def _only_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_a_sigterm_that_was_ignored_from_the_start_stays_ignored(redis_url: str) -> None:
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    argv = [sys.executable, "-c", program, *QTCTL, "tail", "plans", "-f", "--redis-url", redis_url]
    with subprocess.Popen(argv, env=ENVIRON, stderr=subprocess.PIPE) as child:
        time.sleep(1)
        child.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert child.poll() is None
        child.kill()
