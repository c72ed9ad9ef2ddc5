"""What every page of `qtctl top` is: something that is read in a thread of its own and drawn from
what was read last. A list has a selected row, a text scrolls."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from qtctl.cli.framework.context import Context
from qtctl.cli.live import drawing
from qtctl.cli.live.poller import TopSnapshot
from qtctl.cli.live.selection import Prepared, Row, Selection, Shape
from qtctl.cli.output import format
from qtctl.cli.output.columns import Column
from qtctl.wire.client.store import Store

OLD_SEC = 10.0
"""What was read so long ago and should have been read again is old."""
Words = tuple[str, ...]
"""A command line behind `qtctl`."""


@dataclass(frozen=True)
class Moment:
    """What is drawn from, beside what a page read. now: monotonic, as in `seen`."""

    seen: TopSnapshot
    now: float
    utc: bool = True
    paused: bool = False


@dataclass(frozen=True)
class Held:
    """What a page read last. at: when (monotonic), None for never; rest_sec: until it is
    read again; problem: why the reads since then failed."""

    value: Any = None
    at: float | None = None
    rest_sec: float = 0.0
    problem: str = ""


class Page:
    """One page. `read` is called in another thread, all else in that of the screen; between them
    there is only `held`, which is replaced as a whole."""

    title = ""
    reads = True
    """False for a page that shows what is read anyway."""
    hints: tuple[str, ...] = ()
    """Its keys, for the last line."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.held = Held()

    def read(self, store: Store) -> Any:
        """What it shows from now on. Errors: QtctlError."""

    def draw(self, moment: Moment, width: int, height: int) -> list[Text]:
        """At most `height` lines."""
        raise NotImplementedError

    def pressed(self, key: str) -> bool:
        """What a key does here; False for one that does nothing."""
        return False

    def entered(self) -> "Page | None":
        """What Enter opens."""
        return None

    def hold(self) -> None:
        """Something is about to be done with what is selected: it stays selected."""

    @property
    def symbol(self) -> str:
        """The selected symbol, "" for none."""
        return ""

    def commands(self) -> list[tuple[str, Words]]:
        """What shows the same on the command line: of what, and the words behind `qtctl`."""
        return []

    def is_old(self, moment: Moment) -> bool:
        """True while what it shows should have been read again."""
        if moment.seen.away_since is not None or (self.held.problem and self.held.at is not None):
            return True
        at, most_sec = self.held.at, max(OLD_SEC, 2 * self.held.rest_sec)
        is_late = at is not None and moment.now - at > most_sec
        return self.reads and not moment.paused and is_late

    def age(self, moment: Moment) -> str:
        """Why, and since when, in words; "" for what is fresh."""
        if not self.reads or not self.is_old(moment) or self.held.at is None:
            return ""
        problem = f": {self.held.problem}" if self.held.problem else ""
        return f"read {format.span(moment.now - self.held.at)} ago{problem}"


