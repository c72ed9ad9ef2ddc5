"""The process around a command: its output streams, SIGTERM, and when garbage is collected.

One writer for all output: every byte arrives, also through a pipe that is slow or non-blocking, or
an OSError says why not. Prose on stderr is another matter: where nobody takes it, the command goes
on. SIGTERM ends whatever waits at once, also as PID 1, where no signal has an effect by default.
What it or Ctrl-C raises in a place from where nothing can be raised comes again.
"""

import atexit
import gc
import io
import os
import select
import signal
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

TERMINATED = 128 + signal.SIGTERM
"""The exit code where the process can't end by the signal itself."""
LAST_WORDS_SEC = 0.2
"""How long a command that was asked to end waits for its output to be taken."""
_USUAL_THRESHOLDS = gc.get_threshold()
_NEW_OBJECTS = 200_000
"""So many before garbage is looked for. What a short command creates are mostly modules, which are
none: by Python's own number, 700 or 2,000, it would look a hundred times meanwhile, for a tenth of
the time that it takes."""
_AGAIN_SEC = 0.005
"""How soon an interrupt that was lost comes again."""
_PIPE_BUF = 4096
"""What a pipe that has room at all takes without blocking."""


class Output(io.RawIOBase):
    """Writes to a descriptor, and waits where that is non-blocking and full.

    failure: what made a write fail; all that follows is dropped. optional: nothing fails then.
    """

    def __init__(self, descriptor: int, *, optional: bool = False) -> None:
        super().__init__()
        self.failure: OSError | None = None
        self._descriptor = descriptor
        self._optional = optional
        self._dropping = self._writing = False
        self._deadline: float | None = None

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        try:
            return os.isatty(self._descriptor)
        except OSError:
            return False

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        size = len(data)
        if self._dropping:
            return size
        self._writing = True
        try:
            written = self._write(memoryview(data).cast("B"))
        except OSError as problem:
            self.failure = problem
            self._dropping = True
            if not self._optional:
                raise
            written = size
        self._writing = False
        return written

    def hurry(self) -> None:
        """The process is about to end: wait no longer for whoever should read."""
        self._deadline = time.monotonic() + LAST_WORDS_SEC
        # How much of an interrupted write has arrived is unknown; nothing comes twice.
        self._dropping = self._dropping or self._writing

    def _write(self, data: memoryview) -> int:
        while True:
            if self._deadline is not None:
                if not self._has_room(self._deadline - time.monotonic()):
                    self._dropping = True
                    return len(data)
                data = data[:_PIPE_BUF]
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                self._has_room(1.0)

    def _has_room(self, wait_sec: float) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(max(0.0, wait_sec) * 1000))


def prepare() -> None:
    """Make this process's streams and its SIGTERM what commands rely on."""
    gc.set_threshold(_NEW_OBJECTS)
    # A closed stream: nothing else that is opened may get its number, and be written to.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if descriptor else os.O_WRONLY)
    sys.stdout = _stream(1, sys.stdout, Output(1))
    sys.stderr = _stream(2, sys.stderr, Output(2, optional=True))
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
        atexit.register(_die_of_it)
    if signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
        signal.signal(signal.SIGALRM, _interrupt_again)
        sys.unraisablehook = _unraisable


def leave(code: int) -> NoReturn:
    """End the process with this exit code, and without a last search for garbage: the system takes
    back all memory anyway, and going over some hundred modules takes a fifth of a short command."""
    gc.freeze()
    sys.exit(code)


def collect_as_usual() -> None:
    """The process is a service from here on: collect garbage as often as Python does by itself."""
    gc.set_threshold(*_USUAL_THRESHOLDS)


def hurry() -> None:
    """The process is about to end: wait no longer for whoever reads its streams."""
    for stream in (sys.stdout, sys.stderr):
        raw = _raw(stream)
        if raw is not None:
            raw.hurry()


def failure() -> OSError | None:
    """What kept something of stdout from arriving."""
    raw = _raw(sys.stdout)
    return None if raw is None else raw.failure


def _stream(descriptor: int, before: object, raw: Output) -> io.TextIOWrapper:
    on_terminal = raw.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", None) or "utf-8",
        # A terminal that can't show a character is no reason to fail.
        errors="backslashreplace",
        line_buffering=on_terminal or descriptor == 2,
    )


def _raw(stream: object) -> Output | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, Output) else None


def _terminate(number: int, _: FrameType | None) -> None:
    global _terminated
    _terminated = True
    hurry()
    raise SystemExit(TERMINATED)


_terminated = False


def _unraisable(lost: "UnraisableHookArgs") -> None:
    """An interrupt within a callback of the interpreter (a lock of an import that is let go, a
    finalizer) is dropped by it: it is to come again once that is over. All else is reported."""
    global _lost
    if isinstance(lost.exc_value, KeyboardInterrupt):
        _lost = signal.SIGINT
    elif isinstance(lost.exc_value, SystemExit) and _terminated:
        _lost = signal.SIGTERM
    else:
        sys.__unraisablehook__(lost)
        return
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_SEC)


def _interrupt_again(number: int, _: FrameType | None) -> None:
    # Sent, not raised: whoever handles it now may differ from who did then.
    signal.raise_signal(_lost)


_lost = signal.SIGTERM


def _die_of_it() -> None:
    """End by the signal itself, as its sender expects; PID 1 can't, and exits with the code."""
    if _terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
