"""A day's file as the recorder writes it: rows, words and cursors in one transaction."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from qtctl.errors import RefusedError
from qtctl.history import decisions, opening, schema
from qtctl.history.folder import appearing
from qtctl.history.ids import keyed
from qtctl.history.pass_writer import PassWriter
from qtctl.history.rows import Batch, Entry

_CACHE_KIB = 8_192
_BUSY_SEC = 5.0
_PIECE = 25
"""Rows in a row: half a millisecond of decisions."""
_MAX_WORDS = 50_000
"""So many words and profiles are remembered; beyond it the memory begins anew."""
OBSERVED = ("services", "servers", "halts", "gaps", "documents")
"""What is not an entry of a stream, by table; the fields of a row are its columns."""


class DayWriter:
    """One day's file, open for writing by whoever holds the folder's lock. give_way: called
    between small pieces of work, also within a transaction; may wait."""

    def __init__(
        self, path: Path, day: str, *, synthetic: bool, give_way: Callable[[], None]
    ) -> None:
        self.path, self.day = path, day
        if not path.exists():
            _create(path, day, synthetic)
        db = self._db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SEC)
        self._words = _Numbers(db, "words", ("word",))
        self._profiles = _Numbers(db, "profiles", decisions.PROFILE)
        self._passes = PassWriter(db, lambda word: self._words.of((word,)), give_way)
        self._give_way = give_way
        try:
            self._prepare(synthetic)
        except BaseException:
            db.close()
            raise

    def _prepare(self, synthetic: bool) -> None:
        db = self._db
        opening.check(db, self.path)
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        is_synthetic = db.execute("SELECT value FROM meta WHERE key = 'synthetic'").fetchone()
        if is_synthetic != (str(int(synthetic)),):
            kinds = ("recorded", "synthetic")
            raise RefusedError(
                f"{self.path} holds a {kinds[not synthetic]} history, and a {kinds[synthetic]} one "
                "must not be mixed into it: use another folder"
            )

    def __enter__(self) -> "DayWriter":
        self._db.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, kind: Any, *rest: object) -> None:
        if kind is None:
            try:
                self._db.execute("COMMIT")
                return
            except sqlite3.Error:
                self._undo()
                raise
        self._undo()

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._words.forget()
        self._profiles.forget()

    def cursors(self) -> dict[str, tuple[str, int]]:
        """Each stream's id, and the turn in which it was set."""
        found = self._db.execute("SELECT stream, id, turn FROM cursors")
        return {stream: (entry_id, turn) for stream, entry_id, turn in found}

    def set_cursors(self, cursors: Mapping[str, str], turn: int) -> None:
        rows = [(stream, entry_id, turn) for stream, entry_id in cursors.items()]
        self._db.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", rows)

    def add(self, batch: Batch) -> dict[str, int]:
        """Writes rows, within `with`; how many were new, by kind. Those that are there already stay
        as they are."""
        found = {
            "passes": self._passes.add(batch.passes),
            "decisions": self._insert("decisions", map(self._decision_row, batch.decisions), 25),
            "events": self._insert("events", map(_fields_row, batch.events), 3),
            "rejected": self._insert("rejected", map(_fields_row, batch.rejected), 3),
        }
        for table in OBSERVED:
            rows = [msgspec.structs.astuple(row) for row in getattr(batch, table)]
            found[table] = self._insert(table, rows, len(rows[0])) if rows else 0
        return found

    def _insert(self, table: str, rows: Iterable[Sequence[Any]], columns: int) -> int:
        marks = ", ".join("?" * columns)
        insert = f"INSERT OR IGNORE INTO {table} VALUES ({marks})"
        done = self._db.executemany(insert, self._in_pieces(rows))
        return max(0, done.rowcount)

    def _in_pieces(self, rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        for place, row in enumerate(rows):
            if place % _PIECE == 0:
                self._give_way()
            yield row

    def _decision_row(self, entry: Entry) -> tuple[Any, ...]:
        found = decisions.pack(entry.id, entry.fields)
        profile, symbol = self._profiles.of(found.profile), self._words.of((found.symbol,))
        return (
            found.number, found.entry, found.outcome, profile, symbol, found.plan_id, *found.values,
        )  # fmt: skip

    def checkpoint(self) -> None:
        """Has everything so far on the disk, whatever becomes of the power."""
        self._db.execute("PRAGMA wal_checkpoint(FULL)")

    def finish(self) -> None:
        """What a day needs once nothing more comes: passes packed, and plans found by their id."""
        with self:
            self._passes.finish()
            self._db.execute(schema.AT_SEALING)
        for _ in self._db.execute("PRAGMA incremental_vacuum"):
            pass  # A page a step.

    def close(self) -> None:
        """Leaves one file behind, which can be read by those who may not write here; where somebody
        reads it just now, its WAL stays."""
        with contextlib.suppress(sqlite3.Error):
            if self.settle():
                return
        self._db.close()

    def settle(self) -> bool:
        """Closes it with nothing beside the file; False where somebody reads it just now: then it
        stays open."""
        try:
            self._db.execute("PRAGMA busy_timeout = 200")
            self._db.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return False
        self._db.close()
        return True

    def abandon(self) -> None:
        """Closes it as it is, after an error."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()


def _create(path: Path, day: str, synthetic: bool) -> None:
    """A new file; SQLite gives those beside it (WAL, index) the same mode."""
    with (
        appearing(path) as new,
        contextlib.closing(sqlite3.connect(new, isolation_level=None)) as db,
    ):
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("BEGIN")
        for statement in schema.TABLES.split(";"):
            db.execute(statement)
        facts = {"day": day, "synthetic": str(int(synthetic))}
        db.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {schema.FORMAT}")
        db.execute("COMMIT")


def _fields_row(entry: Entry) -> tuple[int | None, str | None, str]:
    return *keyed(entry.id), msgspec.json.encode(dict(entry.fields)).decode()


class _Numbers:
    """Rows of text that stand once in a table, and the numbers they go by."""

    def __init__(self, db: sqlite3.Connection, table: str, columns: Sequence[str]) -> None:
        self._db, self._known = db, dict[tuple[str, ...], int]()
        self._loaded = False
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        self._all = f"SELECT id, {names} FROM {table} ORDER BY id DESC LIMIT {_MAX_WORDS}"
        self._new = f"INSERT INTO {table} ({names}) VALUES ({marks})"

    def of(self, row: tuple[str, ...]) -> int:
        """The number of a row, which is added where it is new."""
        found = self._known.get(row)
        if found is None:
            found = self._add(row)
        return found

    def _add(self, row: tuple[str, ...]) -> int:
        if not self._loaded:
            self._loaded = True
            self._known = {tuple(r): number for number, *r in self._db.execute(self._all)}
            if row in self._known:
                return self._known[row]
        if len(self._known) >= _MAX_WORDS:
            self._known.clear()
        number = self._db.execute(self._new, row).lastrowid or 0
        self._known[row] = number
        return number

    def forget(self) -> None:
        """After a transaction that came to nothing."""
        self._known, self._loaded = {}, False
