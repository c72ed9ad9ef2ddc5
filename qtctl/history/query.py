"""One SELECT over the tables of all days, which can do nothing but read.

The statement is prepared twice: first on empty tables, which shows what it uses and that it only
reads; then on the files, of which no more is read than that. SQLite attaches ten files to a
connection; of more days, what is used of the oldest ones is copied to a temporary table.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import msgspec

from qtctl.errors import QtctlError, RefusedError, UsageError
from qtctl.history import folder as folders
from qtctl.history import opening, tables
from qtctl.history.cells import Cells
from qtctl.history.damage import Damaged
from qtctl.history.day_reader import window
from qtctl.history.ids import SEQ_BITS, day_of, day_start_ms, first_at
from qtctl.history.reader import History
from qtctl.history.tables import GAPS, PROPOSALS, TABLES, Table

_READS = (
    sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE,
)  # fmt: skip
_LOADS = ("load_extension", "fts3_tokenizer")
_ATTACHED = 9
_MAX_VALUE_BYTES = 16 << 20
_FUNCTION_RAISED = "user-defined function raised exception"
_STEPS = 20_000
"""Instructions of SQLite between two looks at the clock."""


class TooLong(QtctlError):  # noqa: N818 - a state of a query, named as one
    """A query took longer than it may."""


def used(sql: str) -> dict[str, set[str]]:
    """The columns that a statement uses, by table. Errors: UsageError where it is no statement or
    not one, RefusedError where it does anything but read."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        for table in TABLES:
            columns = ", ".join(f"{c.name} {c.type}" for c in table.columns)
            key = table.columns[0].name
            db.execute(f"CREATE TABLE {table.name} ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID")
        found: dict[str, set[str]] = {}
        refused: list[int] = []

        def authorize(action: int, table: str | None, column: str | None, *_: str | None) -> int:
            if action not in _READS or (table or "").startswith("pragma_") or column in _LOADS:
                refused.append(action)
                return sqlite3.SQLITE_DENY
            if action == sqlite3.SQLITE_READ and table in tables.BY_NAME:
                found.setdefault(table, set()).add(column or "")
            return sqlite3.SQLITE_OK

        db.set_authorizer(authorize)
        try:
            db.execute(f"EXPLAIN {sql}")
        except (sqlite3.Error, sqlite3.Warning) as problem:
            if refused:
                raise _refusal() from None
            raise UsageError(
                f"the SQL can't be read: {problem}; 'qtctl history query --help' has examples"
            ) from None
        return found


def _refusal() -> RefusedError:
    names = ", ".join(tables.BY_NAME)
    return RefusedError(f"history query only reads: it takes one SELECT over {names}")


