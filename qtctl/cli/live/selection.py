"""A list on the screen: its order, what the filter lets through, the selected row, and the part of
it that is shown. Nothing here reads or draws."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from qtctl.cli.output import format
from qtctl.cli.output.columns import Column

Row = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """What a list is of: its columns, a row's key, the names that a filter looks at, and whether a
    row is a problem."""

    columns: Sequence[Column]
    key: Callable[[Row], str]
    names: Callable[[Row], Iterable[Any]]
    is_problem: Callable[[Row], bool] = lambda row: False


class Prepared:
    """Rows with what they are sorted and filtered by. For 10,000 rows that takes longer to find out
    than a key may take: `ahead` does it all, in the thread that has read them."""

    def __init__(self, rows: Sequence[Row], shape: Shape) -> None:
        self.rows = rows
        self._shape = shape
        self._names: list[str] | None = None
        self._values: dict[str, list[Any]] = {}

    def ahead(self) -> "Prepared":
        """All of it now."""
        self.names()
        for column in self._shape.columns:
            self.values(column)
        return self

    def names(self) -> list[str]:
        """The names of each row, for a search in any case."""
        if self._names is None:
            names = self._shape.names
            self._names = ["\n".join(map(str, names(row))).casefold() for row in self.rows]
        return self._names

    def values(self, column: Column) -> list[Any]:
        """What each row sorts by: all of them numbers, or all words; None where there is none."""
        if column.title not in self._values:
            raw = [column.value(row) for row in self.rows]
            numbers = [format.as_number(value) for value in raw]
            known = zip(raw, numbers, strict=True)
            if any(number is None and value not in (None, "") for value, number in known):
                self._values[column.title] = [
                    None if value in (None, "") else str(value).casefold() for value in raw
                ]
            else:
                self._values[column.title] = numbers
        return self._values[column.title]


@dataclass(frozen=True)
class Window:
    """The rows that are shown. selected: the place of the selected one among them, None for an
    empty list; first: the place of the first of them in the list; total: of all that fit."""

    rows: list[Row]
    selected: int | None
    first: int
    total: int


class Selection:
    """The selected row is known by its key: it stays selected, and on its line of the screen, when
    the order moves. Until a key moves it, the selection is the top, whatever stands there."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.wanted = ""
        self.problems_only = False
        self.column: Column | None = None
        """What it is sorted by; None is the order in which the rows come."""
        self._reversed = self._by_number = False
        self._selected: str | None = None
        self._place = self._offset = 0
        self._of = Prepared((), shape)
        self._by: tuple[object, ...] = ()
        self._rows: list[Row] = []
        self._page = 1

    @property
    def arrow(self) -> str:
        """The direction of the column that it is sorted by: ↓ has the largest on top."""
        return "↓" if self._by_number != self._reversed else "↑"

    @property
    def row(self) -> Row | None:
        """The selected row, as it was shown last."""
        return self._rows[self._place] if self._rows else None

    def describe(self) -> str:
        """In what it differs from how the rows come, in words."""
        parts = [f"filter: {self.wanted}"] if self.wanted else []
        parts += ["problems only"] if self.problems_only else []
        if self.column is not None:
            parts.append(f"sorted by {self.column.title} {self.arrow}")
        elif self._reversed:
            parts.append("last first")
        return " · ".join(parts)

    def window(self, rows: Sequence[Row] | Prepared, most: int) -> Window:
        """The part of these rows that is shown where `most` fit on the screen."""
        self._arrange(rows)
        self._page = max(1, most)
        total = len(self._rows)
        if not total:
            self._place = self._offset = 0
            return Window([], None, 0, 0)
        line = min(self._place - self._offset, self._page - 1)
        self._place = self._found(total)
        self._offset = max(0, min(self._place - line, total - self._page))
        shown = self._rows[self._offset : self._offset + self._page]
        return Window(shown, self._place - self._offset, self._offset, total)

    def move(self, by: int) -> None:
        """Select another row, so many further down."""
        self.select(self._place + by)

    def turn(self, pages: int) -> None:
        """The same by what the screen holds."""
        self.move(pages * max(1, self._page - 1))

    def select(self, place: int) -> None:
        """Select by the place in the list; its top is whatever stands there from now on."""
        if not self._rows:
            return
        self._place = max(0, min(place, len(self._rows) - 1))
        self._selected = self.shape.key(self._rows[self._place]) if self._place else None
        self._offset = max(self._place - self._page + 1, min(self._offset, self._place))

    def hold(self) -> None:
        """Keep the selected row selected, also where it is the top that was."""
        if self._rows:
            self._selected = self.shape.key(self._rows[self._place])

    def end(self) -> None:
        """Select the last row."""
        self.select(len(self._rows) - 1)

    def sort(self, step: int) -> None:
        """Sort by the next column, or the one before; after the last comes the order in which the
        rows come. The largest number, or the first word, is on top."""
        stops = (None, *self.shape.columns)
        self.column = stops[(stops.index(self.column) + step) % len(stops)]
        self._reversed = False

    def reverse(self) -> None:
        """The other way round."""
        self._reversed = not self._reversed

    def filter(self, wanted: str) -> None:
        """Show only rows one of whose names has this in it, in any case; "" for all."""
        self.wanted = wanted
        self.top()

    def toggle_problems(self) -> None:
        """Show only what is a problem, or everything again."""
        self.problems_only = not self.problems_only
        self.top()

    def clear(self) -> None:
        """As it comes: no filter, no order of its own."""
        self.wanted, self.problems_only, self.column, self._reversed = "", False, None, False

    def top(self) -> None:
        """Select the top, whatever stands there."""
        self._selected, self._place, self._offset = None, 0, 0

    def _arrange(self, rows: Sequence[Row] | Prepared) -> None:
        """Filter and sort, once for the same rows under the same wishes."""
        by = (self.wanted, self.problems_only, self.column, self._reversed)
        if self._by == by and (rows is self._of or rows is self._of.rows):
            return
        if rows is not self._of.rows:
            self._of = rows if isinstance(rows, Prepared) else Prepared(rows, self.shape)
        self._by = by
        every = self._of.rows
        places: Iterable[int] = range(len(every))
        if self.problems_only:
            places = [at for at in places if self.shape.is_problem(every[at])]
        if self.wanted:
            part, names = self.wanted.casefold(), self._of.names()
            places = [at for at in places if part in names[at]]
        self._rows = [every[at] for at in self._ordered(list(places))]

    def _ordered(self, places: list[int]) -> list[int]:
        if self.column is None:
            return places[::-1] if self._reversed else places
        values = self._of.values(self.column)
        known = [at for at in places if values[at] is not None]
        self._by_number = any(isinstance(values[at], float) for at in known[:1])
        known.sort(key=values.__getitem__, reverse=self._by_number != self._reversed)
        # What is not known comes last either way.
        return known + [at for at in places if values[at] is None]

    def _found(self, total: int) -> int:
        """Where the selected row stands now; where it is gone, what took its place."""
        place = min(self._place, total - 1)
        if self._selected is None:
            return 0
        key = self.shape.key
        if key(self._rows[place]) == self._selected:
            return place
        for at, row in enumerate(self._rows):
            if key(row) == self._selected:
                return at
        self._selected = key(self._rows[place])
        return place
