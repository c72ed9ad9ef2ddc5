"""The private server behind `embedded:`: a real Valkey or Redis (see `program`).

Its directory holds the socket, the append-only file and the log, readable by the owner only. The
server inherits a lock on `server.lock` there, so no second one runs over the same files, whatever
became of its starter. `serve` holds `serve.lock`, so no two of them share a server.

Source: docs/configuration.md#redis-urls.
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote

from qtctl import clock
from qtctl.errors import QtctlError, RefusedError
from qtctl.wire.private_server import process as processes
from qtctl.wire.private_server.folder import SERVER_LOCK, SOCKET, prepare
from qtctl.wire.private_server.process import Options
from qtctl.wire.private_server.program import find
from qtctl.wire.private_server.serving import uninterrupted

SERVE_LOCK = "serve.lock"

STOP_SEC = 5.0  # A clean shutdown has to bring the append-only file to disk.


class Embedded:
    """A private server that this process must stop, which it does as a context manager. url: of its
    Unix socket; port: None where it has none."""

    def __init__(
        self, directory: Path, pid: int, process: "subprocess.Popen[bytes] | None" = None,
        port: int | None = None,
    ) -> None:  # fmt: skip
        self.directory, self.pid, self.port = directory, pid, port
        self.url = _url(directory)
        self._process = process  # None: taken over, not our child
        self._serve_lock = contextlib.ExitStack()

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        port: int | None = None,
        appendonly: bool = True,
        extra: Mapping[str, str] = {},
    ) -> "Embedded":
        """Start a server in `directory` (created if missing); returns when it answers.

        On its Unix socket, and on `port` (1 to 65535) of 127.0.0.1 if given. extra: lines of its
        configuration, option to value.
        Raises RefusedError where a server runs there already or others may write there,
        ConfigError where the path is too long or can't be made, QtctlError where there is no
        program for it or the server does not come up.
        """
        server = cls._spawned(directory, Options(port, appendonly, extra))
        try:
            processes.await_ready(server.directory, server._gone)
        except BaseException:
            server.kill()
            raise
        return server

    @property
    def ended(self) -> str | None:
        """How the server ended, None while it runs."""
        if not self._gone():
            return None
        code = None if self._process is None else self._process.returncode
        if code is None:
            return "unknown: another process had started it"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def start_again(self) -> None:
        """A server that ended, over the same files and with the options of `serve`; returns when it
        answers. Errors as for `start`."""
        again = Embedded.start(self.directory)
        self.pid, self._process = again.pid, again._process

    def stop(self) -> None:
        """Shut the server down cleanly, its append-only file on disk; kill it after 5 s."""
        if not self._gone():
            self._signal(signal.SIGTERM)
            if not _within(STOP_SEC, self._gone):
                self.kill()
        self._serve_lock.close()

    def kill(self) -> None:
        """SIGKILL, like a crash; returns once it is gone."""
        if not self._gone():
            self._signal(signal.SIGKILL)
            _within(STOP_SEC, self._gone)
        self._serve_lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @classmethod
    def _spawned(cls, directory: Path, options: Options) -> "Embedded":
        directory = directory.absolute()
        prepare(directory)
        lock = processes.server_lock(directory)
        try:
            process = processes.spawn(directory, options, lock)
        finally:
            os.close(lock)  # the server's copy keeps it locked
        return cls(directory, process.pid, process, options.port)

    def _gone(self) -> bool:
        if self._process is not None:
            return self._process.poll() is not None
        # The lock is proof; a pid may have been given to another process meanwhile.
        return not processes.locked(self.directory / SERVER_LOCK)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


@contextlib.contextmanager
def temporary(
    *,
    port: int | None = None,
    appendonly: bool = False,
    extra: Mapping[str, str] = {},
    hosts_own: bool = False,
) -> Iterator[Embedded]:
    """A server in a temporary directory; both are removed afterwards, even if this process is
    killed. hosts_own: see program.find. Options and errors as for `Embedded.start`."""
    options = Options(port, appendonly, extra, find(hosts_own=True) if hosts_own else None)
    with (
        processes.guarded_directory() as (directory, tell_pid),
        contextlib.ExitStack() as stack,
    ):
        with uninterrupted():
            server = stack.enter_context(Embedded._spawned(directory, options))
            tell_pid(server.pid)
        processes.await_ready(server.directory, server._gone)
        yield server


def serve_embedded(directory: Path) -> Embedded:
    """The server for `serve --embedded`, to be stopped by the caller: started, or taken over from a
    `serve` that was killed. Raises RefusedError where another `serve` has it (naming its pid) or
    where it does not answer; else as `Embedded.start`."""
    directory = directory.absolute()
    prepare(directory)
    lock = processes.lock(directory / SERVE_LOCK)
    if lock is None:
        pid = (directory / SERVE_LOCK).read_text().strip() or "unknown"
        raise RefusedError(
            f"another serve (pid {pid}) has the embedded server in {directory}; end it first, or "
            "run both loops in one process: qtctl serve all --embedded"
        )
    with contextlib.ExitStack() as held:
        held.callback(os.close, lock)
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        server = _started_or_taken_over(directory)
        server._serve_lock = held.pop_all()
    return server


def running(directory: Path) -> str | None:
    """The URL of the server in `directory`, or None where none answers (one that loads does)."""
    directory = directory.absolute()
    return None if processes.ask(directory, b"PING") is None else _url(directory)


def absence(directory: Path) -> str:
    """Why no server answers in `directory`, and what to do about it."""
    path = directory.absolute() / SERVE_LOCK
    if path.exists() and processes.locked(path):
        return (
            f"the embedded server in {directory} does not answer, but its 'qtctl serve' (pid "
            f"{path.read_text().strip() or 'unknown'}) is running: where it is not just starting, "
            "end it and start it again"
        )
    return f"no embedded server runs in {directory}: start one with 'qtctl serve all --embedded'"


def _started_or_taken_over(directory: Path) -> Embedded:
    deadline = clock.monotonic() + STOP_SEC
    while processes.locked(directory / SERVER_LOCK):
        pid = _server_pid(directory)
        if pid is not None:
            server = Embedded(directory, pid)
            with contextlib.suppress(QtctlError):  # it was shutting down: look again
                processes.await_ready(directory, server._gone)
                return server
        if clock.monotonic() > deadline:
            raise RefusedError(
                f"a server in {directory} does not answer; end it first "
                f"(fuser {directory / SERVER_LOCK} shows its pid)"
            )
        clock.sleep(processes.POLL_SEC)
    return Embedded.start(directory)


def _server_pid(directory: Path) -> int | None:
    info = processes.ask(directory, b"INFO") or b""
    found = re.search(rb"^process_id:([0-9]+)", info, re.MULTILINE)
    return None if found is None else int(found[1])


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = clock.monotonic() + seconds
    while not condition():
        if clock.monotonic() > deadline:
            return False
        clock.sleep(processes.POLL_SEC)
    return True


def _url(directory: Path) -> str:
    return f"unix://{quote(os.fsencode(directory / SOCKET))}"
