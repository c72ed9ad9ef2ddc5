"""The governor: takes plans from the stream, judges them, issues single-use permits.

Hints fail open, permits fail closed. Source: section 3 of the specification.
"""

import hashlib
import logging
import threading

from qtctl import clock
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import Limits
from qtctl.domain.plans import PlanRules
from qtctl.domain.reasons import Reason
from qtctl.services.judging import Judging, Rules
from qtctl.services.metrics import GovernorMetrics
from qtctl.services.presence import Presence, host_name
from qtctl.settings import Governor as GovernorSettings
from qtctl.settings import digest, public
from qtctl.wire import events, ids
from qtctl.wire.commit import CommitSettings
from qtctl.wire.decisions import limits_json
from qtctl.wire.events import Event
from qtctl.wire.keys import LIMITS, LIMITS_TTL_SEC
from qtctl.wire.plan_queue import Entry, PlanQueue
from qtctl.wire.store import Server, Store

log = logging.getLogger("qtctl.governor")
BLOCK_SEC = 1.0
"""The longest wait for a plan: how late a stop, or a look around, may be."""
LOOK_SEC = 1.0
"""How often it looks at the server, the group, and what others left lying."""
RETRY_SEC = 0.5
"""How soon it tries again what Redis refused."""
ABANDONED_MS = 5_000
CLAIM_COUNT = 100
OLD_MS = 3_600_000
OLD_BATCH = 5_000
"""Entries queued for over an hour have no record each: many at once."""
LIMITS_EVERY_SEC = 600.0
BACKLOG = "backlog"
"""The metric label of entries that were too old to look at."""


