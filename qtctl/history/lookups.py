"""What the rows of a day point to: words and profiles by their number, passes by their block."""

import sqlite3
from collections.abc import Callable, Iterator
from typing import TypeVar

from qtctl.history import blocks
from qtctl.history.blocks import Changes
from qtctl.history.damage import Damaged

R = TypeVar("R")
_REMEMBERED = 50_000


class TableRows(dict[int, R]):
    """Rows of a table by their number, read when they are first asked for; some are remembered, so
    that no publisher who makes up words fills the memory. KeyError where there is no such row."""

    def __init__(
        self, db: sqlite3.Connection, table: str, columns: str, make: Callable[..., R]
    ) -> None:
        super().__init__()
        self._db, self._make = db, make
        self._sql = f"SELECT {columns} FROM {table} WHERE id = ?"

    def __missing__(self, number: int) -> R:
        try:
            row = self._db.execute(self._sql, (number,)).fetchone()
        except sqlite3.DatabaseError:
            row = None
        if row is None:
            raise KeyError(number)
        if len(self) >= _REMEMBERED:
            self.clear()
        found = self[number] = self._make(*row)
        return found


class BlockReader:
    """The block that was read last, and how far."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db, self._number, self._next = db, 0, 0
        self._passes: Iterator[Changes] = iter(())

    def at(self, number: int, place: int) -> tuple[Changes, bool]:
        """The pass in a place of a block, and whether it can't be compared with the one that was
        asked for before. Errors: Damaged."""
        first = number != self._number or place != self._next
        if number != self._number or place < self._next:
            try:
                row = self._db.execute(
                    "SELECT frames FROM blocks WHERE id = ?", (number,)
                ).fetchone()
            except sqlite3.DatabaseError as problem:
                raise Damaged(f"block {number} can't be read: {problem}") from problem
            if row is None:
                raise Damaged(f"block {number} is gone")
            self._number, self._next, self._passes = number, 0, blocks.read(row[0])
        for found in self._passes:
            self._next += 1
            if self._next > place:
                return found, first or place == 0
        raise Damaged(f"block {number} has no pass {place}")
