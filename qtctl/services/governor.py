"""The governor: takes plans from the stream, judges them, issues single-use permits.

Hints fail open, permits fail closed: a score that can't be read never blocks a plan, and a plan
that can't be judged gets no permit. See docs/guarantees.md.
"""

import logging
import socket
import threading
from collections.abc import Iterator

from qtctl import clock
from qtctl.errors import ReplyTooLarge, WireError
from qtctl.services import intake
from qtctl.services.backlog import Backlog
from qtctl.services.event_log import EventLog
from qtctl.services.halt_keeper import HaltKeeper
from qtctl.services.heartbeat import Heartbeat
from qtctl.services.intake import Batch, Intake
from qtctl.services.judge import Judge
from qtctl.services.large_entries import LargeEntries
from qtctl.services.look import LOOK_SEC, Look
from qtctl.services.metrics import GovernorMetrics
from qtctl.services.redelivery import Redelivery
from qtctl.services.rehearsal import Rehearsal
from qtctl.services.rules import rules_of
from qtctl.services.server_watch import ServerWatch
from qtctl.settings import Governor as GovernorSettings
from qtctl.wire.client.store import Store
from qtctl.wire.governor.commit import ServerMarks
from qtctl.wire.governor.decision_stream import DecisionStream
from qtctl.wire.governor.plan_queue import PlanQueue
from qtctl.wire.schema import ids
from qtctl.wire.schema.keys import LIMITS, LIMITS_TTL_SEC

