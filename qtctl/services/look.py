"""The look of a governor at its surroundings, once a second: the server and its clocks, the atomic
step, the kill switch, the group. What it finds decides whether plans are read, and what the step
is given.
"""

import logging
from collections.abc import Iterator

from qtctl import clock
from qtctl.domain.reasons import Reason
from qtctl.errors import WireError
from qtctl.services.backlog import Backlog
from qtctl.services.clocks import HostClock, ServerClock
from qtctl.services.event_log import EventLog
from qtctl.services.halt_keeper import HaltKeeper
from qtctl.services.intake import Intake
from qtctl.services.judge import Rules
from qtctl.services.metrics import GovernorMetrics
from qtctl.services.problem_log import ProblemLog
from qtctl.services.server_watch import ServerWatch
from qtctl.wire.client.store import Store
from qtctl.wire.control import clock_jump
from qtctl.wire.governor.commit import ServerMarks, step_problem
from qtctl.wire.governor.ledger import RecentOpens
from qtctl.wire.governor.plan_queue import PlanQueue, QueueLook, Trimmed
from qtctl.wire.queries import plan_ids

log = logging.getLogger("qtctl.governor")
LOOK_SEC = 1.0
"""How often it looks at the server and the group."""


class Look:
    """What one governor knows of its surroundings. Errors of a look: RedisUnreachable, WireError:
    nothing may be served then."""

    def __init__(
        self, store: Store, queue: PlanQueue, intake: Intake, watch: ServerWatch, halts: HaltKeeper,
        rules: Rules, metrics: GovernorMetrics, events: EventLog, backlog: Backlog,
    ) -> None:  # fmt: skip
        self._store = store
        self._queue = queue
        self._intake = intake
        self._watch = watch
        self._halts = halts
        self._rules = rules
        self._metrics = metrics
        self._events = events
        self._backlog = backlog
        self._host_clock = HostClock(log)
        self._server_clock = ServerClock()
        self._opens = RecentOpens(store)
        self._jump_problems = ProblemLog(log, "quarantine of opens")
        self._group_problems = ProblemLog(log, "place of the consumer group")
        self._bad_claims = ProblemLog(log, "take-over of abandoned plans")
        self._bad_ledger = ProblemLog(log, "ledger of opens")
        self._looked_at: float | None = None
        self._objection = watch.objection()
        self._trimmed: Trimmed | None = None
        self._ids_trouble: str | None = None
        self.note: str | None = None
        """What is wrong with the ids of plans, None for nothing."""
        self.stranded: str | None = None
        """Why the group can see no plan, None where it can."""
        self.unable: str | None = None
        """Why the atomic step can't run, None where it can."""

    @property
    def is_due(self) -> bool:
        return self._looked_at is None or clock.monotonic() - self._looked_at >= LOOK_SEC

    @property
    def now_ms(self) -> int:
        """The server's clock at the last look, epoch milliseconds."""
        return self._watch.now_ms

    @property
    def host_ahead_sec(self) -> float:
        """See HostClock."""
        return self._host_clock.ahead_sec

    def soon(self) -> None:
        """The next one is due: Redis may have lost the mark of the last one."""
        self._looked_at = None

    def closed(self) -> str | None:
        """Why plans are not even read. Where only the atomic step can't run they are: each is
        refused alone and stays pending, so that what may still pass does."""
        return self._objection or self.stranded

    def marks(self, decisions_maxlen: int) -> ServerMarks:
        """What the atomic step is given."""
        jumped_after_ms = self._server_clock.jumped_after_ms()
        return ServerMarks(
            self._watch.before, jumped_after_ms, self._halts.marked, decisions_maxlen
        )

    def at_once(self) -> None:
        """All of a look."""
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[None]:
        """The server, the kill switch, the group; yields after about one round trip each."""
        before, looked_before = self._objection, self._looked_at is not None
        self._store.confirm()
        self._look_at_clocks()
        self._looked_at = clock.monotonic()
        objection = self._objection
        if objection is not None:
            if objection != before:
                log.error("no permits are issued", extra={"fields": {"problem": objection}})
                self._events.write("permits_stopped", objection, {})
            self._failed("not_ready")
            return
        if before is not None and looked_before:
            log.info("permits are issued again")
            self._events.write("permits_resumed", "", {})
        yield
        self._look_at_step()
        yield
        # Before the group is made, and before anything is served.
        self._metrics.halted(self._halts.look(self.now_ms), self._halts.times)
        yield
        self._look_at_claims()
        found = self._intake.look()
        if found.group is None:
            self._create_group()
        else:
            self._metrics.group(found.group.pending, found.group.lag)
            yield
            self._set_back(found)
            yield
            self._look_at_ids(found.group.last_id)
            self._look_for_trimmed(found)
        yield
        yield from self._count_opens()
        self._looked_at = clock.monotonic()

    def _look_at_claims(self) -> None:
        """Since the last look: what other consumers left must not lie there unnoticed."""
        problem = self._intake.claim_problem
        if problem is not None:
            self._failed("claim")
        self._bad_claims.update({} if problem is None else {self._store.keys.plans: problem})

    def _look_at_step(self) -> None:
        problem = step_problem(self._store, self._rules.commit)
        was, self.unable = self.unable, None
        self._metrics.step_refused.set(problem is not None)
        if problem is not None:
            self._failed("not_ready")
            self.unable = f"the atomic step can't run on this server: {problem}"
            if self.unable != was:
                log.error("no permits are issued", extra={"fields": {"problem": self.unable}})
        elif was is not None:
            log.info("permits are issued again")

    def _look_at_clocks(self) -> None:
        """The server, its clock, and the wall clock of this host beside it."""
        wall, before = clock.now(), clock.boot()
        server = self._store.server()
        after = clock.boot()
        change = self._watch.note(server, self._queue.last_id)
        self._objection = self._watch.objection()
        self._host_clock.note(wall, wall + after - before, server.now_ms / 1000)
        self._metrics.clock_ahead.set(self._host_clock.ahead_sec)
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
        self._metrics.clock_steps.labels(direction).inc()
        fields = {"direction": direction, "step_sec": f"{step_ms / 1000:.1f}"}
        log.warning("the clock of the Redis server stepped", extra={"fields": fields})
        self._events.write("clock_step", direction, {"value": fields["step_sec"]})

    def _quarantine(self, jump_ms: int) -> None:
        """Decisions and ledgers may have expired before their time: no governor permits an open
        until an operator has looked. The atomic step here does so even where this fails."""
        try:
            first = clock_jump.note(self._store, jump_ms, self._rules.commit.actor)
        except WireError as problem:
            self._failed("clock_jump")
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
        if seen.lies_ahead is False and self.stranded is None:
            return
        try:
            found = self._queue.set_back(self._rules.commit.actor, self._rules.commit.events_maxlen)
        except WireError as problem:
            # Whether it lies ahead can't be seen; that alone must not keep a close waiting.
            self._failed("group")
            self._group_problems.update({self._store.keys.plans: str(problem)})
            return
        self._group_problems.update({})
        was_stranded, self.stranded = self.stranded, None
        if found is None:
            if was_stranded is not None:
                log.info("permits are issued again")
            return
        fields = {"was": found.was, "now": found.now, "problem": found.problem}
        if found.now:
            self._metrics.set_back.inc()
            log.error(
                "the consumer group lay ahead of the stream, saw no plan, and was set back",
                extra={"fields": fields},
            )
            return
        self._failed("not_ready")
        self.stranded = (
            f"the consumer group lies ahead of the stream (its last id is {found.was}), where it "
            f"sees no plan, and can't be set back: {found.problem}"
        )
        if self.stranded != was_stranded:
            log.error("no permits are issued", extra={"fields": {"problem": self.stranded}})

    def _look_at_ids(self, last_id: str) -> None:
        """A publisher that names its entries itself, in another unit, must not go unnoticed."""
        trouble = plan_ids.trouble_of(last_id, self.now_ms)
        if trouble is not None and trouble == self._ids_trouble:
            return
        found = None
        if trouble is not None:
            try:
                found = plan_ids.plan_ids(self._store, self.now_ms)
            except WireError as problem:
                self._failed("group")
                self._group_problems.update({self._store.keys.plans: str(problem)})
        was, self._ids_trouble = self._ids_trouble, None if found is None else found.trouble
        self._metrics.plan_ids(self._ids_trouble)
        if found is None:
            self.note = None
            if was is not None:
                log.info("plan ids are by Redis's clock again")
            return
        self.note, sources = f"{found.what}: {found.effect}", ", ".join(found.sources)
        log.error("plan ids are not by Redis's clock", extra={"fields": {"problem": self.note}})
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
        self._metrics.errors.labels("trimmed").inc(count)
        more = {"count": count, "value": found.after}
        log.error("plans were trimmed before they were read", extra={"fields": more})
        self._events.write("trimmed", "trimmed_unread", more)

    def _count_opens(self) -> Iterator[None]:
        now = self.now_ms / 1000
        try:
            yield from self._opens.read(now)
            self._metrics.opened(self._opens.known, now)
        except WireError as problem:
            self._failed("housekeeping")
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
            self._backlog.report(skipped if skipped > 0 else None)

    def _failed(self, kind: str) -> None:
        self._metrics.errors.labels(kind).inc()
