"""What one day's file holds, read past what is damaged in it."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar

import msgspec

from qtctl.domain.names import ascii_upper
from qtctl.domain.passes import Pass
from qtctl.history import decisions, schema
from qtctl.history.damage import Damaged
from qtctl.history.decisions import Decision, Profile
from qtctl.history.ids import DAY_MS, SEQ_BITS, day_start_ms, first_at, unpacked
from qtctl.history.lookups import BlockReader, TableRows
from qtctl.history.rows import Entry
from qtctl.history.scan import LAST, scan

R = TypeVar("R")
STREAMS = ("passes", "decisions", "events", "rejected")
"""The tables whose rows are entries of streams."""
_COLUMNS = ", ".join(name.removesuffix("_text") for name in Decision.__struct_fields__[1:])


class Damage(msgspec.Struct, frozen=True):
    """Rows of a day that can't be read: the times around them, what they are, and why."""

    day: str
    table: str
    from_ms: int
    to_ms: int
    problem: str


def note(damage: list[Damage], found: Damage) -> None:
    """Adds what was found to what is known; a file may be read again."""
    if found not in damage:
        damage.append(found)


class PassRead(msgspec.Struct, frozen=True):
    """A pass read back.

    id: of its entry in the stream. changed: the rows that differ from the pass before it in this
    reading, ascending; all of them in the first, and now and then; a row that is left out is the
    same symbol with the same values, in the same place. shifted: symbols stand in other rows than
    in the pass before, so that what was kept by row must be begun anew; then changed are all rows.
    late: it came after its day was sealed.
    """

    id: str
    value: Pass
    changed: Sequence[int]
    shifted: bool
    late: bool


