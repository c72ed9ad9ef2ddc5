"""The recorder: reads what both loops publish and writes the history.

It reads by saved ids, never in a consumer group, and is in nobody's way: the streams wait for it as
long as they last. Rows and ids are one transaction, so that after a kill nothing is missing and
nothing is there twice; what it could not read is a row in `gaps`. See docs/history.md.
"""

import logging
import socket
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from qtctl import clock
from qtctl.errors import ConfigError, RefusedError
from qtctl.history.damage import CannotWrite, Damaged
from qtctl.history.folder import size_of
from qtctl.history.ids import day_of
from qtctl.history.rows import Batch, Document, Entry, Gap, HaltRow, PassEntry
from qtctl.history.store import Store as HistoryStore
from qtctl.services.clocks import HostClock
from qtctl.services.heartbeat import Heartbeat
from qtctl.services.observations import ServerSeen, ServicesSeen
from qtctl.services.pass_continuity import PassContinuity
from qtctl.services.problem_log import ProblemLog
from qtctl.services.recorder_metrics import RecorderMetrics
from qtctl.settings import RECORDER, SERVICES
from qtctl.settings.model import History
from qtctl.wire.client.store import Store
from qtctl.wire.queries import history_streams, services
from qtctl.wire.queries.history_streams import Kind, News, Place, RawEntry
from qtctl.wire.schema import pass_entry
from qtctl.wire.schema.ids import ms_of
from qtctl.wire.schema.keys import ALLOCATION_RULES, HALTED_SYMBOLS, LIMITS
from qtctl.wire.schema.records import pairs

log = logging.getLogger("qtctl.recorder")
LOOK_SEC = 1.0
"""How often it looks at the server and at the records of the services."""
FIND_SEC = 600.0
"""How often it looks for services by SCAN; those that publish are known by their entries."""
FINISH_SEC, SETTLE_MS = 60.0, 30_000
"""How often days that are over are looked for, and how long after its end a day is sealed."""
DEFAULT_INTERVAL_SEC = 10.0
"""Of a loop whose rules are not known."""
ROWS_PER_PASS = 20_000
"""Symbols of passes that are held in memory at once."""
_FAULTS = (sqlite3.Error, OSError, CannotWrite, Damaged, ConfigError, RefusedError)
"""What keeps the history from being written; the loops go on."""