class ListPage(Page):
    """A list with a selected row, below lines of its own. shape: of its rows."""

    shape: Shape
    empty = "nothing"
    loading = "reading …"
    hints: tuple[str, ...] = ("s sort", "/ filter", "x problems")

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.selection = Selection(self.shape)

    def rows(self, moment: Moment) -> Sequence[Row] | Prepared:
        """The rows as they come; the same object as long as they are the same."""
        found: Sequence[Row] | Prepared = self.held.value or ()
        return found

    def head(self, moment: Moment, width: int, height: int) -> list[Text]:
        """Lines above the list."""
        return []

    def draw(self, moment: Moment, width: int, height: int) -> list[Text]:
        """The list takes what its head leaves, and at least three lines."""
        head = self.head(moment, width, height)[: max(0, height - 4)]
        rows = self.rows(moment)
        if self.reads and self.held.at is None:
            wait = self.held.problem or self.loading
            return [*head, *drawing.wrapped(wait, width, "bold red" * bool(self.held.problem))]
        how = self.selection.describe()
        state = [Text(format.text(how), "bold")] if how else []
        room = height - len(head) - len(state) - 2
        shown = self.selection.window(rows, max(1, room))
        every = len(rows.rows if isinstance(rows, Prepared) else rows)
        if shown.selected is None:
            nothing = "nothing fits: Esc shows all" if every else self.empty
            return [*head, *state, *drawing.wrapped(nothing, width, "bold")]
        by, arrow = self.selection.column, self.selection.arrow
        lines = drawing.listed(shown, self.columns(moment), by, arrow, width, moment.utc)
        last = shown.first + len(shown.rows)
        count = f"{shown.first + shown.selected + 1:,} of {shown.total:,}"
        if every != shown.total:
            count += f" that fit, {every:,} in all"
        more = f", {shown.total - last:,} below" if last < shown.total else ""
        more += f"; {limit}" if (limit := self.limit(moment, every)) else ""
        return [*head, *state, *lines, Text(f"{drawing.NO_MARK}{count}{more}", "dim")]

    def limit(self, moment: Moment, listed: int) -> str:
        """What is not listed, where that is not all there is."""
        return ""

    def columns(self, moment: Moment) -> Sequence[Column]:
        """What is shown of a row now."""
        return self.shape.columns

    def pressed(self, key: str) -> bool:
        """Moves the selection, sorts."""
        selection = self.selection
        if key in _MOVES:
            selection.move(_MOVES[key])
        elif key in _TURNS:
            selection.turn(_TURNS[key])
        elif key in ("home", "g"):
            selection.top()
        elif key in ("end", "G"):
            selection.end()
        elif key in _SORTS:
            selection.sort(_SORTS[key])
        elif key == "r":
            selection.reverse()
        elif key == "x":
            selection.toggle_problems()
        else:
            return False
        return True

    def hold(self) -> None:
        """Also at the top, where otherwise the newest is selected."""
        self.selection.hold()

    def of_plan(self, what: str, *words: str) -> list[tuple[str, Words]]:
        """What shows the plan of the selected row, or its permit: these words and its plan_id."""
        row = self.selection.row
        return [(what, (*words, str(row["plan_id"])))] if row else []

    @property
    def symbol(self) -> str:
        """That of the selected row."""
        row = self.selection.row
        return "" if row is None else str(row.get("symbol") or "")


class TextPage(Page):
    """Lines that scroll."""

    reads = False
    hints = ("↑↓ scroll",)

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._offset = 0
        self._height = self._total = 1

    def lines(self, moment: Moment, width: int) -> list[Text]:
        """All of it."""
        raise NotImplementedError

    def draw(self, moment: Moment, width: int, height: int) -> list[Text]:
        """A part of it, and where in it that is."""
        if self.reads and self.held.at is None:
            problem = self.held.problem
            return drawing.wrapped(problem or "reading …", width, "bold red" * bool(problem))
        lines = self.lines(moment, width)
        self._total, self._height = len(lines), height
        if len(lines) <= height:
            self._offset = 0
            return lines
        self._height = max(1, height - 1)
        self._offset = max(0, min(self._offset, self._total - self._height))
        end = self._offset + self._height
        below = f", {self._total - end:,} below" if end < self._total else ""
        where = f"lines {self._offset + 1:,}–{end:,} of {self._total:,}{below}"
        return [*lines[self._offset : end], Text(where, "dim")]

    def pressed(self, key: str) -> bool:
        """Scrolls."""
        if key in _MOVES:
            self._offset += _MOVES[key]
        elif key in _TURNS:
            self._offset += _TURNS[key] * max(1, self._height - 1)
        elif key in ("home", "g"):
            self._offset = 0
        elif key in ("end", "G"):
            self._offset = self._total
        else:
            return False
        self._offset = max(0, min(self._offset, self._total - self._height))
        return True


_MOVES = {"up": -1, "k": -1, "down": 1, "j": 1}
_TURNS = {"page up": -1, "\x02": -1, "page down": 1, "\x06": 1, " ": 1}
_SORTS = {"s": 1, ">": 1, "S": -1, "<": -1}