class Query:
    """A statement on its way. As a context manager it holds the files open; columns are known then,
    and `rows` may be read once. left_out: days that can't be read, and why.

    Errors: those of `used`; later TooLong, Damaged, KeyboardInterrupt.
    """

    def __init__(
        self,
        history: History,
        sql: str,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        timeout_sec: float = 60.0,
    ) -> None:
        self._history, self._sql = history, sql
        self._since_ms, self._until_ms = since_ms, until_ms
        self._timeout_sec, self._deadline = timeout_sec, 0.0
        self._used = used(sql)
        self._stack = ExitStack()
        self.columns: list[str] = []
        self.left_out: list[str] = []

    def __enter__(self) -> "Query":
        with ExitStack() as stack:
            self._db = stack.enter_context(
                closing(sqlite3.connect("file:?mode=memory", uri=True, isolation_level=None))
            )
            self._deadline = time.monotonic() + self._timeout_sec
            self._limit()
            with self._reporting():
                self._prepare(stack)
                self._db.set_authorizer(_reading)
                self._cursor = self._db.execute(self._sql)
            self.columns = [each[0] for each in self._cursor.description]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows of the answer."""
        with self._reporting():
            # Not `yield from`, which would close the cursor, maybe too late.
            for row in self._cursor:  # noqa: UP028
                yield row

    def _limit(self) -> None:
        self._cells = Cells()
        self._cells.register(self._db)
        self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
        self._db.set_progress_handler(self._overdue, _STEPS)

    def _overdue(self) -> bool:
        return time.monotonic() > self._deadline

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """What ends a query, as what it is. SQLite drops what a callback raises."""
        try:
            yield
        except sqlite3.Error as problem:
            if self._cells.error is not None:
                raise self._cells.error from None
            if str(problem) == _FUNCTION_RAISED:
                # Each function keeps what it raises, but for a Ctrl-C in its first instructions.
                raise KeyboardInterrupt from None
            code = problem.sqlite_errorcode & 0xFF
            if code == sqlite3.SQLITE_AUTH:
                raise _refusal() from None
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise Damaged(
                    f"a day can't be read in full: {problem}; 'qtctl history verify' names it, "
                    "--since and --until leave it out"
                ) from None
            if code != sqlite3.SQLITE_INTERRUPT:
                raise UsageError(f"the SQL can't be run: {problem}") from None
            if self._overdue():
                raise TooLong(
                    f"stopped after {self._timeout_sec:g} s: ask for less (--since, --until), or "
                    "give it longer (--timeout)"
                ) from None
            raise KeyboardInterrupt from None

    def _prepare(self, stack: ExitStack) -> None:
        """Makes the tables that the statement uses."""
        needed = [tables.BY_NAME[name] for name in self._used if name != GAPS.name]
        if GAPS.name in self._used:
            self._add_gaps()
        if not needed:
            return
        days = list(self._located(stack))
        if PROPOSALS in needed:
            self._add_row_numbers(days, stack)
        for number, (_, uri) in enumerate(days[-_ATTACHED:]):
            self._db.execute(f"ATTACH ? AS d{number}", (uri,))
        for table in needed:
            self._add_table(table, days)

    def _located(self, stack: ExitStack) -> Iterator[tuple[str, str]]:
        """The days that may have rows of the window, and by which URI each is opened. Late rows
        stand in any later day."""
        first = "" if self._since_ms is None else day_of(self._since_ms)
        for day in self._history.days():
            if day < first:
                continue
            path = folders.day_path(self._history.folder, day)
            try:
                yield day, stack.enter_context(opening.located(path))
            except Damaged as problem:
                self.left_out.append(str(problem))

    def _add_table(self, table: Table, days: Sequence[tuple[str, str]]) -> None:
        """A view over the attached days, and what is used of the others."""
        old, attached = days[:-_ATTACHED], days[-_ATTACHED:]
        copied = f"temp.old_{table.name}"
        for number, (day, uri) in enumerate(old):
            self._db.execute("ATTACH ? AS old", (uri,))
            into = f"INSERT INTO {copied}" if number else f"CREATE TABLE {copied} AS"
            self._db.execute(f"{into} {self._select(table, 'old', day, number)}")
            self._db.execute("DETACH old")
        parts = [
            self._select(table, f"d{number}", day, len(old) + number)
            for number, (day, _) in enumerate(attached)
        ]
        parts += [f"SELECT * FROM {copied}"] if old else []
        whole = " UNION ALL ".join(parts) or self._nothing(table)
        self._db.execute(f"CREATE TEMP VIEW {table.name} AS {whole}")

    def _select(self, table: Table, db: str, day: str, index: int) -> str:
        start = first_at(day_start_ms(day))
        low, high = window(self._since_ms, self._until_ms)
        if not table.keyed:
            low, high = low >> SEQ_BITS, high >> SEQ_BITS
        by = "i.id" if table.keyed else "i.at_ms"
        names = self._used[table.name]
        return f"{table.select(db, day, start, names, index)} WHERE {by} >= {low} AND {by} < {high}"

    def _nothing(self, table: Table) -> str:
        used = self._used[table.name]
        names = [f"NULL AS {column.name}" for column in table.columns if column.name in used]
        return f"SELECT {', '.join(names) or 'NULL'} WHERE 0"

    def _add_row_numbers(self, days: Sequence[tuple[str, str]], stack: ExitStack) -> None:
        most = 0
        for _, uri in days:
            db = stack.enter_context(closing(sqlite3.connect(uri, uri=True)))
            self._cells.add_day(db)
            most = max(most, db.execute("SELECT max(symbols) FROM passes").fetchone()[0] or 0)
        self._db.execute("CREATE TEMP TABLE row_numbers (row INTEGER PRIMARY KEY)")
        self._db.executemany("INSERT INTO row_numbers VALUES (?)", ((n,) for n in range(most)))

    def _add_gaps(self) -> None:
        columns = ", ".join(f"{c.name} {c.type}" for c in GAPS.columns)
        self._db.execute(f"CREATE TEMP TABLE gaps ({columns})")
        self._db.executemany(
            "INSERT INTO gaps (kind, from_ms, to_ms, stream, count, detail, at_ms, time) "
            f"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, {tables.iso_time('?7')})",
            map(msgspec.structs.astuple, self._history.gaps(self._since_ms, self._until_ms)),
        )


def _reading(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY
