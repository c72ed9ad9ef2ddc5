"""The governor: takes plans from the stream, judges them, issues single-use permits.

Hints fail open, permits fail closed. Source: section 3 of the specification.
"""

import logging
import threading

from qtctl import clock
from qtctl.domain.reasons import Reason
from qtctl.errors import RedisUnreachable, WireError
from qtctl.services.heartbeat import Heartbeat, host_name
from qtctl.services.judge import Judge
from qtctl.services.metrics import BACKLOG, GovernorMetrics
from qtctl.services.problem_log import ProblemLog
from qtctl.services.rules import rules_of
from qtctl.services.server_watch import ServerWatch
from qtctl.settings import Governor as GovernorSettings
from qtctl.settings import digest, public
from qtctl.wire.client.store import Store
from qtctl.wire.control import kill_switch
from qtctl.wire.governor import events
from qtctl.wire.governor.events import Event
from qtctl.wire.governor.plan_queue import Entry, PlanQueue
from qtctl.wire.schema import ids
from qtctl.wire.schema.decision import limits_json
from qtctl.wire.schema.keys import LIMITS, LIMITS_TTL_SEC

log = logging.getLogger("qtctl.governor")
BLOCK_SEC = 1.0
"""The longest wait for a plan: how late a stop, or a look around, may be."""
LOOK_SEC = 1.0
"""How often it looks at the server, the group, and what others left lying."""
RETRY_SEC = 0.5
"""How soon it tries again what Redis refused."""
RETRY_COUNT = 50
"""So many of them at once: each goes alone, and new plans come in between."""
ABANDONED_MS = 5_000
CLAIM_COUNT = 100
OLD_MS = 3_600_000
OLD_BATCH = 5_000
"""Entries queued for over an hour have no record each: many at once."""
KEEP_EVERY_SEC = 600.0
"""How often the limits are refreshed and dead consumers looked for."""
MAX_TRIES = 5
"""An entry that so often ended in our own exception or death is rejected."""


class Governor:
    """One consumer of the governors' group."""

    name = "governor"
    pass_timeout_sec = 15.0

    def __init__(self, store: Store, settings: GovernorSettings, *, allow_eviction: bool) -> None:
        self._store = store
        self._settings = settings
        self.instance = settings.name or host_name()
        self.metrics_addr = settings.metrics_addr
        self.metrics_port = settings.metrics_port
        self.metrics = GovernorMetrics(settings.metrics_max_symbols)
        self.registry = self.metrics.registry
        self._reader = store.reader(BLOCK_SEC)
        self._queue = PlanQueue(store, self._reader, self.instance)
        rules = rules_of(settings, store.keys, self.instance)
        self._limits_json = limits_json(rules.limits, rules.plans)
        self._limits_digest = rules.limits_digest
        self._judge = Judge(store, self._queue, rules, self.metrics)
        self._heartbeat = Heartbeat(
            store, self.name, self.instance, public(settings), digest(settings), LOOK_SEC
        )
        self._watch = ServerWatch(allow_eviction=allow_eviction)
        self._tries_bad = ProblemLog(log, "count of tries")
        self._inbox: list[Entry] = []
        self._own_after: str | None = "0"
        self._looked: float | None = None
        self._kept: float | None = None
        self._retry_at: float | None = None
        self._retrying = False
        self._forgive: str | None = None
        self._skipped_old = 0

    # The service protocol --------------------------------------------------------------------

    def open(self, now: float) -> None:
        """Looks at the server, makes the group where it is missing, and goes back to what this
        consumer was given before and never finished."""
        self._inbox = []
        self._own_after = "0"
        self._retrying = False
        self._kept = None
        self._look()
        if self._forgive is not None:
            self._queue.forgive_try(self._forgive)
            self._forgive = None

    def step(self, now: float) -> int:
        """Whatever is there now: own pending entries first, then abandoned ones, then new ones."""
        if self._looked is None or clock.monotonic() - self._looked >= LOOK_SEC:
            self._look()
        self._heartbeat.beat(now, f"{self.metrics_addr}:{self.metrics_port}")
        if self.not_ready() is not None:
            return 0
        entries = self._take()
        if entries:
            self._serve(entries, now)
        elif self._skipped_old:
            self._tell_old()
        self.metrics.last_success.set(now)
        return len(entries)

    def wait(self, stop: threading.Event) -> None:
        """Until a plan is there, at most a second."""
        if self._inbox or self._own_after is not None:
            return
        if self.not_ready() is not None:
            stop.wait(BLOCK_SEC)
            return
        if self._queue.claiming:
            # There is something to do already; what is new is served beside it.
            self._inbox = self._queue.new(self._settings.batch)
            return
        block_sec = BLOCK_SEC
        if self._retry_at is not None:
            block_sec = min(block_sec, max(0.001, self._retry_at - clock.monotonic()))
        self._inbox = self._queue.new(self._settings.batch, int(block_sec * 1000) or 1)

    def once(self, now: float) -> bool:
        """Serves up to the last entry that is there now; False if something stays pending."""
        self.step(now)
        last = self._queue.last_id()
        while self.not_ready() is None:
            if self._own_after is None and not self._inbox and not self._queue.claiming:
                state = self._queue.state()
                if state is None:
                    self._look()
                elif ids.order(state.last_id) >= ids.order(last):
                    break
                self._inbox = self._queue.new(self._settings.batch)
            self.step(clock.now())
        if self._skipped_old:
            self._tell_old()
        return self.not_ready() is None and self._queue.pending_count() == 0

    def close(self) -> None:
        """Lets both connections go; what was read and not served is still pending."""
        self._inbox = []
        self._heartbeat.leave()
        self._reader.close()
        self._store.close()

    def failed(self, kind: str) -> None:
        """Counts an error that ended a pass."""
        self.metrics.errors.labels(kind).inc()

    def not_ready(self) -> str | None:
        """While decisions could be evicted, or on a replica, there are no permits."""
        return self._watch.objection()

    # What a step consists of ------------------------------------------------------------------

    def _look(self) -> None:
        """Once a second: the server, the group, what others left lying."""
        before, looked = self.not_ready(), self._looked
        self._store.confirm()
        self._watch.note(self._store.server())
        kills = kill_switch.level(self._store, self._settings.kill_keys)
        self.metrics.kill_level.set(kills)
        self._looked = clock.monotonic()
        objection = self.not_ready()
        if objection is not None:
            if objection != before:
                log.error("no permits are issued", extra={"fields": {"problem": objection}})
            self.failed("not_ready")
            return
        if before is not None and looked is not None:
            log.info("permits are issued again")
        state = self._queue.state()
        if state is None:
            self._make_group()
        else:
            self.metrics.group(state.pending, state.lag)
        if self._own_after is None:
            # While own entries are read again, what is claimed could come twice.
            self._claim()
        self._housekeep()

    def _make_group(self) -> None:
        """A group that is missing begins an hour ago; what lies before it is told once."""
        if not self._queue.ensure_group():
            return
        log.info("consumer group created", extra={"fields": {"stream": self._store.keys.plans}})
        skipped = self._queue.skipped_at_start()
        if skipped:
            self._tell_backlog(skipped if skipped > 0 else None)

    def _take(self) -> list[Entry]:
        due = self._retry_at is not None and clock.monotonic() >= self._retry_at
        if due and self._own_after is None:
            # Never in the middle of a round: its end would not be reached.
            self._retry_at, self._own_after, self._retrying = None, "0", True
            if self._inbox:
                entries, self._inbox = self._inbox, []
                return entries
        if self._own_after == "0":
            self._inbox = []  # All of it is pending too, and comes again.
        if self._own_after is not None:
            count = RETRY_COUNT if self._retrying else self._settings.batch
            entries = self._queue.own_pending(self._own_after, count)
            self._own_after = entries[-1].id if entries else None
            if entries:
                # What Redis keeps refusing must not keep new plans waiting, closes least of all.
                return entries + (self._queue.new(count) if self._retrying else [])
            self._retrying = False
            if self._retry_at is None:
                self._judge.settled()
            self._claim()
        elif self._queue.claiming:
            self._claim()
        entries, self._inbox = self._inbox, []
        return entries

    def _claim(self) -> None:
        """What others left lying comes to us."""
        self._inbox += self._queue.abandoned(ABANDONED_MS, CLAIM_COUNT)

    def _serve(self, entries: list[Entry], now: float) -> None:
        cutoff_ms = self._watch.now_ms - OLD_MS
        old = [entry.id for entry in entries if entry.queued_ms < cutoff_ms]
        if old:
            self._queue.acknowledge(old)
            self._skipped_old += len(old)
            if self._own_after is None:
                self._inbox += self._queue.new(OLD_BATCH)
        young = [entry for entry in entries if entry.queued_ms >= cutoff_ms]
        failed = []
        for entry in young:
            if entry.deliveries > 1:
                failed += self._serve_again(entry, now)
        fresh = [entry for entry in young if entry.deliveries == 1]
        failed += self._judge.serve(fresh, now, self._watch.since_ms)
        if failed and self._retry_at is None:
            self._retry_at = clock.monotonic() + RETRY_SEC

    def _serve_again(self, entry: Entry, now: float) -> list[str]:
        """One that came before and was not finished: alone, so that it takes no other with it,
        and with its tries counted. What Redis did (refused, went away) never counts against it."""
        try:
            tries = self._queue.begin_try(entry.id)
        except RedisUnreachable:
            self._forgive = entry.id  # It may have been counted, and only the reply was lost.
            raise
        except WireError as refused:
            # An uncounted try is better than a plan, and all behind it, that is never judged.
            self.failed("tries")
            self._tries_bad.update({"governor:tries:*": str(refused)})
            return self._judge.serve([entry], now, self._watch.since_ms)
        try:
            if tries > MAX_TRIES:
                problem = f"{tries - 1} tries ended in an exception or in the governor's death"
                failed = self._judge.reject([(entry, problem)])
            else:
                failed = self._judge.serve([entry], now, self._watch.since_ms, tries)
        except RedisUnreachable:
            self._forgive = entry.id
            raise
        if failed:
            self._queue.forgive_try(entry.id)
        else:
            self._queue.end_try(entry.id)
        return failed

    def _tell_old(self) -> None:
        """One event and one line for all entries that were too old to be judged."""
        count, self._skipped_old = self._skipped_old, 0
        self.metrics.skipped.labels(BACKLOG).inc(count)
        self._tell_backlog(count)

    def _tell_backlog(self, count: int | None) -> None:
        log.warning(
            "entries queued for over an hour were skipped",
            extra={"fields": {"count": "unknown" if count is None else count}},
        )
        events.write(
            self._store,
            Event(
                "backlog_skipped",
                reason=Reason.STALE_PLAN.value,
                ts=self._watch.now_ms // 1000,
                actor=f"governor:{self.instance}",
            ),
            self._settings.stream_maxlen,
            count=count,
        )

    def _housekeep(self) -> None:
        """The limits that decisions refer to by digest must outlive them; consumers that are gone
        for good and hold nothing go."""
        at = clock.monotonic()
        if self._kept is not None and at - self._kept < KEEP_EVERY_SEC:
            return
        self._kept = at
        key = self._store.keys.at(LIMITS, self._limits_digest)
        try:
            self._store.run("SET", key, self._limits_json, "EX", LIMITS_TTL_SEC)
            for name in self._queue.drop_dead_consumers():
                log.info("dead consumer removed", extra={"fields": {"consumer": name}})
        except WireError as problem:
            # No plan must wait for this: it is tried again next time.
            self.failed("housekeeping")
            log.warning("housekeeping failed", extra={"fields": {"problem": problem}})