class DayReader:
    """One day's file, open for reading. damage: collects what could not be read."""

    def __init__(self, db: sqlite3.Connection, day: str, damage: list[Damage]) -> None:
        self._db, self.day, self._damage = db, day, damage
        self._start_ms = day_start_ms(day)
        self._numbers: dict[frozenset[Any], str] = {}

    def decisions(
        self,
        low: int,
        high: int,
        symbols: Collection[str] = (),
        plan_id: str = "",
        only: Mapping[str, Collection[str]] | None = None,
    ) -> Iterator[Decision]:
        """Decisions whose packed ids are from low to before high; of some symbols, of one plan.
        only: the words that fields of their profiles may have."""
        more, values = self._chosen(symbols, plan_id, only or {})
        words, profiles = self._words, self._profiles
        for number, entry, outcome, profile, symbol, *rest in self._scan(
            "decisions", _COLUMNS, low, high, more, values
        ):
            try:
                yield Decision(number, entry, outcome, profiles[profile], words[symbol], *rest)
            except KeyError:
                self._lost("decisions", number, number, "its symbol or profile is damaged")

    def _chosen(
        self, symbols: Collection[str], plan_id: str, only: Mapping[str, Collection[str]]
    ) -> tuple[str, list[Any]]:
        """What a query must ask for more, and the values for it."""
        more, values = "", list[Any]()
        if symbols:
            more += f" AND symbol IN ({self._symbols(frozenset(symbols))})"
        if only:
            wanted = frozenset((name, frozenset(words)) for name, words in only.items())
            more += f" AND profile IN ({self._those(wanted)})"
        if plan_id:
            more += f" AND {schema.PLAN_TAIL} = substr(?, -8) AND plan_id = ?"
            values += [plan_id, plan_id]
        return more, values

    def _symbols(self, symbols: frozenset[str]) -> str:
        """The numbers of their words, in any spelling."""
        if symbols not in self._numbers:
            wanted = {ascii_upper(symbol) for symbol in symbols}
            words = self._scan("words", "word", 0, LAST)
            found = (str(number) for number, word in words if ascii_upper(word) in wanted)
            self._numbers[symbols] = ", ".join(found)
        return self._numbers[symbols]

    def _those(self, only: frozenset[tuple[str, frozenset[str]]]) -> str:
        """The numbers of the profiles whose fields have some of these words."""
        if only not in self._numbers:
            names = ", ".join(name for name, _ in only)
            rows = self._scan("profiles", names, 0, LAST)
            allowed = [words for _, words in only]
            found = (
                str(number)
                for number, *fields in rows
                if all(field in words for field, words in zip(fields, allowed, strict=True))
            )
            self._numbers[only] = ", ".join(found)
        return self._numbers[only]

    def passes(self, low: int, high: int) -> Iterator[PassRead]:
        """Passes whose packed ids are from low to before high."""
        words, block = self._words, BlockReader(self._db)
        columns = "ts_ms, number, instance, version, rules, symbols, block, place, id_text"
        for number, ts_ms, count, instance, version, rules, symbols, at, place, text in self._scan(
            "passes", columns, low, high
        ):
            try:
                found, first = block.at(at, place)
                value = Pass(
                    count, ts_ms, words[instance], words[version], words[rules], symbols,
                    found.columns,
                )  # fmt: skip
            except (KeyError, Damaged) as problem:
                reason = "its words are damaged" if isinstance(problem, KeyError) else str(problem)
                self._lost("passes", number, number, reason)
                continue
            changed = range(len(found.columns)) if first else found.changed
            late = number >> SEQ_BITS < self._start_ms
            yield PassRead(text or unpacked(number), value, changed, first or found.shifted, late)

    def entries(
        self, table: str, low: int, high: int, without: Collection[str] = ()
    ) -> Iterator[Entry]:
        """Entries of a stream that are kept as they came. without: events that may be left out,
        where they are written as the governor writes them."""
        more = " AND fields NOT LIKE ?" * len(without)
        values = [f'{{"event":"{word}"%' for word in without]
        for number, text, fields in self._scan(table, "id_text, fields", low, high, more, values):
            try:
                found = msgspec.json.decode(fields, type=dict[str, str])
            except msgspec.DecodeError as problem:
                self._lost(table, number, number, str(problem))
            else:
                yield Entry(text or unpacked(number), found)

    def observed(self, table: str, shape: type[R]) -> list[R]:
        """What was noticed beside the streams, in the order of its time."""
        return [shape(*row) for row in self._rows(table, f"SELECT * FROM {table} ORDER BY at_ms")]

    def _rows(self, table: str, sql: str) -> list[Any]:
        try:
            return self._db.execute(sql).fetchall()
        except sqlite3.DatabaseError as problem:
            self._lost(table, 0, LAST, str(problem))
            return []

    def document(self, kind: str, digest: str) -> bytes | None:
        """The JSON under a digest."""
        found = self._one(
            "documents", "SELECT body FROM documents WHERE kind = ? AND digest = ?", kind, digest
        )
        return None if found is None else bytes(found)

    def documents(self) -> list[tuple[str, str, bytes]]:
        """Kind, digest and JSON of each."""
        return [
            (kind, digest, bytes(body))
            for kind, digest, body in self._rows(
                "documents", "SELECT kind, digest, body FROM documents ORDER BY kind, digest"
            )
        ]

    def span(self) -> list[int]:
        """The times of the first and last row of each stream, epoch ms."""
        found = [
            self._one(table, f"SELECT {end}(id) FROM {table}")
            for table in STREAMS
            for end in ("min", "max")
        ]
        return [number >> SEQ_BITS for number in found if number is not None]

    def counts(self) -> dict[str, int | None]:
        """How many rows each table has; None where that can't be read."""
        return {
            table: self._one(table, f"SELECT count(*) FROM {table}") for table in (*STREAMS, "gaps")
        }

    def newest(self, table: str, high: int) -> int | None:
        """The last packed id before high, None where there is none or it can't be read."""
        found = self._one(table, f"SELECT max(id) FROM {table} WHERE id < ?", high)
        return None if found is None else int(found)

    def streams(self) -> set[str]:
        """The full names of the streams that its rows come from."""
        return {row[0] for row in self._rows("cursors", "SELECT stream FROM cursors")}

    def synthetic(self) -> bool:
        """True if the day was made up."""
        return bool(self._one("meta", "SELECT value FROM meta WHERE key = 'synthetic'") == "1")

    def _one(self, table: str, sql: str, *values: Any) -> Any:
        """The value of a query for one, None where there is none or it can't be read."""
        try:
            found = self._db.execute(sql, values).fetchone()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as problem:
            self._lost(table, 0, LAST, str(problem))
            return None
        return None if found is None else found[0]

    @cached_property
    def _words(self) -> TableRows[str]:
        return TableRows(self._db, "words", "word", lambda word: word)

    @cached_property
    def _profiles(self) -> TableRows[Profile]:
        return TableRows(self._db, "profiles", ", ".join(decisions.PROFILE), Profile)

    def _scan(
        self,
        table: str,
        columns: str,
        low: int,
        high: int,
        more: str = "",
        values: Sequence[Any] = (),
    ) -> Iterator[Any]:
        return scan(self._db, table, columns, low, high, partial(self._lost, table), more, values)

    def _lost(self, table: str, before: int, behind: int, problem: str) -> None:
        keyed = table not in ("words", "profiles")
        low = before >> SEQ_BITS if keyed and before > 0 else self._start_ms
        high = behind >> SEQ_BITS if keyed and behind < LAST else self._start_ms + DAY_MS
        note(self._damage, Damage(self.day, table, low, high, problem))


def window(since_ms: int | None, until_ms: int | None) -> tuple[int, int]:
    """The packed ids of a window."""
    low = 0 if since_ms is None else first_at(since_ms)
    return low, LAST if until_ms is None else first_at(until_ms)
