"""The governor: takes plans from the stream, judges them, issues single-use permits.

Hints fail open, permits fail closed: a score that can't be read never blocks a plan, and a plan
that can't be judged gets no permit. See docs/guarantees.md.
"""

import logging
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from qtctl import clock
from qtctl.domain.reasons import Reason
from qtctl.errors import ReplyTooLarge, WireError
from qtctl.services import intake
from qtctl.services.clocks import HostClock, ServerClock
from qtctl.services.event_log import EventLog
from qtctl.services.halt_keeper import HaltKeeper
from qtctl.services.heartbeat import Heartbeat
from qtctl.services.intake import Batch, Intake
from qtctl.services.judge import Judge
from qtctl.services.large_entries import LargeEntries
from qtctl.services.metrics import BACKLOG, GovernorMetrics
from qtctl.services.problem_log import ProblemLog
from qtctl.services.redelivery import Redelivery
from qtctl.services.rules import rules_of
from qtctl.services.server_watch import ServerWatch
from qtctl.settings import Governor as GovernorSettings
from qtctl.wire.client.store import Store
from qtctl.wire.control import clock_jump
from qtctl.wire.governor.commit import ServerMarks, step_problem
from qtctl.wire.governor.decision_stream import DecisionStream
from qtctl.wire.governor.ledger import RecentOpens
from qtctl.wire.governor.plan_queue import PlanQueue, QueueLook, Trimmed
from qtctl.wire.queries import plan_ids
from qtctl.wire.schema import ids
from qtctl.wire.schema.keys import LIMITS, LIMITS_TTL_SEC

log = logging.getLogger("qtctl.governor")
LOOK_SEC = 1.0
"""How often it looks at the server and the group."""
QUICK_SEC = 0.02
"""Chores that take no longer keep nobody waiting, and are done at once."""
PUT_OFF_SEC = 0.5
"""How long the chores may be put off while new entries come all the time."""
NO_GROUP_SEC = 0.05
NO_GROUP_LOOKS = 20
"""How often `once` makes a group that is not there, or that Redis does not show; pauses between."""
TRIM_SEC = 60.0
"""How often the stream of decisions is trimmed by time."""
HOUSEKEEP_SEC = 600.0
"""How often the limits are refreshed and dead consumers removed."""


