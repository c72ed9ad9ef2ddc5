"""The history as a value to read: days, decisions, passes, and what was noticed beside them.

    history = History(folder)
    for each in history.passes(since_ms, until_ms): …

Nothing here changes a file. Windows are half open: from since_ms, before until_ms, by the ids of
the entries; None is all. Everything comes in the order of its time within a day's file, the days in
theirs; rows that came late stand in a later file, before its others.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from qtctl.domain.allocation import AllocationRules
from qtctl.domain.facts import limits_of, rules_of
from qtctl.domain.gates import Limits
from qtctl.domain.passes import Pass
from qtctl.history import blocks, decisions
from qtctl.history import folder as folders
from qtctl.history.decisions import Decision, Profile
from qtctl.history.ids import day_of, first_at, unpacked
from qtctl.history.rows import DocumentKind, Entry, Gap, HaltRow, ServerRow, ServiceRow

Ms = int | None
"""A time, epoch ms; None is no bound."""
R = TypeVar("R", Gap, ServiceRow, ServerRow, HaltRow)


class PassRead(msgspec.Struct, frozen=True):
    """A pass read back.

    id: of its entry in the stream. changed: the rows that differ from the pass before it in this
    reading, ascending; all of them in the first, and now and then; a row that is left out is the
    same symbol with the same values, in the same place. shifted: symbols stand in other rows than
    in the pass before (some went), so that what was kept by row must be begun anew; then changed
    are all rows. late: it came after its day was sealed.
    """

    id: str
    value: Pass
    changed: Sequence[int]
    shifted: bool
    late: bool


class History:
    """A folder of days. Errors: NotFoundError where there is none, ConfigError where it can't be
    read; see `opening` for files that are none of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folders.days_in(folder)

    def days(self) -> list[str]:
        """The days that have a file, the oldest first."""
        return folders.days_in(self.folder)

    def decisions(self, since_ms: Ms = None, until_ms: Ms = None) -> Iterator[Decision]:
        """Decisions in the order in which they were taken."""
        names = ", ".join(f"d.{name}" for name in _DECISION_COLUMNS)
        for db in self._files(since_ms, until_ms):
            profiles = {
                number: Profile(*fields)
                for number, *fields in db.execute(
                    f"SELECT id, {', '.join(decisions.PROFILE)} FROM profiles"
                )
            }
            words = dict(db.execute("SELECT id, word FROM words"))
            for number, entry, outcome, profile, symbol, *rest in db.execute(
                f"SELECT {names} FROM decisions d WHERE {_WINDOW} ORDER BY id",
                _window(since_ms, until_ms),
            ):
                yield Decision(number, entry, outcome, profiles[profile], words[symbol], *rest)

    def passes(self, since_ms: Ms = None, until_ms: Ms = None) -> Iterator[PassRead]:
        """Passes in the order in which they were made."""
        for db in self._files(since_ms, until_ms):
            words = dict(db.execute("SELECT id, word FROM words"))
            for number, ts_ms, count, instance, version, rules, symbols, block in db.execute(
                "SELECT id, ts_ms, number, instance, version, rules, symbols, block FROM passes "
                f"WHERE {_WINDOW} ORDER BY id",
                _window(since_ms, until_ms),
            ):
                raw = db.execute("SELECT frames FROM blocks WHERE id = ?", (block,)).fetchone()[0]
                for each in blocks.read(raw):
                    value = Pass(
                        count, ts_ms, words[instance], words[version], words[rules], symbols,
                        each.columns,
                    )  # fmt: skip
                    yield PassRead(unpacked(number), value, each.changed, each.shifted, False)

    def events(self, since_ms: Ms = None, until_ms: Ms = None) -> Iterator[Entry]:
        """Entries of the governor's stream of events."""
        return self._entries("events", since_ms, until_ms)

    def rejected(self, since_ms: Ms = None, until_ms: Ms = None) -> Iterator[Entry]:
        """Plans that could not be read, as entries of their stream."""
        return self._entries("rejected", since_ms, until_ms)

    def services(self, since_ms: Ms = None, until_ms: Ms = None) -> list[ServiceRow]:
        """What was seen of the services."""
        return self._observed("services", ServiceRow, since_ms, until_ms)

    def servers(self, since_ms: Ms = None, until_ms: Ms = None) -> list[ServerRow]:
        """What was seen of the Redis server."""
        return self._observed("servers", ServerRow, since_ms, until_ms)

    def halts(self, since_ms: Ms = None, until_ms: Ms = None) -> list[HaltRow]:
        """Halts and resumes."""
        return self._observed("halts", HaltRow, since_ms, until_ms)

    def gaps(self, since_ms: Ms = None, until_ms: Ms = None) -> list[Gap]:
        """What is missing in a window, also where it began before or ends after."""
        found = self._observed("gaps", Gap, None, None)
        low = -1 if since_ms is None else since_ms
        return [
            gap
            for gap in found
            if gap.to_ms >= low and (until_ms is None or gap.from_ms < until_ms)
        ]

    def document(self, kind: DocumentKind, digest: str) -> bytes | None:
        """The JSON under a digest; None where no day has it."""
        for db in self._files(None, None):
            found = db.execute(
                "SELECT body FROM documents WHERE kind = ? AND digest = ?", (kind, digest)
            ).fetchone()
            if found is not None:
                return bytes(found[0])
        return None

    def rules(self, digest: str) -> AllocationRules | None:
        """The rules of passes with that digest; None where they are unknown."""
        raw = self.document("rules", digest)
        return None if raw is None else rules_of(raw)

    def limits(self, digest: str) -> Limits | None:
        """The limits of decisions with that digest; None where they are unknown."""
        raw = self.document("limits", digest)
        return None if raw is None else limits_of(raw)

    def settings(self, digest: str) -> dict[str, Any] | None:
        """The settings of a service with that digest, by name; None where they are unknown."""
        raw = self.document("settings", digest)
        return None if raw is None else msgspec.json.decode(raw, type=dict[str, Any])

    def _entries(self, table: str, since_ms: Ms, until_ms: Ms) -> Iterator[Entry]:
        for db in self._files(since_ms, until_ms):
            for number, fields in db.execute(
                f"SELECT id, fields FROM {table} WHERE {_WINDOW} ORDER BY id",
                _window(since_ms, until_ms),
            ):
                yield Entry(unpacked(number), msgspec.json.decode(fields, type=dict[str, str]))

    def _observed(self, table: str, shape: type[R], since_ms: Ms, until_ms: Ms) -> list[R]:
        low = -1 if since_ms is None else since_ms
        return [
            row
            for db in self._files(None, None)
            for fields in db.execute(f"SELECT * FROM {table} ORDER BY at_ms, rowid")
            if (row := shape(*fields)).at_ms >= low and (until_ms is None or row.at_ms < until_ms)
        ]

    def _files(self, since_ms: Ms, until_ms: Ms) -> Iterator[sqlite3.Connection]:
        """The days that may have rows of a window, one after another; late ones stand in any."""
        last = None if until_ms is None else day_of(until_ms)
        first = None if since_ms is None else day_of(since_ms)
        for day in self.days():
            if first is not None and day < first:
                continue
            path = folders.day_path(self.folder, day)
            db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            try:
                yield db
            finally:
                db.close()
            del last


_DECISION_COLUMNS = (
    "id", "entry", "outcome", "profile", "symbol", "plan_id", "qty", "price", "kill_score", "score",
    "confidence", "score_at", *Decision.__struct_fields__[12:],
)  # fmt: skip
_WINDOW = "id >= ? AND id < ?"


def _window(since_ms: Ms, until_ms: Ms) -> tuple[int, int]:
    low = 0 if since_ms is None else first_at(since_ms)
    return low, (1 << 63) - 1 if until_ms is None else first_at(until_ms)
