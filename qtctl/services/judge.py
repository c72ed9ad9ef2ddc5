"""A batch of plan entries, start to finish: read, judged in the atomic step, counted, logged."""

import logging
from collections.abc import Sequence

import msgspec

from qtctl import __version__
from qtctl.domain import plans
from qtctl.domain.downsize import DownsizeRules, hint
from qtctl.domain.gates import Limits
from qtctl.domain.names import ascii_upper
from qtctl.domain.plans import EXECUTE, Plan, PlanRules, Unreadable
from qtctl.domain.readings import MISSING, NOTHING_READ, AsRead, Efficiency, as_read, assess
from qtctl.domain.reasons import EffReason, Kind, Verdict
from qtctl.errors import WireError
from qtctl.logs import Line, log_batch
from qtctl.services.event_log import EventLog
from qtctl.services.metrics import GovernorMetrics
from qtctl.services.problem_log import ProblemLog
from qtctl.services.server_watch import RecentPermits
from qtctl.services.unknown_decisions import UnknownDecisions
from qtctl.wire.allocation import scores
from qtctl.wire.client.skimmer import Part
from qtctl.wire.client.store import Store
from qtctl.wire.governor.commit import (
    CommitResult,
    CommitSettings,
    ScoreUnread,
    ServerMarks,
    commit,
    packed_calls,
)
from qtctl.wire.governor.plan_queue import Entry, PlanQueue
from qtctl.wire.schema.decision import CommitRequest
from qtctl.wire.schema.keys import EFFICIENCY, LAST_CLOSE

log = logging.getLogger("qtctl.governor")
decisions_log = logging.getLogger("qtctl.decisions")
"""The audit trail: one line per decision with everything that it rests on."""

_NO_SCORE = MISSING, NOTHING_READ
"""Of a plan that is not carried out."""
TOO_LARGE = "the entry has more fields than memory allows"
MAX_REFUSALS = 100
"""Different refusals that are logged; after that one line says that the rest are only counted."""


class Rules(msgspec.Struct, frozen=True):
    """Everything that a plan is judged by. limits_json is the record in governor:limits:* that
    limits_digest names."""

    plans: PlanRules
    limits: Limits
    downsize: DownsizeRules
    commit: CommitSettings
    limits_json: bytes
    limits_digest: str
    instance: str


