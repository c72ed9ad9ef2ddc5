"""Signals as requests to the supervisor; a second request to end is carried out at once."""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

EXIT_CODES = {signal.SIGTERM: 0, signal.SIGINT: 130}

# What a shell reports for a process ended by the signal.
FORCED_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
EXIT_HANGUP = 129


Request = int | None
"""An exit code, or None for a reload, which SIGHUP requests."""


@contextlib.contextmanager
def handling(put: Callable[[Request], None], *, reload: bool) -> Iterator[None]:
    """SIGTERM and SIGINT request the end, a second one forces it; SIGHUP requests a reload. A
    signal that is ignored stays ignored. The handlers before are restored afterwards. In the main
    thread only; elsewhere this does nothing. `put` must be safe in a signal handler."""
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
        put(EXIT_CODES[signal.Signals(number)])

    def hangup(number: int, _: FrameType | None) -> None:
        # If the terminal it was started on is gone, end, as any other program does.
        put(EXIT_HANGUP if on_terminal and not _on_terminal() else None)

    handlers = dict.fromkeys(EXIT_CODES, end) | ({signal.SIGHUP: hangup} if reload else {})
    # What was ignored from the start (nohup, a shell's background job) stays ignored.
    before = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) is not signal.SIG_IGN
    }
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
    # Not through the log: the interrupted thread may hold its lock. Nor into a pipe that is full.
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, b"qtctl: second request to end: ending at once\n")
    os._exit(code)