class Governor:
    """One consumer of the governors' group. A pass: look → housekeeping → intake → judge."""

    name = "governor"
    pass_timeout_sec = 15.0

    def __init__(
        self, store: Store, settings: GovernorSettings, *, allow_eviction: bool,
        start_halted: bool = False, publish: bool = True,
    ) -> None:  # fmt: skip
        """publish: decisions go to the stream that the history is made from."""
        self._store = store
        self._settings = settings
        self.instance = settings.name or socket.gethostname()
        self.metrics_addr = settings.metrics_addr
        self.metrics_port = settings.metrics_port
        self.metrics = GovernorMetrics(settings.metrics_max_symbols)
        self.registry = self.metrics.registry
        self._reader = store.reader(intake.most_block_sec())
        self._queue = PlanQueue(store, self._reader, self.instance)
        rules = rules_of(settings, self.instance)
        self._rules = rules
        self._limits_json = rules.limits_json
        self._limits_digest = rules.limits_digest
        self._heartbeat = Heartbeat(store, self.name, self.instance, settings, LOOK_SEC)
        self._halts = HaltKeeper(
            store, rules.commit.names, self.instance, settings.stream_maxlen,
            start_halted=start_halted,
        )  # fmt: skip
        self._watch = ServerWatch(allow_eviction=allow_eviction)
        self._host_clock = HostClock(log)
        self._server_clock = ServerClock()
        self._jump_problems = ProblemLog(log, "quarantine of opens")
        self._group_problems = ProblemLog(log, "place of the consumer group")
        self._intake = Intake(self._queue, settings.batch)
        self._events = EventLog(store, rules.commit.actor, settings.stream_maxlen, self.metrics)
        self._judge = Judge(store, self._queue, rules, self.metrics, self._events)
        self._redelivery = Redelivery(self._queue, self._judge, self.metrics)
        self._large = LargeEntries(self.metrics)
        self._opens = RecentOpens(store)
        self._decisions = DecisionStream(store) if publish else None
        self._trimmed_at: float | None = None
        self._bad_claims = ProblemLog(log, "take-over of abandoned plans")
        self._trimmed: Trimmed | None = None
        self._ids_trouble: str | None = None
        self._ids_note: str | None = None
        self._bad_ledger = ProblemLog(log, "ledger of opens")
        self._looked_at: float | None = None
        self._chores: Iterator[None] | None = None
        self._slow = False
        self._put_off_at: float | None = None
        self._stranded: str | None = None
        self._unable: str | None = None
        self._housekept_at: float | None = None
        self._skipped = 0
        self._skipped_ids = ("", "")

    # The service protocol --------------------------------------------------------------------

    def open(self) -> None:
        """Looks at the server, creates a missing group, and goes back to what this consumer was
        given before and never finished."""
        self._intake.restart()
        self._housekept_at = None
        self._chores, self._slow = None, False
        self._look()
        self._redelivery.forgive()

    def step(self) -> int:
        """Serves what is there now; how many entries that were."""
        served = 0
        with self._rereading():
            served = self._pass()
        return served

    def _pass(self) -> int:
        self._do_chores()
        if self._closed() is not None:
            return 0
        batch = self._intake.take(self._watch.now_ms)
        if self._slow:
            self._intake.has_new(ask=True)  # On its way while these are served.
        self._serve(batch)
        if batch:
            self._do_chores()  # Now, and not when the next plan is there.
        if self._skipped and not batch:
            self._report_skipped()
        self.metrics.last_success.set(self._watch.now_ms / 1000)
        return len(batch)

    def wait(self, stop: threading.Event) -> None:
        """Until a plan is there, at most a second."""
        if self._closed() is not None:
            stop.wait(intake.BLOCK_SEC)
        else:
            with self._rereading():
                self._intake.wait()

    @contextmanager
    def _rereading(self) -> Iterator[None]:
        """Where a read was cut off: the entries are pending, and are read again, one first. Both
        connections are new then, so the server is looked at before anything is served."""
        try:
            yield
        except ReplyTooLarge as cut:
            log.warning(
                "a read of plans was cut off, and goes on with few at a time",
                extra={"fields": {"problem": cut}},
            )
            self._reader.close()
            self._store.close()
            self.open()

    def once(self) -> bool:
        """Serves up to the last entry that is there now; False if something stays pending."""
        self.step()
        last, group = self._queue.last_id_and_state()
        group_looks = 0
        while self._closed() is None:
            if self._intake.idle:
                if group is None:
                    if group_looks == NO_GROUP_LOOKS:
                        log.error("Redis does not show the consumer group that was made")
                        return False
                    group_looks += 1
                    clock.sleep(NO_GROUP_SEC)
                    self._look()
                elif ids.order(group.last_id) >= ids.order(last):
                    break
            with self._rereading():
                self._intake.poll()
            self.step()
            group = self._queue.state()
        if self._skipped:
            self._report_skipped()
        return self._closed() is None and group is not None and group.pending == 0

    def close(self) -> None:
        """Closes both connections; what was read and not served is still pending."""
        self._heartbeat.leave()
        self._reader.close()
        self._store.close()

    def failed(self, kind: str) -> None:
        self.metrics.errors.labels(kind).inc()

    def not_ready(self) -> str | None:
        """Why no permits are issued (decisions could be evicted, a replica answers, the group would
        see no plan), or None."""
        return self._closed() or self._unable

    def _closed(self) -> str | None:
        """Why plans are not even read. Where only the atomic step can't run they are: each is
        refused alone and stays pending, so that what may still pass does."""
        return self._watch.objection() or self._stranded

    # What a pass consists of ------------------------------------------------------------------

    def _look_is_due(self) -> bool:
        return self._looked_at is None or clock.monotonic() - self._looked_at >= LOOK_SEC

    def _do_chores(self) -> None:
        """What is due beside the plans. Over a slow link this takes many round trips: where new
        entries wait, they are served in between."""
        begun = clock.monotonic()
        if not self._intake.has_new(ask=self._slow):
            self._put_off_at = None
        elif self._put_off_at is None or begun - self._put_off_at < PUT_OFF_SEC:
            self._put_off_at = self._put_off_at or begun
            return
        self._put_off_at = None
        if self._chores is None:
            self._chores = self._all_chores()
        for _ in self._chores:
            if clock.monotonic() - begun < QUICK_SEC:
                continue
            self._slow = True
            if self._intake.has_new(ask=True):
                return
        self._chores = None

    def _all_chores(self) -> Iterator[None]:
        """Yields after about one round trip each."""
        if self._look_is_due():
            yield from self._looks()
            self._looked_at = clock.monotonic()
            yield
        now = self._watch.now_ms / 1000
        address = f"{self.metrics_addr}:{self.metrics_port}"
        self._heartbeat.beat(now, address, self._host_clock.ahead_sec)
        yield
        if self._closed() is None:
            self._trim_decisions()
            yield
            if self._housekeeping_is_due():
                yield from self._housekeep()

    def _look(self) -> None:
        """All of a look at once."""
        for _ in self._looks():
            pass

    def _looks(self) -> Iterator[None]:
        """Once a second: the server, the kill switch, the group."""
        before, looked_before = self._watch.objection(), self._looked_at is not None
        self._store.confirm()
        self._look_at_clocks()
        self._looked_at = clock.monotonic()
        objection = self._watch.objection()
        if objection is not None:
            if objection != before:
                log.error("no permits are issued", extra={"fields": {"problem": objection}})
                self._events.write("permits_stopped", objection, {})
            self.failed("not_ready")
            return
        if before is not None and looked_before:
            log.info("permits are issued again")
            self._events.write("permits_resumed", "", {})
        yield
        self._look_at_step()
        yield
        # Before the group is made, and before anything is served.
        self.metrics.halted(self._halts.look(self._watch.now_ms), self._halts.times)
        yield
        self._look_at_claims()
        found = self._intake.look()
        if found.group is None:
            self._create_group()
        else:
            self.metrics.group(found.group.pending, found.group.lag)
            yield
            self._set_back(found)
            yield
            self._look_at_ids(found.group.last_id)
            self._look_for_trimmed(found)
        yield
        yield from self._count_opens()

    def _look_at_claims(self) -> None:
        """Since the last look: what other consumers left must not lie there unnoticed."""
        problem = self._intake.claim_problem
        if problem is not None:
            self.failed("claim")
        self._bad_claims.update({} if problem is None else {self._store.keys.plans: problem})

    def _look_at_step(self) -> None:
        problem = step_problem(self._store, self._rules.commit)
        was, self._unable = self._unable, None
        self.metrics.step_refused.set(problem is not None)
        if problem is not None:
            self.failed("not_ready")
            self._unable = f"the atomic step can't run on this server: {problem}"
            if self._unable != was:
                log.error("no permits are issued", extra={"fields": {"problem": self._unable}})
        elif was is not None:
            log.info("permits are issued again")

    def _look_at_clocks(self) -> None:
        """The server, its clock, and the wall clock of this host beside it."""
        wall, before = clock.now(), clock.boot()
        server = self._store.server()
        after = clock.boot()
        change = self._watch.note(server, self._queue.last_id)
        self._host_clock.note(wall, wall + after - before, server.now_ms / 1000)
        self.metrics.clock_ahead.set(self._host_clock.ahead_sec)
        if change is not None and server.role == "master":
            more = {"value": change.after, "before": change.before}
            self._events.write("server_changed", change.how, more)
        step_ms = self._server_clock.note(server, before, after)
        if step_ms:
            self._report_step(step_ms)
        jump_ms = self._server_clock.jump_ms
        if jump_ms:
            self._quarantine(jump_ms)

    def _report_step(self, step_ms: int) -> None:
        direction = "forward" if step_ms > 0 else "backward"
        self.metrics.clock_steps.labels(direction).inc()
        fields = {"direction": direction, "step_sec": f"{step_ms / 1000:.1f}"}
        log.warning("the clock of the Redis server stepped", extra={"fields": fields})
        self._events.write("clock_step", direction, {"value": fields["step_sec"]})

    def _quarantine(self, jump_ms: int) -> None:
        """Decisions and ledgers may have expired before their time: no governor permits an open
        until an operator has looked. The atomic step here does so even where this fails."""
        try:
            first = clock_jump.note(self._store, jump_ms, f"governor:{self.instance}")
        except WireError as problem:
            self.failed("clock_jump")
            self._jump_problems.update({self._store.keys.clock_jump: str(problem)})
            return
        self._jump_problems.update({})
        self._server_clock.accept()
        if first:
            fields = {"jump_sec": f"{jump_ms / 1000:.1f}", "key": self._store.keys.clock_jump}
            log.error(
                "the clock of the Redis server jumped ahead: opens are quarantined until "
                "'qtctl resume --clock'",
                extra={"fields": fields},
            )
            self._events.write("clock_jump", Reason.QUARANTINE.value, {"value": fields["jump_sec"]})

    def _set_back(self, seen: QueueLook) -> None:
        """A group that lies ahead of the stream would see no plan ever again."""
        if seen.lies_ahead is False and self._stranded is None:
            return
        try:
            found = self._queue.set_back(f"governor:{self.instance}", self._settings.stream_maxlen)
        except WireError as problem:
            # Whether it lies ahead can't be seen; that alone must not keep a close waiting.
            self.failed("group")
            self._group_problems.update({self._store.keys.plans: str(problem)})
            return
        self._group_problems.update({})
        was_stranded, self._stranded = self._stranded, None
        if found is None:
            if was_stranded is not None:
                log.info("permits are issued again")
            return
        fields = {"was": found.was, "now": found.now, "problem": found.problem}
        if found.now:
            self.metrics.set_back.inc()
            log.error(
                "the consumer group lay ahead of the stream, saw no plan, and was set back",
                extra={"fields": fields},
            )
            return
        self.failed("not_ready")
        self._stranded = (
            f"the consumer group lies ahead of the stream (its last id is {found.was}), where it "
            f"sees no plan, and can't be set back: {found.problem}"
        )
        if self._stranded != was_stranded:
            log.error("no permits are issued", extra={"fields": {"problem": self._stranded}})

    def _look_at_ids(self, last_id: str) -> None:
        """A publisher that names its entries itself, in another unit, must not go unnoticed."""
        trouble = plan_ids.trouble_of(last_id, self._watch.now_ms)
        if trouble is not None and trouble == self._ids_trouble:
            return
        found = None
        if trouble is not None:
            try:
                found = plan_ids.plan_ids(self._store, self._watch.now_ms)
            except WireError as problem:
                self.failed("group")
                self._group_problems.update({self._store.keys.plans: str(problem)})
        was, self._ids_trouble = self._ids_trouble, None if found is None else found.trouble
        self.metrics.plan_ids(self._ids_trouble)
        if found is None:
            self._ids_note = None
            if was is not None:
                log.info("plan ids are by Redis's clock again")
            return
        self._ids_note, sources = f"{found.what}: {found.effect}", ", ".join(found.sources)
        log.error(
            "plan ids are not by Redis's clock", extra={"fields": {"problem": self._ids_note}}
        )
        self._events.write("plan_ids", found.trouble, {"value": found.last_id, "source": sources})

    def _look_for_trimmed(self, seen: QueueLook) -> None:
        """Reports plans that were trimmed before a governor had read them: they are gone."""
        found, before = seen.trimmed_unread(), self._trimmed
        self._trimmed = found
        if found is None:
            return
        count = found.count
        if before is not None and before.after == found.after:
            count -= before.count
        if count <= 0:
            return
        self.metrics.errors.labels("trimmed").inc(count)
        more = {"count": count, "value": found.after}
        log.error("plans were trimmed before they were read", extra={"fields": more})
        self._events.write("trimmed", "trimmed_unread", more)

    def warning(self) -> str | None:
        """What is wrong though permits are issued: plan ids by another clock, abandoned plans that
        can't be taken over; or None."""
        notes = [self._ids_note] if self._ids_note is not None else []
        if self._intake.claim_problem is not None:
            notes.append(f"abandoned plans can't be taken over: {self._intake.claim_problem}")
        return "; ".join(notes) or None

    def _count_opens(self) -> Iterator[None]:
        now = self._watch.now_ms / 1000
        try:
            yield from self._opens.read(now)
            self.metrics.opened(self._opens.known, now)
        except WireError as problem:
            self.failed("housekeeping")
            self._bad_ledger.update({self._store.keys.ledger_total: str(problem)})
        else:
            self._bad_ledger.update({})

    def _create_group(self) -> None:
        """The group starts one hour back; what lies before that is reported once."""
        if not self._queue.ensure_group():
            return
        log.info("consumer group created", extra={"fields": {"stream": self._store.keys.plans}})
        skipped = self._queue.skipped_at_start()
        if skipped:
            self._report_backlog(skipped if skipped > 0 else None)

    def _serve(self, batch: Batch) -> None:
        if batch.skipped:
            first, last = batch.skipped_ids
            self._skipped_ids = self._skipped_ids[0] if self._skipped else first, last
            self._skipped += batch.skipped
        if large := self._queue.large():
            self._large.note(large)
        refused, left = self._redelivery.serve(batch.redelivered, self._marks())
        self._intake.hand_back(left)
        refused += self._judge.serve(batch.fresh, self._marks())
        if refused:
            self._intake.retry_later()
            self._looked_at = None  # Redis may have lost the mark of the last look.
        elif self._intake.settled:
            self._judge.forget_refusals()

    def _marks(self) -> ServerMarks:
        jumped_after_ms = self._server_clock.jumped_after_ms()
        maxlen = 0 if self._decisions is None else self._decisions.maxlen
        return ServerMarks(self._watch.before, jumped_after_ms, self._halts.marked, maxlen)

    def _report_skipped(self) -> None:
        """One event and one log line for all entries that were too old to be judged."""
        count, self._skipped = self._skipped, 0
        self.metrics.skipped.labels(BACKLOG).inc(count)
        first, last = self._skipped_ids
        self._report_backlog(count, {"first": first, "last": last})

    def _report_backlog(self, count: int | None, ids_: Mapping[str, object] = {}) -> None:
        log.warning(
            "entries queued for over an hour were skipped",
            extra={"fields": {"count": "unknown" if count is None else count} | dict(ids_)},
        )
        more = ({} if count is None else {"count": count}) | dict(ids_)
        self._events.write("backlog_skipped", Reason.STALE_PLAN.value, more)

    def _trim_decisions(self) -> None:
        at = clock.monotonic()
        if self._decisions is None or (self._trimmed_at and at - self._trimmed_at < TRIM_SEC):
            return
        self._trimmed_at = at
        try:
            self._decisions.trim(self._watch.now_ms)
        except WireError as problem:
            # What keeps it from being written as well is reported with the decisions.
            self.failed("history")
            log.warning(
                "the stream of decisions can't be trimmed", extra={"fields": {"problem": problem}}
            )

    def _housekeeping_is_due(self) -> bool:
        return self._housekept_at is None or clock.monotonic() - self._housekept_at >= HOUSEKEEP_SEC

    def _housekeep(self) -> Iterator[None]:
        """The limits that decisions name by digest must outlive them; consumers that are gone for
        good and hold nothing are removed."""
        self._housekept_at = clock.monotonic()
        key = self._store.keys.at(LIMITS, self._limits_digest)
        try:
            self._store.run("SET", key, self._limits_json, "EX", LIMITS_TTL_SEC)
            yield
            for name in self._queue.drop_dead_consumers():
                log.info("dead consumer removed", extra={"fields": {"consumer": name}})
        except WireError as problem:
            # No plan must wait for this: it is tried again next time.
            self.failed("housekeeping")
            log.warning("housekeeping failed", extra={"fields": {"problem": problem}})
