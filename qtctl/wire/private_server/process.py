"""Starting, asking and locking a private server; `embedded.py` says what it is for."""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from qtctl import clock
from qtctl.errors import ConfigError, QtctlError, RefusedError
from qtctl.text import escape
from qtctl.wire.private_server.folder import MAX_SOCKET_BYTES, SERVER_LOCK, SOCKET
from qtctl.wire.private_server.program import find
from qtctl.wire.private_server.serving import uninterrupted

LOG = "server.log"

# A start has failed after so long without any answer; a server that is loading does answer.
START_SEC = 10.0
POLL_SEC = 0.002

_ANSWER_SEC = 1.0
_LOCK_SEC = 1.0

# Reads the pid to kill (an empty line: none any more) until its starter ends, then cleans up. The
# second rm is for a server that was writing while it was killed.
_GUARD = """
while read -r line; do pid=$line; done
[ -z "$pid" ] || kill -9 "$pid"
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
"""


def lock(path: Path) -> int | None:
    """An exclusive lock on `path` as an open descriptor, or None while another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def locked(path: Path) -> bool:
    """True while anyone holds the lock."""
    descriptor = lock(path)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def server_lock(directory: Path) -> int:
    """The lock that only one server holds. Raises RefusedError while one runs."""
    deadline = clock.monotonic() + _LOCK_SEC
    while (descriptor := lock(directory / SERVER_LOCK)) is None:
        # A server that was just killed still holds it for a moment.
        if ask(directory, b"PING") is not None or clock.monotonic() > deadline:
            raise RefusedError(f"a server already runs in {directory}; end it first")
        clock.sleep(POLL_SEC)
    return descriptor


class Options(NamedTuple):
    """Of a server. port: of 127.0.0.1, None for its socket alone; extra: lines of its
    configuration, option to value; program: None for the usual one."""

    port: int | None = None
    appendonly: bool = True
    extra: Mapping[str, str] = {}
    program: Path | None = None


def spawn(directory: Path, options: Options, lock: int) -> "subprocess.Popen[bytes]":
    """A server process over `directory` that holds a copy of `lock`; not yet ready. In a session of
    its own, so that Ctrl-C does not reach it. Its configuration comes through a pipe: no password
    is on a command line. Where it listens is: killed before it has written to the pipe, its starter
    would leave a server behind that does so where servers do by default."""
    program = options.program or find()
    port = options.port
    network = ["--port", "0"] if port is None else ["--port", str(port), "--bind", "127.0.0.1"]
    config = _config(directory, options)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    descriptor = os.open(directory / LOG, flags, 0o600)
    try:
        process = subprocess.Popen(
            [program, "-", *network],
            stdin=subprocess.PIPE,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={"LC_ALL": "C", "TZ": "UTC"},
            pass_fds=(lock,),
            start_new_session=True,
            umask=0o077,
        )
    finally:
        os.close(descriptor)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(config)
    return process


def await_ready(directory: Path, gone: Callable[[], bool]) -> None:
    """Wait until the server has loaded its file; QtctlError with the last line of its log where it
    ended or does not answer."""
    deadline = clock.monotonic() + START_SEC
    while True:
        answer = ask(directory, b"PING")
        if answer is not None and not answer.startswith(b"-LOADING"):
            return
        if gone():
            raise QtctlError(f"the embedded server ended at its start: {_last_word(directory)}")
        now = clock.monotonic()
        if answer is not None:
            deadline = now + START_SEC
        elif now > deadline:
            raise QtctlError(f"the embedded server does not answer: {_last_word(directory)}")
        clock.sleep(POLL_SEC)


def ask(directory: Path, command: bytes) -> bytes | None:
    """The server's answer to an inline command (a line, or a bulk's content), or None."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_SEC)
            connection.connect(os.fsencode(directory / SOCKET))
            connection.sendall(command + b"\r\n")
            with connection.makefile("rb") as answer:
                line = answer.readline().removesuffix(b"\r\n")
                return answer.read(int(line[1:])) if line.startswith(b"$") else line or None
    except OSError:
        return None


@contextlib.contextmanager
def guarded_directory() -> Iterator[tuple[Path, Callable[[int], None]]]:
    """A temporary directory, and a function that registers the pid of the server in it. A shell
    removes both when this process ends, even by SIGKILL."""
    folder = _short_folder()
    with contextlib.ExitStack() as stack:
        # An interrupt between the folder and its guard would leave it there.
        with uninterrupted():
            try:
                directory = Path(tempfile.mkdtemp(prefix="qtctl-", dir=folder))
            except OSError as problem:
                raise ConfigError(
                    f"no temporary folder can be made in {folder}: {problem.strerror}; set TMPDIR "
                    "to a short path that can be written"
                ) from problem
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            register = stack.enter_context(_guarding(directory))
        yield directory, register


@contextlib.contextmanager
def _guarding(directory: Path) -> Iterator[Callable[[int], None]]:
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "qtctl-guard", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        cwd="/",
        start_new_session=True,
    )
    assert guard.stdin is not None
    pids = guard.stdin

    def register(pid: int | str) -> None:
        with contextlib.suppress(BrokenPipeError):  # the guard was killed; its starter clears up
            pids.write(f"{pid}\n".encode())

    try:
        yield register
    finally:
        register("")
        pids.close()
        guard.wait()


def _config(directory: Path, options: Options) -> bytes:
    lines = [
        f"unixsocket {_quoted(directory / SOCKET)}",
        "unixsocketperm 600",
        f"dir {_quoted(directory)}",
        f"logfile {LOG}",
        'save ""',
        f"appendonly {'yes' if options.appendonly else 'no'}",
        "appendfsync everysec",
        "maxmemory-policy noeviction",
        *(f"{option} {value}" for option, value in options.extra.items()),
    ]
    return "\n".join([*lines, ""]).encode()


def _quoted(path: Path) -> str:
    """A path quoted for the server's configuration, whatever bytes it has."""
    plain = b"/._-" + bytes(range(48, 58)) + bytes(range(65, 91)) + bytes(range(97, 123))
    raw = os.fsencode(path)
    return '"' + "".join(chr(b) if b in plain else f"\\x{b:02x}" for b in raw) + '"'


def _short_folder() -> str:
    """A folder for temporary directories that leaves room for the path of a socket."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) < MAX_SOCKET_BYTES - 40 else "/tmp"


def _last_word(directory: Path) -> str:
    try:
        lines = (directory / LOG).read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return f"{escape(lines[-1]) if lines else 'it printed nothing'} (log: {directory / LOG})"
