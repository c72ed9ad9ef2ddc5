"""The history as the recorder writes it: a folder with one file per UTC day.

    with Store(folder) as store:
        last = store.cursors()            # stream -> id, {} in a new folder
        store.write(Batch(cursors={"quantum:stream:allocation.pass": "1-0"}, passes=[…]))
        store.seal(until_ms)              # days that ended before

Rows and cursors are one transaction. A batch that reaches over midnight is two, the older day's
first and without its cursors: a crash between them makes the recorder read those entries again, and
rows go by the ids of their entries, so that nothing is there twice.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from qtctl.domain.entry_ids import ms_of
from qtctl.history import chain, opening, sealing
from qtctl.history import folder as folders
from qtctl.history.chain import Link
from qtctl.history.damage import CannotWrite, Damaged
from qtctl.history.day_reader import STREAMS
from qtctl.history.day_writer import OBSERVED, DayWriter
from qtctl.history.ids import DAY_MS, day_of, day_start_ms, packed
from qtctl.history.rows import Batch, Entry, PassEntry, Written


class Store:
    """Writes a history. Constructing it takes the folder's lock. synthetic: everything in it was
    made up; a folder is either synthetic or not. give_way: called between small pieces of work,
    may wait.

    Errors, when it is made: ConfigError (the folder can't be made or written), RefusedError
    (another recorder holds it, or a file in it is none that may be written). Later: CannotWrite,
    after which nothing of that day's part of the batch was written, and the same batch may be
    written again.
    """

    def __init__(
        self, folder: Path, *, synthetic: bool = False, give_way: Callable[[], None] = lambda: None
    ) -> None:
        folders.prepare(folder)
        self.folder, self._synthetic, self._give_way = folder, synthetic, give_way
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
        with self._writing("", "read"):
            self._last_sealed = max(sealing.sealed_days(chain.read(self.folder)), default="")
        found: dict[str, tuple[str, int]] = {}
        for day in folders.days_in(self.folder)[-2:]:
            for stream, (entry_id, turn) in self._cursors_of(day).items():
                if turn >= found.get(stream, ("", -1))[1]:
                    found[stream] = (entry_id, turn)
        self._cursors = {stream: entry_id for stream, (entry_id, _) in found.items()}
        self._turn = max((turn for _, turn in found.values()), default=0)

    def _cursors_of(self, day: str) -> dict[str, tuple[str, int]]:
        if day > self._last_sealed:
            with self._writing(day, "open"):
                return self._day(day).cursors()
        with self._writing(day, "read"), opening.reading(folders.day_path(self.folder, day)) as db:
            found = db.execute("SELECT stream, id, turn FROM cursors")
            return {stream: (entry_id, turn) for stream, entry_id, turn in found}

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cursors(self) -> dict[str, str]:
        """How far each stream was read: its full name, and the id of the last entry."""
        return dict(self._cursors)

    def write(self, batch: Batch) -> Written:
        """Writes a batch, each row to the day of its id, or to the next one where that is sealed;
        what is no entry of a stream, and the cursors, go with the newest."""
        parts, late, known = self._parts(batch)
        times = _times(batch)
        newest = max([*parts, *self._days, *(self._next(times) if times else ())], default="")
        if not newest:
            return Written({})
        rest = {name: getattr(batch, name) for name in OBSERVED}
        parts[newest] = msgspec.structs.replace(parts.get(newest, Batch()), **rest)
        turn, rows = self._turn + 1, Counter[str]()
        if newest not in self._days:
            self._settle_before(newest)
        for day in sorted(parts):
            with self._writing(day, "write"), self._day(day) as writer:
                rows.update(writer.add(parts[day]))
                if day == newest:
                    writer.set_cursors(self._cursors | batch.cursors, turn)
            if day != newest:
                self._settle_before(newest)
        self._cursors |= batch.cursors
        self._turn = turn
        given = sum(len(getattr(part, kind)) for part in parts.values() for kind in _ALL)
        return Written(rows, known=known + given - sum(rows.values()), late=late)

    def _settle_before(self, newest: str) -> None:
        """Has the other days on the disk before the newest one says that they were read: after a
        power failure each file has all up to some transaction, but not up to the same."""
        for day in sorted(self._days):
            if day != newest:
                with self._writing(day, "write"):
                    self._days[day].checkpoint()

    def _parts(self, batch: Batch) -> tuple[dict[str, Batch], int, int]:
        """The entries by the day they go to, how many of them are late, and how many were left out
        because a sealed day has them."""
        found: dict[str, dict[str, Any]] = {}
        overdue: list[tuple[str, Entry | PassEntry]] = []
        for kind in STREAMS:
            for entry in getattr(batch, kind):
                day = day_of(ms_of(entry.id))
                if day <= self._last_sealed:
                    overdue.append((kind, entry))
                else:
                    found.setdefault(day, {}).setdefault(kind, []).append(entry)
        late = [(kind, entry) for kind, entry in overdue if not self._sealed_has(kind, entry)]
        if late:
            (day,) = self._next([day_start_ms(day) for day in (*found, *self._days)])
            for kind, entry in reversed(late):
                found.setdefault(day, {}).setdefault(kind, []).insert(0, entry)
        parts = {day: Batch(**kinds) for day, kinds in found.items()}
        return parts, len(late), len(overdue) - len(late)

    def _next(self, times: Sequence[int]) -> list[str]:
        """The first day among these times that is not sealed, or the day after the last sealed."""
        days = sorted(day for day in map(day_of, times) if day > self._last_sealed)
        return days[:1] or [day_of(day_start_ms(self._last_sealed) + DAY_MS)]

    def _sealed_has(self, kind: str, entry: Entry | PassEntry) -> bool:
        path = folders.day_path(self.folder, day_of(ms_of(entry.id)))
        try:
            with opening.reading(path) as db:
                found = db.execute(f"SELECT 1 FROM {kind} WHERE id = ?", (packed(entry.id),))
                return found.fetchone() is not None
        except (Damaged, sqlite3.Error):
            return False

    def seal(self, before_ms: int, at_ms: int) -> list[Link]:
        """Seals the days that ended before `before_ms`: up to there every stream must have been
        read. at_ms: now. The new lines of the chain."""
        done = []
        for day in folders.days_in(self.folder):
            if day <= self._last_sealed or day_start_ms(day) + DAY_MS > before_ms:
                continue
            with self._writing(day, "seal"):
                self._day(day).finish()
                if not self._day(day).settle():
                    break  # Somebody reads it just now: the next time, then.
                del self._days[day]
                link = sealing.seal(self.folder, day, at_ms)
            self._last_sealed = day
            done += [link] if link else []
        return done

    def prune(self, at_ms: int, keep_days: int, max_bytes: int) -> list[Link]:
        """Removes the oldest sealed days that the settings no longer keep; 0 is no limit."""
        with self._writing("", "prune"):
            found = sealing.prunable(self.folder, at_ms, keep_days, max_bytes)
            return sealing.prune(self.folder, found, at_ms)

    def _day(self, day: str) -> DayWriter:
        if day not in self._days:
            path = folders.day_path(self.folder, day)
            self._days[day] = DayWriter(
                path, day, synthetic=self._synthetic, give_way=self._give_way
            )
        return self._days[day]

    @contextmanager
    def _writing(self, day: str, what: str) -> Iterator[None]:
        """What goes wrong with a file, in one line; that day is opened anew the next time."""
        try:
            yield
        except (sqlite3.Error, OSError, Damaged) as problem:
            writer = self._days.pop(day, None)
            if writer is not None:
                writer.abandon()
            reason = problem.strerror if isinstance(problem, OSError) else str(problem)
            raise CannotWrite(
                f"can't {what} {day or 'the chain'} of the history in {self.folder}: {reason}; "
                f"{_remedy(problem)}"
            ) from problem

    def close(self) -> None:
        """Closes its files and gives the folder free."""
        for writer in self._days.values():
            writer.close()
        self._days.clear()
        self._lock.release()


_ALL = (*STREAMS, *OBSERVED)


def _remedy(problem: Exception) -> str:
    text = str(problem)
    if "locked" in text:
        return "somebody reads or copies it just now, and it is tried again"
    if "full" in text or "No space" in text or "I/O" in text:
        return "free space, or let it keep less: [history] keep_days, max_bytes"
    if "readonly" in text or "Read-only" in text or "denied" in text or "unable to open" in text:
        return "give the folder to the recorder's user, on a disk that can be written"
    return "move that file out of the folder, and the recorder begins a new one"


def _times(batch: Batch) -> list[int]:
    """Times in a batch: of its newest entry, else of what was observed, else of its cursors."""
    entries = [ms_of(each[-1].id) for kind in STREAMS if (each := getattr(batch, kind))]
    observed = [row.at_ms for name in OBSERVED[:-1] for row in getattr(batch, name)]
    newest = entries or observed or [ms_of(each) for each in batch.cursors.values()]
    return [max(newest)] if newest else []
