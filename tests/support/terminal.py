"""`qtctl top` on a pseudo-terminal, and what stands on its screen. It understands what that program
sends (a place, a line, its styles, erasing to the end) and fails for anything else."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pexpect

from tests.support.cli import NO_FILE
from tests.support.processes import QTCTL

T = TypeVar("T")

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
_PIECE = re.compile(r"\x1b\[(\?)?([0-9;]*)([A-Za-z])|\x1b(.)|([^\x1b]+)", re.DOTALL)
_HALF = re.compile(r"\x1b(\[[?0-9;]*)?$")
"""An escape that goes on in what comes next."""
_LINES = re.compile(r"[\r\n]")


class Cell(str):
    """A character of the screen with its style: the parameters of SGR that are on."""

    sgr: frozenset[str]

    def __new__(cls, char: str, sgr: frozenset[str]) -> "Cell":
        cell = super().__new__(cls, char)
        cell.sgr = sgr
        return cell


class Screen:
    """What a terminal shows after some output."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.rows: list[list[Cell]] = [[] for _ in range(lines)]
        self.is_other = False
        """True on the other screen, which is given back at the end."""
        self._row, self._column = 0, 0
        self._sgr: frozenset[str] = frozenset()
        self._half = ""

    def feed(self, output: str) -> None:
        output = self._half + output
        half = _HALF.search(output)
        whole, self._half = (output[: half.start()], half[0]) if half else (output, "")
        for mark, numbers, letter, odd, text in _PIECE.findall(whole):
            assert not odd, f"an escape that nobody expects: {odd!r}"
            if text:
                self._print(text)
            elif mark:
                self._mode(numbers, letter)
            elif letter == "m":
                self._style(numbers)
            elif letter == "H":
                row, _, column = (numbers or "1;1").partition(";")
                self._row, self._column = int(row) - 1, int(column or 1) - 1
            else:
                assert (letter, numbers) == ("J", ""), f"nobody expects {numbers}{letter}"
                self.rows[self._row :] = [[] for _ in self.rows[self._row :]]

    def _mode(self, numbers: str, letter: str) -> None:
        if numbers == "1049":
            self.is_other = letter == "h"
            self.rows = [[] for _ in range(self.lines)]

    def _style(self, numbers: str) -> None:
        for number in numbers.split(";"):
            self._sgr = frozenset() if number in ("", "0") else self._sgr | {number}

    def _print(self, text: str) -> None:
        if not self.is_other:
            return
        assert not _LINES.search(text), f"a line break within the screen: {text!r}"
        if self._row >= self.lines:
            return  # Sent for the size before.
        row = self.rows[self._row]
        row.extend([Cell(" ", frozenset())] * (self._column - len(row)))
        cells = [Cell(char, self._sgr) for char in text]
        row[self._column : self._column + len(cells)] = cells
        self._column += len(cells)

    @property
    def text(self) -> str:
        return "\n".join(self.line(at) for at in range(self.lines))

    def line(self, at: int) -> str:
        return "".join(self.rows[at])

    def styles(self, part: str) -> frozenset[str]:
        """The styles that the whole of a text has, where it stands first."""
        for at in range(self.lines):
            place = self.line(at).find(part)
            if place >= 0:
                return frozenset.intersection(
                    *(cell.sgr for cell in self.rows[at][place : place + len(part)])
                )
        raise AssertionError(f"{part!r} is not on the screen:\n{self.text}")

    @property
    def selected(self) -> str:
        """The line of the selected row."""
        found = [self.line(at) for at in range(self.lines) if self.line(at).startswith("> ")]
        assert len(found) == 1, self.text
        return found[0]


class Session:
    """A running `top`."""

    def __init__(self, child: Any, columns: int, lines: int) -> None:
        self.child = child
        self.output = ""
        self.screen = Screen(columns, lines)

    def pump(self, seconds: float = 0.02) -> None:
        """Take in what it sends within that time."""
        with contextlib.suppress(pexpect.TIMEOUT):
            while True:
                part = self.child.read_nonblocking(65_536, seconds)
                self.output += part
                self.screen.feed(part)

    def send(self, keys: str) -> None:
        self.child.send(keys)

    def until(self, condition: Callable[[Screen], T], timeout: float = 30.0) -> T:
        """What the condition is once it is true-ish of the screen."""
        deadline = time.monotonic() + timeout
        while True:
            self.pump()
            if found := condition(self.screen):
                return found
            assert time.monotonic() < deadline, f"in vain; the screen was\n{self.screen.text}"

    def shows(self, *parts: str) -> Screen:
        """Wait until all of these stand on the screen."""
        self.until(lambda screen: all(part in screen.text for part in parts))
        return self.screen

    def press(self, keys: str, *parts: str) -> Screen:
        """Send keys and wait for what they bring up."""
        self.send(keys)
        return self.shows(*parts)

    def resize(self, columns: int, lines: int) -> None:
        """As a window is resized: what was sent before is for the old size."""
        if (columns, lines) == (self.screen.columns, self.screen.lines):
            return
        self.pump()
        before, self.screen = self.screen, Screen(columns, lines)
        self.screen.is_other = before.is_other
        self.child.setwinsize(lines, columns)

    def quit(self) -> int:
        """By its key; the exit code."""
        self.send("q")
        self.child.expect(pexpect.EOF)
        self.child.wait()
        code: int = self.child.exitstatus
        return code


@contextlib.contextmanager
def top(
    url: str | None, *args: str, size: tuple[int, int] = (80, 24), **environ: str
) -> Iterator[Session]:
    """`qtctl top` on a terminal of so many columns and lines; url: None for what settings say."""
    env = {**NO_FILE, "TERM": "xterm-256color", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8",
           "PYTHONPATH": str(Path(__file__).parents[2]), **environ}  # fmt: skip
    columns, lines = size
    child = pexpect.spawn(
        QTCTL[0], [*QTCTL[1:], *(["--redis-url", url] if url else []), "top", *args],
        env=env, dimensions=(lines, columns), encoding="utf-8", timeout=30,
    )  # fmt: skip
    child.delaybeforesend = None
    try:
        session = Session(child, columns, lines)
        session.until(lambda screen: screen.is_other)
        yield session
    finally:
        child.close(force=True)


def first_answer(session: Session, key: str) -> float:
    """Seconds from a key to the first byte of what it changes on the screen."""
    session.pump()
    begun = time.monotonic()
    session.send(key)
    while not session.child.read_nonblocking(1, 5):
        pass
    took = time.monotonic() - begun
    session.pump()
    return took
