"""The history as the recorder writes it: a folder with one file per UTC day.

    with Store(folder) as store:
        last = store.cursors()            # stream -> id, {} in a new folder
        store.write(Batch(cursors={"quantum:stream:allocation.pass": "1-0"}, passes=[…]))

Rows and cursors are one transaction. A batch that reaches over midnight is two, the older day's
first and without its cursors: a crash between them makes the recorder read those entries again, and
rows go by the ids of their entries, so that nothing is there twice.
"""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from qtctl.errors import ConfigError
from qtctl.history import folder as folders
from qtctl.history.day_writer import DayWriter
from qtctl.history.ids import day_of, ms_of
from qtctl.history.rows import Batch, Entry, PassEntry, Written

_STREAMS = ("passes", "decisions", "events", "rejected")
_OTHERS = ("services", "servers", "halts", "gaps", "documents")


class Store:
    """Writes a history. Constructing it takes the folder's lock. synthetic: everything in it was
    made up; a folder is either synthetic or not.

    Errors, when it is made: ConfigError (the folder can't be made or written), RefusedError
    (another recorder holds it). When it writes: sqlite3.Error or OSError, after which nothing of
    that day's part of the batch was written, and the same batch may be written again.
    """

    def __init__(self, folder: Path, *, synthetic: bool = False) -> None:
        folders.prepare(folder)
        self.folder, self._synthetic = folder, synthetic
        self._lock = folders.Lock(folder)
        self._days: dict[str, DayWriter] = {}
        self._cursors: dict[str, str] = {}
        self._turn = 0
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def _load(self) -> None:
        found: dict[str, tuple[str, int]] = {}
        for day in folders.days_in(self.folder)[-2:]:
            for stream, (entry_id, turn) in self._day(day).cursors().items():
                if turn >= found.get(stream, ("", -1))[1]:
                    found[stream] = (entry_id, turn)
        self._cursors = {stream: entry_id for stream, (entry_id, _) in found.items()}
        self._turn = max((turn for _, turn in found.values()), default=0)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def cursors(self) -> dict[str, str]:
        """How far each stream was read: its full name, and the id of the last entry."""
        return dict(self._cursors)

    def write(self, batch: Batch) -> Written:
        """Writes a batch, each row to the day of its id; what is no entry of a stream, and the
        cursors, go with the newest."""
        parts = _by_day(batch)
        newest = max([*parts, *self._days]) if parts or self._days else day_of(_any_ms(batch))
        rest = {name: getattr(batch, name) for name in _OTHERS}
        parts[newest] = msgspec.structs.replace(parts.get(newest, Batch()), **rest)
        turn, rows = self._turn + 1, dict[str, int]()
        for day in sorted(parts):
            with self._day(day) as writer:
                for kind, count in writer.add(parts[day]).items():
                    rows[kind] = rows.get(kind, 0) + count
                if day == newest:
                    writer.set_cursors(self._cursors | batch.cursors, turn)
        self._cursors |= batch.cursors
        self._turn = turn
        given = sum(len(getattr(batch, kind)) for kind in (*_STREAMS, *_OTHERS))
        return Written(rows, known=given - sum(rows.values()))

    def _day(self, day: str) -> DayWriter:
        if day not in self._days:
            before = os.umask(folders.UMASK)
            try:
                path = folders.day_path(self.folder, day)
                self._days[day] = DayWriter(path, day, synthetic=self._synthetic)
            except sqlite3.Error as problem:
                raise ConfigError(f"can't write {day} of the history: {problem}") from problem
            finally:
                os.umask(before)
        return self._days[day]

    def close(self) -> None:
        """Closes its files and gives the folder free."""
        for writer in self._days.values():
            writer.close()
        self._days.clear()
        self._lock.release()


def _by_day(batch: Batch) -> dict[str, Batch]:
    """The entries of streams in a batch, by the UTC day of their ids."""
    found: dict[str, dict[str, Any]] = {}
    for kind in _STREAMS:
        entries: Sequence[Entry | PassEntry] = getattr(batch, kind)
        for entry in entries:
            found.setdefault(day_of(ms_of(entry.id)), {}).setdefault(kind, []).append(entry)
    return {day: Batch(**kinds) for day, kinds in found.items()}


def _any_ms(batch: Batch) -> int:
    """A time in a batch without entries: of what was observed, else of its cursors."""
    observed = [row.at_ms for name in _OTHERS[:-1] for row in getattr(batch, name)]
    return max([*observed, *map(ms_of, batch.cursors.values())], default=0)