class Recorder:
    """Writes the history in the folder that `find_folder` gives; that it gives none is a problem of
    the history, and in nobody's way."""

    name = RECORDER
    pass_timeout_sec = 60.0

    def __init__(self, store: Store, settings: History, find_folder: Callable[[], Path]) -> None:
        self._store = store
        self._settings, self._find_folder = settings, find_folder
        self.instance = settings.name or socket.gethostname()
        self.metrics_addr = settings.metrics_addr
        self.metrics_port = settings.metrics_port
        self.metrics = RecorderMetrics()
        self.registry = self.metrics.registry
        self._heartbeat = Heartbeat(store, self.name, self.instance, settings, LOOK_SEC)
        self._host_clock = HostClock(log)
        self._streams = history_streams.stream_keys(store.keys)
        self._bad_streams = ProblemLog(log, "stream")
        self._history: HistoryStore | None = None
        self._problem: str | None = None
        self._beat_at: float | None = None
        self._places: dict[Kind, Place] = {}
        self._counts = dict(history_streams.COUNTS)
        self._more = False
        self._forget()

    def _forget(self) -> None:
        """What is known only as long as one history and one connection last."""
        self._continuity = PassContinuity(self._streams["passes"])
        self._server, self._services = ServerSeen(), ServicesSeen()
        self._known: set[tuple[str, str]] = set()
        self._intervals: dict[str, float] = {}
        self._looked_at = self._found_at = None  # type: float | None
        self._names: set[tuple[str, str]] = set()
        self._day = ""
        self._finished_at: float | None = None

    # The service protocol --------------------------------------------------------------------

    def open(self) -> None:
        """Checks that the server answers."""
        self._store.run("PING")

    def step(self) -> int:
        """Reads and writes what is there now, within bounds; how many entries that were."""
        self._more = False
        there = self._history is not None or self._open_history()
        self._beat()
        if not there:
            if self._places:
                one_each = dict.fromkeys(self._counts, 1)
                self._count_waiting(history_streams.read(self._store, self._places, one_each))
            return 0
        news = history_streams.read(self._store, self._places, self._counts)
        try:
            count = self._write(news)
        except _FAULTS as fault:
            self._failed(fault)
            self._count_waiting(news)
            return 0
        if self._problem is not None:
            self._problem, self._beat_at = None, None
            log.info("the history is written")
        return count

    def once(self) -> bool:
        """Up to the last entry that is there now; False where the history can't be written."""
        self.step()
        while self._more:
            self.step()
        return self._problem is None

    def wait(self, stop: threading.Event) -> None:
        """A second, unless there is more to read."""
        if not self._more:
            stop.wait(LOOK_SEC)

    def close(self) -> None:
        """Closes the history and the connection."""
        self._heartbeat.leave()
        self._close_history()
        self._store.close()

    def failed(self, kind: str) -> None:
        self.metrics.errors.labels(kind).inc()

    def warning(self) -> str | None:
        """None: streams that can't be read are counted and logged."""
        return None

    def not_ready(self) -> str | None:
        """Why the history is not written, or None."""
        return self._problem

    # The history -------------------------------------------------------------------------------

    def _open_history(self) -> bool:
        try:
            self._history = HistoryStore(self._find_folder())
            cursors = self._history.cursors()
        except _FAULTS as fault:
            self._failed(fault)
            return False
        self._forget()
        self._places = {kind: _place(cursors, key) for kind, key in self._streams.items()}
        self._continuity.recall(cursors)
        return True

    def _close_history(self) -> None:
        history, self._history = self._history, None
        if history is not None:
            try:
                history.close()
            except _FAULTS as fault:
                log.warning("the history did not close", extra={"fields": {"problem": fault}})

    def _failed(self, fault: Exception) -> None:
        """Logged once; tried again in the next pass, from what is on disk."""
        self.failed("history")
        problem = f"the history can't be written: {fault}"
        if problem != self._problem:
            log.error("nothing is recorded", extra={"fields": {"problem": problem}})
        self._problem = problem
        self._close_history()

    def _write(self, news: dict[Kind, News]) -> int:
        """One transaction: rows, what was observed, and how far was read."""
        assert self._history is not None
        now_ms = self._store.now_ms()
        anew = (day := day_of(now_ms)) != self._day
        if anew:
            self._known.clear()
        batch = self._batch(news, now_ms)
        self._look(batch, now_ms, anew=anew)
        batch.documents = [*batch.documents, *self._documents(batch)]
        batch.cursors = self._cursors(news)
        written = self._history.write(batch)
        self._day = day
        self._known.update((each.kind, each.digest) for each in batch.documents)
        self._places = {kind: each.place for kind, each in news.items()}
        self._more = any(each.more for each in news.values())
        self._count(written.rows, batch, news, now_ms)
        self._finish_days(now_ms)
        return sum(len(each.entries) for each in news.values())

    def _finish_days(self, now_ms: int) -> None:
        """Seals the days that are over, once all streams were read beyond them, and prunes."""
        assert self._history is not None
        at = clock.monotonic()
        if self._more or (self._finished_at and at - self._finished_at < FINISH_SEC):
            return
        self._finished_at = at
        links = self._history.seal(now_ms - SETTLE_MS, now_ms)
        links += self._history.prune(now_ms, self._settings.keep_days, self._settings.max_bytes)
        for link in links:
            fields = {"day": link.day, "sha256": link.sha256, "bytes": link.bytes, "why": link.why}
            log.info("a day of the history was %s", link.what, extra={"fields": fields})
        self.metrics.bytes.set(size_of(self._find_folder()))

    def _cursors(self, news: dict[Kind, News]) -> dict[str, str]:
        found = self._continuity.cursors()
        for kind, each in news.items():
            key = self._streams[kind]
            found[key] = each.place.id
            if each.place.position is not None:
                found[f"{key} position"] = f"0-{each.place.position}"
        return found

    def _batch(self, news: dict[Kind, News], now_ms: int) -> Batch:
        """What the streams gave, with the gaps before it."""
        gaps: list[Gap] = []
        problems: dict[str, str] = {}
        for kind, each in news.items():
            key, since = self._streams[kind], ms_of(self._places[kind].id)
            if each.problem:
                problems[key] = each.problem
                self.failed("stream")
            if each.break_:
                detail = (
                    f"{key} was emptied or made anew"
                    if each.break_ == "emptied"
                    else (f"{key} went back: a restore, or a server that had lost its last writes")
                )
                gaps.append(Gap(each.break_, since, now_ms, key, None, detail, now_ms))
            if each.lost:
                until = each.oldest_ms if each.oldest_ms is not None else now_ms
                detail = f"{each.lost} entries of {key} were trimmed before they were read"
                gaps.append(Gap("trimmed", since, until, key, each.lost, detail, now_ms))
        self._bad_streams.update(problems)
        events = [_entry(raw) for raw in news["events"].entries]
        decisions = [_entry(raw) for raw in news["decisions"].entries]
        self._names |= {
            ("governor", name) for each in decisions if (name := each.fields.get("instance"))
        }
        passes = self._passes(news["passes"].entries, gaps, now_ms)
        return Batch(
            passes=passes,
            decisions=decisions,
            events=events,
            rejected=[_entry(raw) for raw in news["rejected"].entries],
            halts=[row for entry in events for row in _halts(entry)],
            gaps=[*gaps, *(gap for entry in events for gap in self._group_gaps(entry, now_ms))],
        )

    def _passes(self, entries: Sequence[RawEntry], gaps: list[Gap], now_ms: int) -> list[PassEntry]:
        found: list[PassEntry] = []
        for raw in entries:
            fields = dict(zip(raw.raw[::2], raw.raw[1::2], strict=True))
            try:
                entry = PassEntry(raw.id, pass_entry.read(fields))
            except ValueError as problem:
                at, key = ms_of(raw.id), self._streams["passes"]
                gaps.append(Gap("unreadable", at, at, key, 1, f"{raw.id}: {problem}", now_ms))
                continue
            found.append(entry)
            self._names.add(("allocation", entry.value.instance))
            interval = self._intervals.get(entry.value.rules, DEFAULT_INTERVAL_SEC)
            gaps += self._continuity.note(entry, int(interval * 1000), now_ms)
        if found:
            largest = max(entry.value.symbols for entry in found)
            most = max(1, ROWS_PER_PASS // max(1, largest))
            self._counts["passes"] = min(most, 100)
        return found

    def _group_gaps(self, entry: Entry, now_ms: int) -> list[Gap]:
        """A group that was set back sees plans again; one that skips has not judged them."""
        what, at = entry.fields.get("event", ""), ms_of(entry.id)
        if what not in _GROUP_EVENTS:
            return []
        count = entry.fields.get("count", "")
        lost = int(count) if count.isdecimal() else None
        return [
            Gap("group_reset", at, at, self._store.keys.plans, lost, _GROUP_EVENTS[what], now_ms)
        ]

    # What is observed ----------------------------------------------------------------------------

    def _look(self, batch: Batch, now_ms: int, *, anew: bool) -> None:
        """Adds what changed about the server and the services since the last look."""
        at = clock.monotonic()
        if self._looked_at is not None and at - self._looked_at < LOOK_SEC and not anew:
            return
        self._looked_at = at
        wall = clock.now()
        server = self._store.server()
        self._host_clock.note(wall, clock.now(), server.now_ms / 1000)
        batch.servers = self._server.note(server, anew=anew)
        if self._found_at is None or at - self._found_at >= FIND_SEC:
            self._found_at = at
            self._names |= services.names(self._store, (*SERVICES, self.name))
        records = services.of_names(self._store, sorted(self._names))
        batch.services, batch.documents = self._services.note(records, now_ms, anew=anew)

    def _beat(self) -> None:
        """Shows that it runs, also where it can't write."""
        at = clock.monotonic()
        if self._beat_at is not None and at - self._beat_at < LOOK_SEC:
            return
        self._beat_at = at
        now, address = self._store.now_ms() / 1000, f"{self.metrics_addr}:{self.metrics_port}"
        more = {"problem": self._problem or ""}
        self._heartbeat.beat(now, address, self._host_clock.ahead_sec, more)

    def _documents(self, batch: Batch) -> list[Document]:
        """The rules and limits that these passes and decisions name, where not kept today."""
        at = self._store.keys.at
        wanted = {
            ("rules", each.value.rules): at(ALLOCATION_RULES, each.value.rules)
            for each in batch.passes
        } | {
            ("limits", digest): at(LIMITS, digest)
            for each in batch.decisions
            if (digest := each.fields.get("limits"))
        }
        missing = {place: key for place, key in wanted.items() if place not in self._known}
        bodies = self._store.batch([("GET", key) for key in missing.values()])
        found = [
            Document(kind, digest, body)  # type: ignore[arg-type]
            for (kind, digest), body in zip(missing, bodies, strict=True)
            if isinstance(body, bytes)
        ]
        for each in found:
            if each.kind == "rules":
                self._intervals[each.digest] = _interval_sec(each.body)
        return found

    def _count(
        self, rows: dict[str, int], batch: Batch, news: dict[Kind, News], now_ms: int
    ) -> None:
        metrics = self.metrics
        for kind, count in rows.items():
            if kind != "documents":
                metrics.rows.labels(kind).inc(count)
        for gap in batch.gaps:
            metrics.gaps.labels(gap.kind).inc()
            fields = msgspec.structs.asdict(gap)
            log.warning("a gap in the history", extra={"fields": fields})
        for kind, each in news.items():
            behind = each.more and each.last_ms is not None
            self._set_lag(kind, each, ms_of(each.place.id) if behind else None, now_ms)
        if not self._more:
            metrics.last_success.set(now_ms / 1000)

    def _count_waiting(self, news: dict[Kind, News]) -> None:
        """The lag grows also while nothing can be written: that is when somebody must know it."""
        now_ms = self._store.now_ms()
        for kind, each in news.items():
            oldest_ms = ms_of(each.entries[0].id) if each.entries else None
            self._set_lag(kind, each, oldest_ms, now_ms)

    def _set_lag(self, kind: Kind, news: News, behind_ms: int | None, now_ms: int) -> None:
        """behind_ms: the time up to which it was read, None where that is all there is."""
        lag_ms = 0 if behind_ms is None else max(0, now_ms - behind_ms)
        self.metrics.lag.labels(kind).set(lag_ms / 1000)
        if news.oldest_ms is not None:
            self.metrics.spare.labels(kind).set(max(0, now_ms - news.oldest_ms) / 1000)


_GROUP_EVENTS = {
    "group_set_back": "the governors' group lay ahead of the stream and was set back",
    "backlog_skipped": "plans queued for over an hour were skipped, without a verdict",
    "trimmed": "plans were trimmed before a governor had read them",
}
_HALTS = {"halted": "halted", "halt_kept": "halted", "resumed": "resumed"}


def _halts(entry: Entry) -> list[HaltRow]:
    fields = entry.fields
    what = _HALTS.get(fields.get("event", ""))
    if what is None:
        return []
    key, value = fields.get("key", ""), fields.get("value", "")
    symbol = key.partition(f"{HALTED_SYMBOLS.template}:")[2]
    scope = symbol or ("all" if value in ("all", "1") else "opens")
    return [
        HaltRow(
            ms_of(entry.id), what, scope, key, value, fields.get("actor", ""),
            fields.get("reason", ""),
        )
    ]  # fmt: skip


def _entry(raw: RawEntry) -> Entry:
    return Entry(raw.id, pairs(raw.raw))


def _place(cursors: dict[str, str], key: str) -> Place:
    position = cursors.get(f"{key} position", "")
    at = position.removeprefix("0-")
    return Place(cursors.get(key, history_streams.START), int(at) if at.isdecimal() else None)


def _interval_sec(rules: bytes) -> float:
    try:
        found: Any = msgspec.json.decode(rules, type=dict[str, Any]).get("interval_sec")
    except msgspec.DecodeError:
        found = None
    return float(found) if isinstance(found, int | float) else DEFAULT_INTERVAL_SEC