log = logging.getLogger("qtctl.governor")
PUT_OFF_SEC, OVERDUE_SEC = 0.5, 0.02
"""How long the chores may be put off while new entries come all the time, and for how long they are
then done whatever comes."""
FAR_SEC, FAR_TRIPS, VERY_FAR_SEC = 0.005, 3, 0.1
"""A link is slow where so many round trips of the chores took that long, or one of them very long:
then new entries are asked for while others are served."""
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
        self._intake = Intake(self._queue, settings.batch)
        self._events = EventLog(store, rules.commit.actor, settings.stream_maxlen, self.metrics)
        self._judge = Judge(store, self._queue, rules, self.metrics, self._events)
        self._rehearsal = Rehearsal(self._judge)
        self._redelivery = Redelivery(self._queue, self._judge, self.metrics)
        self._large = LargeEntries(self.metrics)
        self._backlog = Backlog(self.metrics, self._events)
        halts = HaltKeeper(
            store, rules.commit.names, self.instance, settings.stream_maxlen,
            start_halted=start_halted,
        )  # fmt: skip
        self._look = Look(
            store, self._queue, self._intake, ServerWatch(allow_eviction=allow_eviction), halts,
            rules, self.metrics, self._events, self._backlog,
        )  # fmt: skip
        self._decisions = DecisionStream(store) if publish else None
        self._trimmed_at: float | None = None
        self._chores: Iterator[None] | None = None
        self._chores_due_at: float | None = None
        self._beside = True
        """New entries are asked for beside the chores."""
        self._slow, self._far = False, 0
        self._housekept_at: float | None = None

    # The service protocol --------------------------------------------------------------------

    def open(self) -> None:
        """Looks at the server, creates a missing group, and goes back to what this consumer was
        given before and never finished."""
        self._intake.restart()
        self._housekept_at = None
        self._chores, self._slow, self._far = self._all_chores(), False, 0
        self._look.at_once()
        self._redelivery.forgive()

    def step(self) -> int:
        """Serves what is there now; how many entries that were."""
        try:
            return self._pass()
        except ReplyTooLarge as cut:
            self._reread(cut)
            return 0

    def _pass(self) -> int:
        closed = self._look.closed()
        if closed is not None or not self._intake.in_hand:
            self._do_chores()  # What is in hand goes first, where it may be served.
            closed = self._look.closed()
        if closed is not None:
            return 0
        batch = self._intake.take(self._look.now_ms)
        if self._slow:
            self._intake.has_new(ask=True)  # On its way while these are served.
        self._serve(batch)
        if batch:
            self._rehearsal.served()
            self._do_chores()  # Now, and not when the next plan is there.
        if not batch:
            self._backlog.flush()
        self.metrics.last_success.set(self._look.now_ms / 1000)
        return len(batch)

    def wait(self, stop: threading.Event) -> None:
        """Until a plan is there, at most a second."""
        if self._look.closed() is not None:
            stop.wait(intake.BLOCK_SEC)
        else:
            try:
                if self._rehearsal.due:
                    self._rehearsal.wait(self._intake, stop)
                else:
                    self._intake.wait()
            except ReplyTooLarge as cut:
                self._reread(cut)

    def _reread(self, cut: ReplyTooLarge) -> None:
        """Where a read was cut off: the entries are pending, and are read again, one first. Both
        connections are new then, so the server is looked at before anything is served."""
        log.warning(
            "a read of plans was cut off, and goes on with few at a time",
            extra={"fields": {"problem": cut}},
        )
        self._reader.close()
        self._store.close()
        self.open()

    def once(self) -> bool:
        """Serves up to the last entry that is there now; False if something stays pending."""
        self._beside = False  # What comes behind the last entry is left to others.
        self.step()
        last, group = self._queue.last_id_and_state()
        group_looks = 0
        while self._look.closed() is None:
            if self._intake.idle:
                if group is None:
                    if group_looks == NO_GROUP_LOOKS:
                        log.error("Redis does not show the consumer group that was made")
                        return False
                    group_looks += 1
                    clock.sleep(NO_GROUP_SEC)
                    self._look.at_once()
                elif ids.order(group.last_id) >= ids.order(last):
                    break
            try:
                self._intake.poll()
            except ReplyTooLarge as cut:
                self._reread(cut)
            self.step()
            group = self._queue.state()
        self._backlog.flush()
        return self._look.closed() is None and group is not None and group.pending == 0

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
        return self._look.closed() or self._look.unable

    # What a pass consists of ------------------------------------------------------------------

    def _do_chores(self) -> None:
        """What is due beside the plans: some ten round trips each second, between which new entries
        are served."""
        if self._chores is None:
            if not self._look.is_due:
                return
            self._chores = self._all_chores()
        begun = at = clock.monotonic()
        due_at = self._chores_due_at = self._chores_due_at or begun
        overdue = begun - due_at >= PUT_OFF_SEC
        if self._has_new() and not overdue:
            return
        for _ in self._chores:
            before, at = at, clock.monotonic()
            self._far += at - before >= FAR_SEC
            self._slow |= self._far >= FAR_TRIPS or at - before >= VERY_FAR_SEC
            if (not overdue or at - begun >= OVERDUE_SEC) and self._has_new():
                self._chores_due_at = at if overdue else due_at
                return
        self._chores, self._chores_due_at, self._far = None, None, 0

    def _has_new(self) -> bool:
        """True while new entries wait. Their read is sent before the chores go on, unless there is
        something else to serve first."""
        open_ = self._beside and self._look.closed() is None and self._intake.settled
        try:
            return self._intake.has_new(ask=self._slow or open_)
        except WireError:
            return False  # The look may mend it (no group); where not, the next read says so.

    def _all_chores(self) -> Iterator[None]:
        """Yields after about one round trip each."""
        if self._look.is_due:
            yield from self._look.steps()
            yield
        now = self._look.now_ms / 1000
        address = f"{self.metrics_addr}:{self.metrics_port}"
        self._heartbeat.beat(now, address, self._look.host_ahead_sec)
        yield
        if self._look.closed() is None:
            self._trim_decisions()
            yield
            if self._housekeeping_is_due():
                yield from self._housekeep()

    def warning(self) -> str | None:
        """What is wrong though permits are issued: plan ids by another clock, abandoned plans that
        can't be taken over; or None."""
        notes = [self._look.note] if self._look.note is not None else []
        if self._intake.claim_problem is not None:
            notes.append(f"abandoned plans can't be taken over: {self._intake.claim_problem}")
        return "; ".join(notes) or None

    def _serve(self, batch: Batch) -> None:
        if batch.skipped:
            self._backlog.note(batch)
        refused: list[str] = []
        if batch.redelivered:
            self._note_large()  # What ended a governor may be among these.
            refused, left = self._redelivery.serve(batch.redelivered, self._marks())
            self._intake.hand_back(left)
        refused += self._judge.serve(batch.fresh, self._marks())
        self._note_large()
        if refused:
            self._intake.retry_later()
            self._look.soon()
        elif self._intake.settled:
            self._judge.forget_refusals()

    def _note_large(self) -> None:
        if large := self._queue.large():
            self._large.note(large)

    def _marks(self) -> ServerMarks:
        return self._look.marks(0 if self._decisions is None else self._decisions.maxlen)

    def _trim_decisions(self) -> None:
        at = clock.monotonic()
        if self._decisions is None or (self._trimmed_at and at - self._trimmed_at < TRIM_SEC):
            return
        self._trimmed_at = at
        try:
            self._decisions.trim(self._look.now_ms)
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
