"""Clocks that step while a process runs: libfaketime under a server of the test's own."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qtctl.wire.client.store import Store
from qtctl.wire.private_server.program import find
from qtctl.wire.schema.keys import Keys
from tests.support.guard import Guard, guarded
from tests.support.processes import until

_LIBRARIES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)


def found() -> Path | None:
    """Where libfaketime is, None where it is not installed."""
    return next((it for pattern in _LIBRARIES for it in Path("/").glob(pattern[1:])), None)


def library() -> Path:
    """Where libfaketime is; where it is missing the test is skipped, and fails under CI."""
    where = found()
    if where is not None:
        return where
    reason = "libfaketime is not installed (Debian: faketime)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def clear(pid: int) -> None:
    """What libfaketime of a process that was killed has left in /dev/shm."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        Path("/dev/shm", name).unlink(missing_ok=True)


class SteppedClock:
    """The wall clock of the processes that run under `environ`; it may be stepped meanwhile."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self.off(0.0)
        self.environ = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            # Only the wall clock: CLOCK_BOOTTIME and CLOCK_MONOTONIC never step.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def off(self, seconds: float) -> None:
        """From now on it is so far ahead of the true time (behind, where it is negative)."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+f}\n")
        new.replace(self._file)


class SteppedServer:
    """A server whose clock can be stepped; restarted, it keeps its files."""

    def __init__(self, guard: Guard, clock: SteppedClock) -> None:
        self.clock, self._guard = clock, guard
        self.directory = guard.directory
        self.url = f"unix://{self.directory / 'sock'}"
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with the dump or the append-only file that is there."""
        options = {
            "port": "0", "unixsocket": str(self.directory / "sock"), "dir": str(self.directory),
            "save": "", "logfile": "log",
        }  # fmt: skip
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._popen = subprocess.Popen(
            [find(), *words], env={"LC_ALL": "C", **self.clock.environ},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        self._guard.watch(self._popen.pid)
        until(self._answers, what="the server to answer")

    def step(self, off_sec: float) -> None:
        """Its clock is so far ahead of the true time from now on; returns once it says so."""
        self.clock.off(off_sec)
        with self.store() as store:
            until(lambda: abs(store.now_ms() / 1000 - time.time() - off_sec) < 1, what="the step")

    def kill(self) -> None:
        """SIGKILL: nothing more is written."""
        assert self._popen is not None
        self._popen.kill()
        self._popen.wait()
        clear(self._popen.pid)
        self._guard.forget(self._popen.pid)

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """A connection of its own."""
        store = Store(self.url, Keys())
        try:
            yield store
        finally:
            store.close()

    def _answers(self) -> bool:
        with contextlib.suppress(Exception), self.store() as store:
            return bool(store.run("PING"))
        return False


@contextlib.contextmanager
def stepped_server(off_sec: float = 0.0) -> Iterator[SteppedServer]:
    """A server of its own, its clock so far ahead of ours at its start."""
    library()
    with guarded() as guard:
        clock = SteppedClock(guard.directory)
        clock.off(off_sec)
        server = SteppedServer(guard, clock)
        server.start()
        try:
            yield server
        finally:
            server.kill()