class Governor:
    """One consumer of the governors' group."""

    name = "governor"
    pass_timeout_sec = 15.0

    def __init__(self, store: Store, settings: GovernorSettings, *, allow_eviction: bool) -> None:
        self._store = store
        self._settings = settings
        self._allow_eviction = allow_eviction
        self.instance = settings.name or host_name()
        self.metrics_addr = settings.metrics_addr
        self.metrics_port = settings.metrics_port
        self.metrics = GovernorMetrics(settings.metrics_max_symbols)
        self.registry = self.metrics.registry
        self._reader = store.reader(BLOCK_SEC)
        self._queue = PlanQueue(store, self._reader, self.instance)
        rules = rules_of(settings, store, self.instance)
        self._limits_json = limits_json(rules.limits, rules.plans)
        self._limits_digest = rules.limits_digest
        self._judging = Judging(store, self._queue, rules, self.metrics)
        self._presence = Presence(
            store, self.name, self.instance, public(settings), digest(settings), LOOK_SEC
        )
        self._inbox: list[Entry] = []
        self._own_after: str | None = "0"
        self._server: Server | None = None
        self._since_ms = 0
        self._clock_ahead_ms = 0.0
        self._looked: float | None = None
        self._limits_at: float | None = None
        self._retry_at: float | None = None
        self._skipped_old = 0

    # The service protocol --------------------------------------------------------------------

    def open(self, now: float) -> None:
        """Looks at the server, makes the group where it is missing, and goes back to what this
        consumer was given before and never finished."""
        self._inbox = []
        self._own_after = "0"
        self._limits_at = None
        self._look(now)

    def step(self, now: float) -> int:
        """Whatever is there now: own pending entries first, then abandoned ones, then new ones."""
        if self._looked is None or clock.monotonic() - self._looked >= LOOK_SEC:
            self._look(now)
        self._presence.beat(now, f"{self.metrics_addr}:{self.metrics_port}")
        if self.not_ready() is not None:
            return 0
        entries = self._take()
        if entries:
            self._serve(entries, now)
        elif self._skipped_old:
            self._tell_old(now)
        self.metrics.last_success.set(now)
        return len(entries)

    def wait(self, stop: threading.Event) -> None:
        """Until a plan is there, at most a second."""
        if self._inbox or self._own_after is not None:
            return
        if self.not_ready() is not None:
            stop.wait(BLOCK_SEC)
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
            if self._own_after is None and not self._inbox:
                state = self._queue.state()
                if state is None:
                    self._look(now)
                elif ids.order(state.last_id) >= ids.order(last):
                    break
                self._inbox = self._queue.new(self._settings.batch)
            self.step(clock.now())
        if self._skipped_old:
            self._tell_old(clock.now())
        return self.not_ready() is None and self._queue.pending_count() == 0

    def close(self) -> None:
        """Lets both connections go; what was read and not served is still pending."""
        self._inbox = []
        self._reader.close()
        self._store.close()

    def failed(self, kind: str) -> None:
        """Counts an error that ended a pass."""
        self.metrics.errors.labels(kind).inc()

    def not_ready(self) -> str | None:
        """While decisions could be evicted, or on a replica, there are no permits."""
        server = self._server
        if server is None:
            return "not connected yet"
        if server.role not in ("master", ""):
            return f"the server is a {server.role}: permits are written on the primary only"
        if server.may_evict and not self._allow_eviction:
            return (
                f"Redis may evict decisions (maxmemory-policy {server.policy}): no permits. "
                "Set maxmemory-policy noeviction, or [safety] allow_eviction = true"
            )
        return None

    # What a step consists of ------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """Once a second: the server, the group, what others left lying, our own record."""
        before = self.not_ready()
        server = self._store.server()
        self._note_server(server, now)
        reason = self.not_ready()
        if reason is not None:
            if reason != before:
                log.error("no permits are issued", extra={"fields": {"problem": reason}})
            self.failed("not_ready")
            self._looked = clock.monotonic()
            return
        if before is not None and self._looked is not None:
            log.info("permits are issued again")
        state = self._queue.state()
        if state is None:
            self._make_group(now)
        else:
            self.metrics.group(state.pending, state.lag)
        if self._own_after is None:
            # While own entries are read again, what is claimed could come twice.
            self._claim()
        self._keep_limits()
        self._looked = clock.monotonic()

    def _note_server(self, server: Server, now: float) -> None:
        """Since when may this server be trusted to know all decisions: what was queued before it
        started, or before it took over, may have been decided under another."""
        known = self._server
        changed = known is not None and (
            (known.run_id, known.replication_id) != (server.run_id, server.replication_id)
        )
        if known is None or not changed:
            since = server.started_ms
        elif server.run_id != known.run_id and server.started_ms > known.now_ms:
            since = server.started_ms  # It started after we last saw the other one.
        else:
            since = server.now_ms  # It was there before: promoted, at the latest now.
            log.warning("another primary answers: opens queued before now are quarantined")
        if known is None or changed:
            self._since_ms = max(self._since_ms, since)
        self._server = server
        self._clock_ahead_ms = server.now_ms - now * 1000

    def _make_group(self, now: float) -> None:
        """A group that is missing begins an hour ago; what lies before it is told once."""
        if not self._queue.ensure_group():
            return
        log.info("consumer group created", extra={"fields": {"stream": self._store.keys.plans}})
        skipped = self._queue.skipped_at_start()
        if skipped:
            self._tell_backlog(skipped if skipped > 0 else None, now)

    def _take(self) -> list[Entry]:
        if self._retry_at is not None and clock.monotonic() >= self._retry_at:
            self._retry_at = None
            self._own_after = "0"
        if self._own_after == "0":
            self._inbox = []  # All of it is pending too, and comes again.
        if self._own_after is not None:
            entries = self._queue.own_pending(self._own_after, self._settings.batch)
            self._own_after = entries[-1].id if entries else None
            if entries:
                return entries
            self._claim()
        entries, self._inbox = self._inbox, []
        return entries

    def _claim(self) -> None:
        """What others left lying comes to us."""
        self._inbox += self._queue.abandoned(ABANDONED_MS, CLAIM_COUNT)

    def _serve(self, entries: list[Entry], now: float) -> None:
        cutoff_ms = self._server_ms(now) - OLD_MS
        old = [entry.id for entry in entries if entry.queued_ms < cutoff_ms]
        if old:
            self._queue.acknowledge(old)
            self._skipped_old += len(old)
            if self._own_after is None:
                self._inbox += self._queue.new(OLD_BATCH)
        young = [entry for entry in entries if entry.queued_ms >= cutoff_ms]
        failed = self._judging.serve(young, now, self._since_ms)
        if failed and self._retry_at is None:
            self._retry_at = clock.monotonic() + RETRY_SEC

    def _tell_old(self, now: float) -> None:
        """One event and one line for all entries that were too old to be judged."""
        count, self._skipped_old = self._skipped_old, 0
        self.metrics.skipped.labels(BACKLOG).inc(count)
        self._tell_backlog(count, now)

    def _tell_backlog(self, count: int | None, now: float) -> None:
        log.warning(
            "entries queued for over an hour were skipped",
            extra={"fields": {"count": "unknown" if count is None else count}},
        )
        events.write(
            self._store,
            Event(
                "backlog_skipped",
                reason=Reason.STALE_PLAN.value,
                ts=int(self._server_ms(now) / 1000),
                actor=f"governor:{self.instance}",
            ),
            self._settings.stream_maxlen,
            count=count,
        )

    def _server_ms(self, now: float) -> float:
        return now * 1000 + self._clock_ahead_ms

    def _keep_limits(self) -> None:
        """The limits that decisions refer to by digest must outlive them."""
        at = clock.monotonic()
        if self._limits_at is None or at - self._limits_at >= LIMITS_EVERY_SEC:
            key = self._store.keys.at(LIMITS, self._limits_digest)
            self._store.run("SET", key, self._limits_json, "EX", LIMITS_TTL_SEC)
            self._limits_at = at


def rules_of(settings: GovernorSettings, store: Store, instance: str) -> Rules:
    """The settings in the shapes of the domain and the wire."""
    limits = Limits(
        max_plan_age_sec=settings.max_plan_age_sec,
        max_queue_age_sec=settings.max_queue_age_sec,
        kill_score_critical=settings.kill_score_critical,
        max_notional_per_trade_usd=settings.max_notional_per_trade_usd,
        symbol_cooldown_sec=settings.symbol_cooldown_sec,
        max_exec_per_5min=settings.max_exec_per_5min,
        max_exec_per_hour=settings.max_exec_per_hour,
        max_opens_per_5min_total=settings.max_opens_per_5min_total,
    )
    plan_rules = PlanRules(
        frozenset(settings.open_actions),
        frozenset(settings.close_actions),
        frozenset(settings.require),
    )
    return Rules(
        plans=plan_rules,
        limits=limits,
        downsize=DownsizeRules(
            settings.min_conf,
            settings.downsize_threshold,
            settings.min_factor,
            settings.max_extra_cooldown_sec,
            settings.eff_ttl_sec,
        ),
        commit=CommitSettings(
            limits,
            store.keys.kills(settings.kill_keys),
            settings.permit_encoding,
            settings.permit_ttl_sec,
            settings.stream_maxlen,
            f"governor:{instance}",
        ),
        limits_digest=hashlib.sha256(limits_json(limits, plan_rules)).hexdigest()[:16],
        instance=instance,
    )