class Judge:
    """Serves batches of entries. An entry that Redis refused to settle stays pending; its id is
    returned, to be tried again. Errors of each method: RedisUnreachable."""

    def __init__(
        self, store: Store, queue: PlanQueue, rules: Rules, metrics: GovernorMetrics,
        events: EventLog,
    ) -> None:  # fmt: skip
        self._store = store
        self._queue = queue
        self._rules = rules
        self._metrics = metrics
        self._bad_scores = ProblemLog(log, "efficiency score")
        self._bad_closes = ProblemLog(log, "last close of a symbol")
        self._bad_history = ProblemLog(log, "stream of decisions")
        self._unkept = ""
        self._events = events
        self._unknown = UnknownDecisions(events)
        self._permitted = RecentPermits()
        self._refusals: set[str] = set()

    def serve(self, entries: Sequence[Entry], marks: ServerMarks, attempt: int = 1) -> list[str]:
        """Serves one batch in its order; the ids of what stays pending. attempt: 1 for the first
        try at these entries. marks: what is known of the server."""
        trimmed: list[str] = []
        unreadable: list[tuple[Entry, Unreadable]] = []
        readable: list[tuple[Entry, Plan]] = []
        for entry in entries:
            if entry.raw is None:
                trimmed.append(entry.id)
                continue
            plan = (
                plans.unreadable(TOO_LARGE, entry.fields(), self._rules.plans)
                if isinstance(entry.raw, Part)
                else plans.read(entry.fields(), self._rules.plans)
            )
            if isinstance(plan, Unreadable):
                unreadable.append((entry, plan))
            else:
                readable.append((entry, plan))
        if trimmed:
            self._drop_trimmed(trimmed)
        failed = self._reject(unreadable) if unreadable else []
        return failed + self._judge(readable, marks, attempt)

    def _drop_trimmed(self, trimmed: Sequence[str]) -> None:
        """Cut from the stream while they were pending: there is nothing left to judge."""
        self._queue.acknowledge(trimmed)
        self._metrics.errors.labels("trimmed").inc(len(trimmed))
        more = {"count": len(trimmed), "first": trimmed[0], "last": trimmed[-1]}
        log.error("plans were trimmed before they were judged", extra={"fields": more})
        self._events.write("trimmed", "trimmed", more)

    def rehearse(self, entry: Entry, marks: ServerMarks) -> None:
        """Goes the way of a plan up to its atomic step, which is packed and not sent: nothing is
        written, counted or logged."""
        plan = plans.read(entry.fields(), self._rules.plans)
        if isinstance(plan, Plan):  # One that an open must have more than never stops the loop.
            request = self._request(entry, plan, 1, None)
            for _ in packed_calls(self._store, [request], self._rules.commit, marks, []):
                """It is thrown away."""

    def reject(self, entry: Entry, problem: str) -> list[str]:
        """Rejects an entry unread; its id where it stays pending."""
        return self._reject([(entry, plans.unreadable(problem, entry.fields(), self._rules.plans))])

    def forget_refusals(self) -> None:
        """Nothing that Redis refused is left: a refusal from now on is logged again."""
        self._refusals.clear()

    def _reject(self, unreadable: Sequence[tuple[Entry, Unreadable]]) -> list[str]:
        """Keeps these in `governor.rejected`; the ids of what stays pending."""
        if not unreadable:
            return []
        rejections = [(entry, plan.problem) for entry, plan in unreadable]
        replies = self._queue.reject(rejections, self._rules.commit.events_maxlen)
        failed: list[str] = []
        lines: list[Line] = []
        for (entry, plan), reply in zip(unreadable, replies, strict=True):
            if isinstance(reply, WireError):
                failed.append(self._refused(entry.id, reply))
                continue
            if reply == b"gone":
                continue  # Another governor rejected, counted and logged it.
            self._metrics.count_rejected(plan.kind_if_executed)
            fields = {"entry_id": entry.id, "reason": "invalid_plan", "problem": plan.problem}
            lines.append(("plan rejected", fields))
        log_batch(decisions_log, logging.WARNING, lines)
        return failed

    def _judge(
        self, readable: Sequence[tuple[Entry, Plan]], marks: ServerMarks, attempt: int
    ) -> list[str]:
        """The verdict on each plan; the ids of what stays pending. The step reads the score, which
        saves a round trip; what it can't read, or what lies under another case of the symbol, is
        read here."""
        if not readable:
            return []
        here: list[Plan] = []
        for _, plan in readable:
            if plan.decision == EXECUTE and ascii_upper(plan.symbol) != plan.symbol:
                here.append(plan)
        efficiencies = self._efficiencies(here) if here else {}
        requests: list[CommitRequest] = []
        for entry, plan in readable:
            read = efficiencies.get(plan.symbol) if plan.decision == EXECUTE else _NO_SCORE
            requests.append(self._request(entry, plan, attempt, read))
        failed, unread = self._commit(requests, marks)
        if unread:
            efficiencies = self._efficiencies([request.plan for request in unread])
            given = [self._scored(each, efficiencies[each.plan.symbol]) for each in unread]
            failed += self._commit(given, marks)[0]
        self._permitted.forget_old()
        return failed

    def _request(
        self, entry: Entry, plan: Plan, attempt: int, read: tuple[Efficiency, AsRead] | None
    ) -> CommitRequest:
        """read: the score, None where the step reads it."""
        rules = self._rules
        request = CommitRequest(
            plan, entry.id, None, entry.deliveries, attempt, rules.instance, __version__,
            rules.limits_digest, self._permitted.has(entry.id, plan.plan_id),
        )  # fmt: skip
        return request if read is None else self._scored(request, read)

    def _scored(self, request: CommitRequest, read: tuple[Efficiency, AsRead]) -> CommitRequest:
        efficiency, score = read
        return msgspec.structs.replace(
            request, hint=hint(efficiency, self._rules.downsize), score=score
        )

    def _commit(
        self, requests: Sequence[CommitRequest], marks: ServerMarks
    ) -> tuple[list[str], list[CommitRequest]]:
        """Takes the verdicts and counts them; the ids of what stays pending, and the requests whose
        score is to be read here."""
        failed: list[str] = []
        unread: list[CommitRequest] = []
        lines: list[Line] = []
        unknown: list[Plan] = []
        # The server is still at the next plans while these are counted.
        for request, result in commit(self._store, requests, self._rules.commit, marks):
            if isinstance(result, WireError):
                failed.append(self._refused(request.entry_id, result))
                continue
            if isinstance(result, ScoreUnread):
                unread.append(request)
                continue
            self._note(request, result)
            if result.verdict is Verdict.SKIPPED and not request.plan.decision_known:
                unknown.append(request.plan)
            decided = result.verdict in (Verdict.PERMITTED, Verdict.BLOCKED)
            if decided and decisions_log.isEnabledFor(logging.INFO):
                lines.append((f"plan {result.verdict.value}", _audit_fields(request, result)))
        log_batch(decisions_log, logging.INFO, lines)
        if unknown:
            self._unknown.note(unknown)
        return failed, unread

    def _note(self, request: CommitRequest, result: CommitResult) -> None:
        """Counts a settled plan, and remembers what went with it."""
        plan = request.plan
        self._metrics.count(request, result, self._rules.limits)
        if result.verdict is Verdict.PERMITTED and plan.kind is Kind.OPEN:
            self._permitted.note(request.entry_id, plan.plan_id)
        if result.decided_at is not None and result.unkept != self._unkept:
            self._unkept = result.unkept
            key = self._store.keys.decisions
            self._bad_history.update({key: self._unkept} if self._unkept else {}, [key])
        if plan.full_close and result.verdict is Verdict.PERMITTED:
            key = self._store.keys.at(LAST_CLOSE, plan.symbol)
            self._bad_closes.update({key: result.unwritten} if result.unwritten else {}, [key])
        if request.hint is None and self._bad_scores.known:
            self._bad_scores.update({}, [self._store.keys.at(EFFICIENCY, plan.symbol)])

    def _efficiencies(self, wanted: Sequence[Plan]) -> dict[str, tuple[Efficiency, AsRead]]:
        """The efficiency of each symbol, as old as it is by the server's clock, and as it was read;
        a score that can't be read never blocks."""
        rules = self._rules.downsize
        symbols = sorted({plan.symbol for plan in wanted})
        keys = [self._store.keys.at(EFFICIENCY, symbol) for symbol in symbols]
        now, read = scores.efficiencies(self._store, keys)
        # Where nothing is there as sent, it counts for the symbol in upper case.
        other = {
            place: self._store.keys.at(EFFICIENCY, ascii_upper(symbol))
            for place, symbol in enumerate(symbols)
            if read[place] is None and ascii_upper(symbol) != symbol
        }
        for place, reading in zip(
            other, scores.efficiencies(self._store, [*other.values()])[1], strict=True
        ):
            keys[place], read[place] = other[place], reading
        found = [assess(each, now, rules.eff_ttl_sec, rules.min_conf) for each in read]
        bad = {
            key: efficiency.problem
            for key, efficiency in zip(keys, found, strict=True)
            if efficiency.reason is EffReason.UNUSABLE
        }
        self._bad_scores.update(bad, keys)
        if bad:
            self._metrics.errors.labels("efficiency").inc(len(bad))
        kept = [as_read(each, now) for each in read]
        return dict(zip(symbols, zip(found, kept, strict=True), strict=True))

    def _refused(self, entry_id: str, problem: WireError) -> str:
        self._metrics.errors.labels("commit").inc()
        # Tried again every half second: one line per different refusal is enough.
        if str(problem) not in self._refusals and len(self._refusals) <= MAX_REFUSALS:
            self._refusals.add(str(problem))
            if len(self._refusals) > MAX_REFUSALS:
                log.error("more plans stay pending; they are only counted")
            else:
                fields = {"entry_id": entry_id, "problem": problem}
                log.error("plan stays pending", extra={"fields": fields})
        return entry_id


def _audit_fields(request: CommitRequest, result: CommitResult) -> dict[str, str]:
    """The audit line of a decision: what a person looks for first, then everything else."""
    known = dict(zip(result.static[::2], result.static[1::2], strict=True))
    first = {
        "plan_id": request.plan.plan_id,
        "symbol": request.plan.symbol,
        "reason": result.reason.value,
        "kind": known["kind"],
    }
    if result.withdrawn:
        first["withdrawn"] = "1"
    facts = {name: value for name, value in (known | result.facts).items() if value}
    return first | {name: value for name, value in facts.items() if name not in first}
