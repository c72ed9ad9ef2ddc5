"""Signals, as requests to the supervisor; a second one to end is carried out on the spot."""

import contextlib
import enum
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

EXIT_CODES = {signal.SIGTERM: 0, signal.SIGINT: 130}

# What a shell shows for a process that the signal itself ended.
FORCED_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
EXIT_HANGUP = 129


class Reload(enum.Enum):
    """What SIGHUP asks for."""

    ASKED = enum.auto()


Asked = int | Reload
"""An exit code, or a reload."""


@contextlib.contextmanager
def listening(ask: Callable[[Asked], None], *, reload: bool) -> Iterator[None]:
    """SIGTERM and SIGINT ask for the end, a second of them forces it; SIGHUP asks for a reload.

    What they did before is put back afterwards. In the main thread only; elsewhere nothing is
    done. `ask` must be safe in a signal handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    on_terminal = _on_terminal()
    ending = False

    def end(number: int, _: FrameType | None) -> None:
        nonlocal ending
        if ending:
            _force(FORCED_CODES[signal.Signals(number)])
        ending = True
        ask(EXIT_CODES[signal.Signals(number)])

    def hangup(number: int, _: FrameType | None) -> None:
        # The terminal it was started on is gone: that is the end, as for any other program.
        ask(EXIT_HANGUP if on_terminal and not _on_terminal() else Reload.ASKED)

    handlers = dict.fromkeys(EXIT_CODES, end) | ({signal.SIGHUP: hangup} if reload else {})
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _on_terminal() -> bool:
    try:
        return os.isatty(sys.__stderr__.fileno()) if sys.__stderr__ is not None else False
    except (OSError, ValueError):
        return False


def _force(code: int) -> NoReturn:
    # Not through the log: the thread that was interrupted may hold its lock.
    with contextlib.suppress(OSError):
        os.write(2, b"qtctl: asked to end for the second time: ending at once\n")
    os._exit(code)
