"""The history as a value to read: days, decisions, passes, and what was noticed beside them.

    history = History(folder)
    for each in history.passes(since_ms, until_ms): …
    history.damage       # what could not be read so far

Nothing here changes a file. Windows are half open: from since_ms, before until_ms, by the ids of
the entries; None is no bound. Days come in their order, and each one's rows in that of their ids;
rows that came late stand in a later file, before its others.
"""

import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from qtctl.domain.allocation import AllocationRules
from qtctl.domain.facts import limits_of, rules_of
from qtctl.domain.gates import Limits
from qtctl.errors import ConfigError, RefusedError
from qtctl.history import folder as folders
from qtctl.history import missing, opening
from qtctl.history.damage import Damaged
from qtctl.history.day_reader import Damage, DayReader, PassRead, note, window
from qtctl.history.decisions import Decision
from qtctl.history.ids import DAY_MS, day_of, day_start_ms
from qtctl.history.rows import DocumentKind, Entry, Gap, HaltRow, ServerRow, ServiceRow

Ms = int | None
"""A time, epoch ms; None is no bound."""
_REFUSED = (RefusedError, ConfigError)
R = TypeVar("R", Gap, ServiceRow, ServerRow, HaltRow)


class History:
    """A folder of days. damage: grows with what could not be read.

    Errors: NotFoundError where there is no such folder, ConfigError where it may not be read,
    RefusedError where a file in it is another program's or a newer qtctl's. lenient: such a file,
    or one that may not be read, is damage, and the other days are read.
    """

    def __init__(self, folder: Path, *, lenient: bool = False) -> None:
        self.folder = folder
        self._left_out = (Damaged, sqlite3.DatabaseError, *(_REFUSED if lenient else ()))
        self.damage: list[Damage] = []
        folders.days_in(folder)

    def days(self) -> list[str]:
        """The days that have a file, the oldest first."""
        return folders.days_in(self.folder)

    def decisions(
        self, since_ms: Ms = None, until_ms: Ms = None, symbols: Collection[str] = ()
    ) -> Iterator[Decision]:
        """Decisions in the order in which they were taken; of these symbols, in any spelling that
        the governor counts as theirs, or of all."""
        for day in self.readers(since_ms):
            yield from day.decisions(*window(since_ms, until_ms), symbols)

    def decisions_on(self, plan_id: str) -> list[Decision]:
        """All decisions on a plan."""
        return [
            found
            for day in self.readers()
            for found in day.decisions(*window(None, None), (), plan_id)
        ]

    def passes(self, since_ms: Ms = None, until_ms: Ms = None) -> Iterator[PassRead]:
        """Passes in the order in which they were made."""
        for day in self.readers(since_ms):
            yield from day.passes(*window(since_ms, until_ms))

    def events(
        self, since_ms: Ms = None, until_ms: Ms = None, without: Collection[str] = ()
    ) -> Iterator[Entry]:
        """Entries of the governor's stream of events. without: events that may be left out."""
        for day in self.readers(since_ms):
            yield from day.entries("events", *window(since_ms, until_ms), without)

    def rejected(self, since_ms: Ms = None, until_ms: Ms = None) -> Iterator[Entry]:
        """Plans that could not be read, as entries of their stream."""
        for day in self.readers(since_ms):
            yield from day.entries("rejected", *window(since_ms, until_ms))

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
        """What is missing in a window, also where that began before or ends after it: what the
        recorder noticed, days whose files are gone, and what could not be read so far."""
        found = [gap for day in self.readers() for gap in day.observed("gaps", Gap)]
        found += missing.days(self.folder, self.days())
        found += [missing.damage_gap(damage) for damage in self.damage]
        low = -1 if since_ms is None else since_ms
        return sorted(
            [g for g in found if g.to_ms >= low and (until_ms is None or g.from_ms < until_ms)],
            key=lambda gap: (gap.from_ms, gap.to_ms),
        )

    def span(self) -> tuple[int, int] | None:
        """The times of the first and the last row, epoch ms; None where there are none."""
        times = [each for day in self.readers() for each in day.span()]
        return (min(times), max(times)) if times else None

    def synthetic(self) -> bool:
        """True if what the history holds was made up."""
        return any(day.synthetic() for day in self.readers())

    def document(self, kind: DocumentKind, digest: str) -> bytes | None:
        """The JSON under a digest; None where no day has it."""
        for day in self.readers():
            found = day.document(kind, digest)
            if found is not None:
                return found
        return None

    def documents(self, since_ms: Ms = None, until_ms: Ms = None) -> dict[tuple[str, str], bytes]:
        """The JSON of rules, limits and settings that the days of a window mention, by kind and
        digest."""
        last = None if until_ms is None else day_of(until_ms)
        return {
            (kind, digest): body
            for day in self.readers(since_ms)
            if last is None or day.day <= last
            for kind, digest, body in day.documents()
        }

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
        try:
            return None if raw is None else msgspec.json.decode(raw, type=dict[str, Any])
        except msgspec.DecodeError:
            return None

    def _observed(self, table: str, shape: type[R], since_ms: Ms, until_ms: Ms) -> list[R]:
        low = -1 if since_ms is None else since_ms
        return [
            row
            for day in self.readers()
            for row in day.observed(table, shape)
            if row.at_ms >= low and (until_ms is None or row.at_ms < until_ms)
        ]

    def streams(self) -> set[str]:
        """The full names of the streams that were read last; none where that is not known."""
        for day in self.readers(newest_first=True):
            if found := day.streams():
                return found
        return set()

    def readers(self, since_ms: Ms = None, *, newest_first: bool = False) -> Iterator[DayReader]:
        """The days that may have rows of that time or later, one after another; late rows stand in
        any later day."""
        first = "" if since_ms is None else day_of(since_ms)
        for day in sorted(self.days(), reverse=newest_first):
            if day < first:
                continue
            try:
                with opening.reading(folders.day_path(self.folder, day)) as db:
                    yield DayReader(db, day, self.damage)
            except self._left_out as problem:
                if isinstance(problem, sqlite3.OperationalError):
                    raise
                start = day_start_ms(day)
                note(self.damage, Damage(day, "", start, start + DAY_MS, str(problem)))
