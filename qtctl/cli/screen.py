"""A whole terminal for a live view: drawn without flicker, and given back as it was.

Lines are written over the old ones from the top left; nothing is cleared first. However it ends
(a key, Ctrl-C, SIGTERM, an error), the terminal's modes, its cursor and its screen come back.
"""

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

LEAST_COLUMNS, LEAST_LINES = 60, 15
_ENTER = "\x1b[?1049h\x1b[?25l"
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME, _TO_END_OF_LINE, _TO_END = "\x1b[H", "\x1b[K", "\x1b[J"
_ESCAPE_SEC = 0.05
"""What comes so soon behind an escape is the rest of an arrow key."""


def usable(environ: Mapping[str, str]) -> bool:
    """Is there a terminal to draw on and to take keys from, and is it large enough."""
    if environ.get("TERM", "") in ("", "dumb", "unknown"):
        return False
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    columns, lines = shutil.get_terminal_size()
    return columns >= LEAST_COLUMNS and lines >= LEAST_LINES


class Screen:
    """The terminal while it is ours."""

    def __init__(self) -> None:
        self._input = sys.stdin.fileno()
        self._before: list[Any] = termios.tcgetattr(self._input)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        found = shutil.get_terminal_size()
        return found.columns, found.lines

    def draw(self, lines: Sequence[str]) -> None:
        """These lines from the top, as many as there is room for, in one write."""
        room = self.size[1]
        body = f"{_TO_END_OF_LINE}\r\n".join(lines[:room])
        self._write(f"{_HOME}{body}{_TO_END_OF_LINE}{_TO_END}")

    def key(self, wait_sec: float) -> str:
        """The next key, "" if none comes in time or it is none of the plain ones."""
        ready, _, _ = select.select([self._input], [], [], max(0.0, wait_sec))
        if not ready:
            return ""
        raw = os.read(self._input, 1)
        if raw == b"":
            raise EOFError
        if raw == b"\x1b":
            if select.select([self._input], [], [], _ESCAPE_SEC)[0]:
                os.read(self._input, 16)
                return ""
            return "escape"
        if raw[0] >= 0xC0:  # The rest of a character of several bytes.
            raw += os.read(self._input, 3)
        return raw.decode("utf-8", "ignore")

    def take(self) -> None:
        """Make the terminal ours."""
        tty.setcbreak(self._input, termios.TCSADRAIN)
        self._write(_ENTER)

    def give_back(self) -> None:
        """Give it back as it was."""
        self._write(_LEAVE)
        termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


@contextlib.contextmanager
def taken() -> Iterator[Screen]:
    """The terminal for the length of a `with`; given back for Ctrl-Z too, and taken again after."""
    screen = Screen()

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def stop(_: int, __: FrameType | None) -> None:
        screen.give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        screen.take()  # Somebody said `fg`.

    handlers = {signal.SIGTERM: end, signal.SIGHUP: end, signal.SIGTSTP: stop}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    screen.take()
    try:
        yield screen
    finally:
        with contextlib.suppress(OSError, termios.error):  # The terminal itself may be gone.
            screen.give_back()
        for number, handler in before.items():
            signal.signal(number, handler)
