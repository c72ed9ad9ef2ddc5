"""A day's file as the recorder writes it: rows, words and cursors in one transaction."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from qtctl.history import decisions, schema
from qtctl.history.blocks import BlockMaker
from qtctl.history.ids import day_start_ms, ms_of, packed
from qtctl.history.rows import Batch, Entry, PassEntry

_CACHE_KIB = 8_192
_MAX_WORDS = 50_000
"""So many words and profiles are remembered; beyond it the memory begins anew."""
_OBSERVED = ("services", "servers", "halts", "gaps")
"""What is not an entry of a stream, by table; the fields of a row are its columns."""


class DayWriter:
    """One day's file, open for writing by whoever holds the folder's lock."""

    def __init__(self, path: Path, day: str, *, synthetic: bool) -> None:
        self.path, self.day = path, day
        self._start_ms = day_start_ms(day)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._words = _Numbers(self._db, "words", ("word",))
        self._profiles = _Numbers(self._db, "profiles", decisions.PROFILE)
        self._prepare(synthetic)

    def _prepare(self, synthetic: bool) -> None:
        db = self._db
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        if db.execute("PRAGMA user_version").fetchone()[0]:
            return
        with self:
            for statement in schema.TABLES.split(";"):
                db.execute(statement)
            facts = {"day": self.day, "synthetic": str(int(synthetic))}
            db.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
            db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {schema.FORMAT}")

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
            "passes": self._add_passes(batch.passes),
            "decisions": self._insert("decisions", map(self._decision_row, batch.decisions), 25),
            "events": self._insert("events", map(_fields_row, batch.events), 2),
            "rejected": self._insert("rejected", map(_fields_row, batch.rejected), 2),
        }
        for table in _OBSERVED:
            rows = [msgspec.structs.astuple(row) for row in getattr(batch, table)]
            found[table] = self._insert(table, rows, len(rows[0])) if rows else 0
        documents = [(each.kind, each.digest, each.body) for each in batch.documents]
        found["documents"] = self._insert("documents", documents, 3)
        return found

    def has(self, table: str, entry: Entry | PassEntry) -> bool:
        """True where an entry of a stream is there already."""
        number = packed(entry.id)
        return bool(self._db.execute(f"SELECT 1 FROM {table} WHERE id = ?", (number,)).fetchone())

    def _insert(self, table: str, rows: Iterable[Sequence[Any]], columns: int) -> int:
        marks = ", ".join("?" * columns)
        done = self._db.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)
        return max(0, done.rowcount)

    def _decision_row(self, entry: Entry) -> tuple[Any, ...]:
        found = decisions.pack(entry.fields, ms_of(entry.id))
        number, judged = packed(entry.id), packed(entry.fields.get("entry_id", ""))
        exact = found.exact
        if number is None:
            exact = exact | {"id": entry.id}
        if judged is None and entry.fields.get("entry_id"):
            exact = exact | {"entry_id": entry.fields["entry_id"]}
        return (
            number, judged, found.outcome, self._profiles.of(found.profile),
            self._words.of((found.symbol,)), found.plan_id, *found.values,
            msgspec.json.encode(exact).decode() if exact else None,
        )  # fmt: skip

    def _add_passes(self, entries: Sequence[PassEntry]) -> int:
        new = [each for each in entries if not self.has("passes", each)]
        for entry in new:
            maker = BlockMaker()
            maker.add(entry.value.columns)
            self._add_block([entry], maker)
        return len(new)

    def _add_block(self, entries: Iterable[PassEntry], maker: BlockMaker) -> int:
        cursor = self._db.execute(
            "INSERT INTO blocks (passes, frames) VALUES (?, ?)", (maker.passes, maker.block())
        )
        block = cursor.lastrowid or 0
        word = self._words.of
        self._insert(
            "passes",
            [
                (
                    packed(e.id), e.value.ts_ms, e.value.number, word((e.value.instance,)),
                    word((e.value.version,)), word((e.value.rules,)), e.value.symbols, block, place,
                )
                for place, e in enumerate(entries)
            ],
            9,
        )  # fmt: skip
        return block

    def close(self) -> None:
        """Leaves one file behind, which can be read by those who may not write here."""
        self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()


def _fields_row(entry: Entry) -> tuple[int | None, str]:
    return packed(entry.id), msgspec.json.encode(dict(entry.fields)).decode()


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
