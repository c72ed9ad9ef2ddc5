"""The recorder: reads what both loops publish and writes the history.

It reads by saved ids, never in a consumer group, and is in nobody's way: the streams wait for it as
long as they last. Rows and ids are one transaction, so that after a kill nothing is missing and
nothing is there twice; what it could not read is a row in `gaps`. See docs/history.md.
"""

import logging
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from qtctl import clock
from qtctl.domain.entry_ids import ms_of
from qtctl.errors import ConfigError, RefusedError
from qtctl.history.damage import CannotWrite, Damaged
from qtctl.history.folder import size_of
from qtctl.history.ids import day_of
from qtctl.history.rows import Batch
from qtctl.history.store import Store as HistoryStore
from qtctl.services.clocks import HostClock
from qtctl.services.heartbeat import Heartbeat
from qtctl.services.named_documents import NamedDocuments
from qtctl.services.observations import ServerSeen, ServicesSeen
from qtctl.services.problem_log import ProblemLog
from qtctl.services.recorder_metrics import RecorderMetrics
from qtctl.services.stream_rows import StreamRows
from qtctl.settings import RECORDER, SERVICES
from qtctl.settings.model import History
from qtctl.wire.client.store import Store
from qtctl.wire.queries import history_streams, services
from qtctl.wire.queries.history_streams import Kind, News, Place
from qtctl.wire.schema.keys import SERVICE_TTL_SEC

log = logging.getLogger("qtctl.recorder")
LOOK_SEC = 1.0
"""How often it looks at the server and at the records of the services."""
FIND_SEC = 600.0
"""How often it looks for services by SCAN; those that publish are known by their entries."""
FINISH_SEC, SETTLE_MS = 60.0, 30_000
"""How often days that are over are looked for, and how long after its end a day is sealed."""
ROWS_PER_PASS = 20_000
"""Symbols of passes that are held in memory at once."""
_FAULTS = (sqlite3.Error, OSError, CannotWrite, Damaged, ConfigError, RefusedError)
"""What keeps the history from being written; the loops go on."""


class Recorder:
    """Writes the history in the folder that `find_folder` gives; that it gives none is a problem of
    the history, and in nobody's way. give_way: called between two pieces of work, may wait."""

    name = RECORDER
    pass_timeout_sec = 60.0

    def __init__(
        self, store: Store, settings: History, find_folder: Callable[[], Path],
        give_way: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._store, self._give_way = store, give_way
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
        self._documents = NamedDocuments(self._store)
        self._rows = StreamRows(self._store.keys, self._documents.interval_sec, self._give_way)
        self._server, self._services = ServerSeen(), ServicesSeen()
        self._looked_at = self._found_at = None  # type: float | None
        self._found: set[tuple[str, str]] = set()
        self._day = ""
        self._read_ms: int | None = None
        self._emptied = False
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
            self._history = HistoryStore(self._find_folder(), give_way=self._give_way)
            cursors = self._history.cursors()
        except _FAULTS as fault:
            self._failed(fault)
            return False
        self._forget()
        self._places = {kind: _place(cursors, key) for kind, key in self._streams.items()}
        self._rows.continuity.recall(cursors)
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
            self._documents.new_day()
        emptied_since_ms = self._read_ms if self._emptied else None
        batch = self._rows.batch(news, self._places, now_ms, emptied_since_ms)
        self._note_problems(news)
        self._look(batch, now_ms, anew=anew)
        batch.documents = [*batch.documents, *self._documents.missing(batch)]
        batch.cursors = self._cursors(news)
        written = self._history.write(batch)
        self._day, self._read_ms, self._emptied = day, now_ms, False
        self._documents.written(batch.documents)
        self._places = {kind: each.place for kind, each in news.items()}
        self._more = any(each.more for each in news.values())
        if batch.passes:
            largest = max(entry.value.symbols for entry in batch.passes)
            self._counts["passes"] = min(100, max(1, ROWS_PER_PASS // max(1, largest)))
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
        found = self._rows.continuity.cursors()
        for kind, each in news.items():
            key = self._streams[kind]
            found[key] = each.place.id
            if each.place.position is not None:
                found[f"{key} position"] = f"0-{each.place.position}"
        return found

    def _note_problems(self, news: dict[Kind, News]) -> None:
        bad = {self._streams[kind]: each.problem for kind, each in news.items() if each.problem}
        for _ in bad:
            self.failed("stream")
        self._bad_streams.update(bad)

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
            self._found |= services.names(self._store, (*SERVICES, self.name))
        names = sorted(self._found | self._rows.publishers)
        records = services.of_names(self._store, names)
        batch.services, batch.documents = self._services.note(records, now_ms, anew=anew)

    def _beat(self) -> None:
        """Shows that it runs, also where it can't write."""
        at = clock.monotonic()
        since = self._beat_at
        if since is not None and at - since < LOOK_SEC:
            return
        self._beat_at = at
        now, address = self._store.now_ms() / 1000, f"{self.metrics_addr}:{self.metrics_port}"
        more = {"problem": self._problem or ""}
        self._heartbeat.beat(now, address, self._host_clock.ahead_sec, more)
        # Its own record, that did not expire, is gone: so is all else.
        expired = since is None or at - since >= SERVICE_TTL_SEC
        self._emptied |= self._heartbeat.was_gone and not expired

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


def _place(cursors: dict[str, str], key: str) -> Place:
    position = cursors.get(f"{key} position", "")
    at = position.removeprefix("0-")
    return Place(cursors.get(key, history_streams.START), int(at) if at.isdecimal() else None)
