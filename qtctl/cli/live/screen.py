"""A whole terminal for a live view: only lines that changed are sent, each written over the old
one. However it ends (a key, Ctrl-C, SIGTERM, an error) and while it is stopped by Ctrl-Z, the
terminal's modes, its cursor and its screen are as before."""

import contextlib
import os
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

LEAST_COLUMNS, LEAST_LINES = 40, 10
# The other screen, no cursor, no wrapping: a line that is a cell too long must not push the rest.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
_TO_END = "\x1b[J"
_PLAIN = str.maketrans("▁▂▃▄▅▆▇█▏…›·–↑↓↵×—", "_.:-=+*#|~>|-^v<x-")
"""The signs of our own, cell for cell, for a terminal that has no Unicode."""
_ESCAPE_SEC = 0.05
"""What comes so soon behind an escape is the rest of an arrow key."""
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[@-~])")
_NAMED = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down",
    b"\x1b[5~": "page up", b"\x1b[6~": "page down",
    b"\x1b[H": "home", b"\x1bOH": "home", b"\x1b[1~": "home",
    b"\x1b[C": "right", b"\x1bOC": "right", b"\x1b[D": "left", b"\x1bOD": "left",
    b"\x1b[Z": "back tab", b"\x1b[7~": "home", b"\x1b[8~": "end",
    b"\x1b[F": "end", b"\x1bOF": "end", b"\x1b[4~": "end",
}  # fmt: skip
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def usable(environ: Mapping[str, str]) -> bool:
    """True if there is a terminal to draw on and to take keys from, and it is large enough."""
    if environ.get("TERM", "") in ("", "dumb", "unknown"):
        return False
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    columns, lines = size()
    return columns >= LEAST_COLUMNS and lines >= LEAST_LINES


def size() -> tuple[int, int]:
    """Columns and lines as the terminal has them; what COLUMNS says does not change with it."""
    try:
        found = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return 0, 0
    # A terminal that does not know its size (a serial line) says 0.
    return found.columns or 80, found.lines or 24


class Screen:
    """The terminal while it is ours."""

    def __init__(self) -> None:
        self._input = sys.stdin.fileno()
        self._before: list[Any] = termios.tcgetattr(self._input)
        self._drawn: list[str] = []
        self._drawn_size = (0, 0)
        self._typed = b""
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)

    def draw(self, lines: Sequence[str]) -> None:
        """These lines from the top, as many as there is room for, in one write. Each takes the
        whole width: what was there before is written over."""
        if size() != self._drawn_size:
            self._drawn, self._drawn_size = [], size()
        shown = list(lines[: self._drawn_size[1]])
        old = self._drawn + [""] * (len(shown) - len(self._drawn))
        out = [
            f"\x1b[{place};1H{line}"
            for place, (line, before) in enumerate(zip(shown, old, strict=False), 1)
            if line != before
        ]
        if len(shown) < len(self._drawn):
            out.append(f"\x1b[{len(shown) + 1};1H{_TO_END}")
        self._drawn = shown
        if out:
            self._write("".join(out))

    def forget(self) -> None:
        """Draw everything the next time: something else may have written there."""
        self._drawn_size = (0, 0)

    def key(self, wait_sec: float) -> str:
        """The next key: a character, `escape` or a name such as `page down`. "" if none comes in
        time, if it is none of those, or if somebody called `wake`. SystemExit where the terminal
        has gone."""
        if not self._typed:
            ready, _, _ = select.select([self._input, self._woken], [], [], max(0.0, wait_sec))
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, 4096)
            if self._input not in ready:
                return ""
            self._take_in()
        if self._typed == b"\x1b" and select.select([self._input], [], [], _ESCAPE_SEC)[0]:
            self._take_in()
        key, self._typed = decode(self._typed)
        return key

    def wake(self) -> None:
        """Ends the wait for a key, from any thread or signal handler."""
        with contextlib.suppress(BlockingIOError):  # It is awake as it is.
            os.write(self._waker, b".")

    def take(self) -> None:
        """Make the terminal ours."""
        self._before = termios.tcgetattr(self._input)
        tty.setcbreak(self._input, termios.TCSADRAIN)
        self.forget()
        self._write(_ENTER)

    def give_back(self) -> None:
        """Give it back as it was."""
        self._write(_LEAVE)
        termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    def _take_in(self) -> None:
        try:
            raw = os.read(self._input, 1024)
        except OSError:
            raw = b""
        if raw == b"":
            raise SystemExit(128 + signal.SIGHUP)
        self._typed += raw

    def _write(self, text: str) -> None:
        if not (sys.stdout.encoding or "").lower().startswith("utf"):
            text = text.translate(_PLAIN)
        sys.stdout.write(text)
        sys.stdout.flush()


def decode(typed: bytes) -> tuple[str, bytes]:
    """The first key of what was typed ("" for one that means nothing), and the rest."""
    found = _SEQUENCE.match(typed)
    if found is not None:
        return _NAMED.get(found[0], ""), typed[found.end() :]
    if typed.startswith(b"\x1b"):
        return "escape", typed[1:]
    # A character has up to four bytes; one that is not whole, or is none, means nothing.
    for length in range(1, 5):
        with contextlib.suppress(UnicodeDecodeError):
            return typed[:length].decode(), typed[length:]
    return "", typed[1:]


@contextlib.contextmanager
def taken() -> Iterator[Screen]:
    """The terminal for the length of a `with`; given back for Ctrl-Z too, and taken again after."""
    screen = Screen()

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def stop(_: int, __: FrameType | None) -> None:
        screen.give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        screen.take()  # After `fg`.
        screen.wake()

    def resized(_: int, __: FrameType | None) -> None:
        screen.wake()

    handlers = {signal.SIGTSTP: stop, signal.SIGWINCH: resized, **dict.fromkeys(_ENDING, end)}
    # What was ignored from the start stays ignored.
    before = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        screen.take()
        yield screen
    finally:
        # A second Ctrl-C must not come between.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *handlers})
        with contextlib.suppress(OSError, termios.error):  # The terminal itself may be gone.
            screen.give_back()
        for number, earlier in before.items():
            signal.signal(number, earlier)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
