"""Values of proposals for SQL, out of the blocks of passes, one after another."""

import sqlite3
from collections.abc import Sequence

from qtctl.domain import numbers
from qtctl.domain.passes import COLUMNS
from qtctl.history.damage import Damaged
from qtctl.history.lookups import BlockReader


class Cells:
    """Functions for a query: the value of a column of a row of a pass. error: what ended the last
    call that failed, since SQLite does not tell."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._days: list[BlockReader] = []
        self._pass = (-1, -1, -1)
        self._columns: Sequence[Sequence[str]] = ()

    def add_day(self, db: sqlite3.Connection) -> None:
        """Adds the passes of the next file."""
        self._days.append(BlockReader(db))

    def register(self, db: sqlite3.Connection) -> None:
        """Makes the functions known to a connection."""
        db.create_function("cell_text", 5, self._text)
        db.create_function("cell_number", 5, self._number)

    def _text(self, day: int, block: int, place: int, row: int, column: int) -> str | None:
        try:
            if self._pass != (day, block, place):
                self._load(day, block, place)
            return self._columns[column][row]
        except IndexError:
            return None
        except BaseException as problem:
            self.error = problem
            raise

    def _number(self, day: int, block: int, place: int, row: int, column: int) -> float | None:
        text = self._text(day, block, place, row, column)
        return numbers.number(text) if text else None

    def _load(self, day: int, block: int, place: int) -> None:
        self._pass = (day, block, place)
        self._columns = ()
        try:
            found, _ = self._days[day].at(block, place)
        except Damaged:
            return  # Its rows are NULL, and `gaps` says why.
        self._columns = [getattr(found.columns, name) for name in COLUMNS]
