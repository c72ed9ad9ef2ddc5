"""Reads a table in the order of its ids, past what is damaged."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any

LAST = (1 << 63) - 1
Lost = Callable[[int, int, str], None]
"""Takes what could not be read: the last id before it, the first behind it (LAST where there is
none), and what SQLite says."""


def scan(
    db: sqlite3.Connection, table: str, columns: str, low: int, high: int, lost: Lost,
    more: str = "", values: Sequence[Any] = (),
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """The rows with ids from low to before high, the id first. What can't be read is skipped, by
    pages of the file, and reported. more, values: a further condition."""
    sql = f"SELECT id, {columns} FROM {table} WHERE id >= ? AND id < ?{more} ORDER BY id"
    at = low
    while True:
        try:
            for row in db.execute(sql, (at, high, *values)):
                yield row
                at = row[0] + 1
            return
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as problem:
            # Python steps on before it gives a row, so that the last good one is lost with the
            # error.
            held = _one(db, f"{sql} LIMIT 1", (at, high, *values))
            if held is not None:
                yield held
                at = held[0] + 1
                continue
            following = _next_readable(db, table, at, high)
            lost(at - 1, LAST if following is None else following, str(problem))
            if following is None:
                return
            at = following


def _next_readable(db: sqlite3.Connection, table: str, bad: int, high: int) -> int | None:
    """The first id from `bad` on behind what can't be read, None where there is none."""
    step = 1
    while not _readable(db, table, bad + step):
        step *= 2
        if bad + step >= high:
            return None
    low, good = bad + step // 2, bad + step
    while good - low > 1:
        middle = (low + good) // 2
        if _readable(db, table, middle):
            good = middle
        else:
            low = middle
    found = db.execute(f"SELECT id FROM {table} WHERE id >= ? LIMIT 1", (good,)).fetchone()
    return None if found is None else int(found[0])


def _one(db: sqlite3.Connection, sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
    try:
        found: tuple[Any, ...] | None = db.execute(sql, values).fetchone()
    except sqlite3.DatabaseError:
        return None
    return found


def _readable(db: sqlite3.Connection, table: str, number: int) -> bool:
    try:
        db.execute(f"SELECT * FROM {table} WHERE id >= ? ORDER BY id LIMIT 1", (number,)).fetchone()
    except sqlite3.DatabaseError:
        return False
    return True
