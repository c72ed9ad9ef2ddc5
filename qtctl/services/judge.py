"""A batch of plan entries from the queue to the end: read, judged in the atomic step, counted.

Source: section 3 of the specification.
"""

import logging
from collections.abc import Sequence

import msgspec

from qtctl import __version__
from qtctl.domain import plans
from qtctl.domain.downsize import DownsizeRules, Hint, hint
from qtctl.domain.gates import Facts, Limits, lacking_input
from qtctl.domain.plans import Plan, PlanRules, Unreadable
from qtctl.domain.readings import MISSING, Efficiency, assess
from qtctl.domain.reasons import SKIPPED_DECISIONS, EffReason, Reason, Verdict
from qtctl.errors import WireError
from qtctl.logs import Line, log_batch
from qtctl.services.metrics import OTHER, GovernorMetrics
from qtctl.services.problem_log import ProblemLog
from qtctl.wire.allocation import scores
from qtctl.wire.client.store import Store
from qtctl.wire.governor.commit import CommitResult, CommitSettings, commit
from qtctl.wire.governor.plan_queue import Entry, PlanQueue
from qtctl.wire.schema.decision import CommitRequest
from qtctl.wire.schema.keys import EFFICIENCY

log = logging.getLogger("qtctl.governor")
decisions_log = logging.getLogger("qtctl.decisions")
"""The audit trail: one line per decision with all that it rests on."""

MAX_REFUSALS = 100
"""So many different refusals are told; then there is a line that says so, and silence."""


class Rules(msgspec.Struct, frozen=True):
    """All that a judgement goes by. limits_digest names what lies in governor:limits:*."""

    plans: PlanRules
    limits: Limits
    downsize: DownsizeRules
    commit: CommitSettings
    limits_digest: str
    instance: str


class Judge:
    """Serves batches of entries. An entry that Redis refused to settle stays pending; its id is
    in what `serve` returns, to be tried again."""

    def __init__(
        self, store: Store, queue: PlanQueue, rules: Rules, metrics: GovernorMetrics
    ) -> None:
        self._store = store
        self._queue = queue
        self._rules = rules
        self._metrics = metrics
        self._scores_bad = ProblemLog(log, "efficiency score")
        self._refusals: set[str] = set()

    def serve(
        self, entries: Sequence[Entry], now: float, server_since_ms: int, attempt: int = 1
    ) -> list[str]:
        """One batch, in its order; the ids of what stays pending. Errors: RedisUnreachable.

        attempt: the how manieth try this is at them.
        """
        gone = [entry.id for entry in entries if entry.raw is None]
        if gone:
            # Trimmed from the stream while it was pending: there is nothing left to judge.
            self._queue.acknowledge(gone)
            self._metrics.errors.labels("trimmed").inc(len(gone))
        readable: list[tuple[Entry, Plan]] = []
        unreadable: list[tuple[Entry, str]] = []
        for entry in entries:
            if entry.raw is None:
                continue
            plan = self._read(entry)
            if isinstance(plan, Unreadable):
                unreadable.append((entry, plan.problem))
            else:
                readable.append((entry, plan))
        return self.reject(unreadable) + self._judge(readable, now, server_since_ms, attempt)

    def _read(self, entry: Entry) -> Plan | Unreadable:
        return plans.read(entry.fields(), self._rules.plans)

    def reject(self, unreadable: Sequence[tuple[Entry, str]]) -> list[str]:
        """Keeps these (entry, what is wrong) in `governor.rejected`; the ids of what stays pending.

        Errors: RedisUnreachable.
        """
        if not unreadable:
            return []
        replies = self._queue.reject(unreadable, self._rules.commit.events_maxlen)
        failed, lines = [], []
        for (entry, problem), reply in zip(unreadable, replies, strict=True):
            if isinstance(reply, WireError):
                failed.append(self._refused(entry.id, reply))
                continue
            if reply == b"gone":
                continue  # Another governor kept, counted and told it.
            self._metrics.rejected.labels(Reason.INVALID_PLAN.value).inc()
            asked = plans.asked(entry.fields(), self._rules.plans)
            if asked is not None:
                self._metrics.refused.labels(asked.value, Reason.INVALID_PLAN.value).inc()
            lines.append(
                ("plan rejected", {"entry_id": entry.id, "reason": "invalid_plan",
                                   "problem": problem})
            )  # fmt: skip
        log_batch(decisions_log, logging.WARNING, lines)
        return failed

    def _judge(
        self,
        readable: Sequence[tuple[Entry, Plan]],
        now: float,
        server_since_ms: int,
        attempt: int,
    ) -> list[str]:
        if not readable:
            return []
        hints = self._hints([plan for _, plan in readable if plan.execute], now)
        neutral = hint(MISSING, self._rules.downsize)
        cases = [
            CommitRequest(
                plan,
                entry.id,
                hints.get(plan.symbol, neutral),
                entry.deliveries,
                attempt,
                self._rules.instance,
                __version__,
                self._rules.limits_digest,
            )
            for entry, plan in readable
        ]
        failed: list[str] = []
        lines: list[Line] = []
        told = decisions_log.isEnabledFor(logging.INFO)
        # The server is still at the next plans while these are counted.
        for case, outcome in commit(self._store, cases, self._rules.commit, server_since_ms):
            if isinstance(outcome, WireError):
                failed.append(self._refused(case.entry_id, outcome))
                continue
            self._count(case, outcome)
            if told and outcome.verdict in (Verdict.PERMITTED, Verdict.BLOCKED):
                lines.append((f"plan {outcome.verdict.value}", _line(case, outcome)))
        log_batch(decisions_log, logging.INFO, lines)
        return failed

    def _hints(self, wanted: Sequence[Plan], now: float) -> dict[str, Hint]:
        """The downsize hint for each symbol; what can't be read never blocks."""
        rules = self._rules.downsize
        symbols = sorted({plan.symbol for plan in wanted})
        bad: dict[str, str] = {}
        hints: dict[str, Hint] = {}
        readings = scores.efficiencies(self._store, symbols)
        for symbol, raw in zip(symbols, readings, strict=True):
            efficiency: Efficiency = assess(raw, now, rules.eff_ttl_sec, rules.min_conf)
            if efficiency.reason is EffReason.UNUSABLE:
                bad[self._store.keys.at(EFFICIENCY, symbol)] = efficiency.problem
            hints[symbol] = hint(efficiency, rules)
        self._scores_bad.update(bad, [self._store.keys.at(EFFICIENCY, s) for s in symbols])
        if bad:
            self._metrics.errors.labels("efficiency").inc(len(bad))
        return hints

    def _refused(self, entry_id: str, problem: WireError) -> str:
        self._metrics.errors.labels("commit").inc()
        # Tried again every half second: one line for each thing that Redis says is enough.
        if str(problem) not in self._refusals and len(self._refusals) <= MAX_REFUSALS:
            self._refusals.add(str(problem))
            if len(self._refusals) > MAX_REFUSALS:
                log.error("more plans stay pending; they are counted only")
            else:
                fields = {"entry_id": entry_id, "problem": problem}
                log.error("plan stays pending", extra={"fields": fields})
        return entry_id

    def settled(self) -> None:
        """Nothing that Redis refused is left: a refusal from now on is told again."""
        self._refusals.clear()

    def _count(self, case: CommitRequest, outcome: CommitResult) -> None:
        metrics, plan = self._metrics, case.plan
        if outcome.verdict is Verdict.SKIPPED:
            known = plan.decision in SKIPPED_DECISIONS
            metrics.skipped.labels(plan.decision if known else OTHER).inc()
            return
        if outcome.verdict is Verdict.REPLAY:
            return
        symbol = metrics.symbol(plan.symbol)
        if outcome.facts:
            metrics.lacked(lacking_input(_static_facts(plan), self._rules.limits))
        if outcome.verdict is Verdict.BLOCKED:
            metrics.block.labels(symbol, outcome.reason.value).inc()
            if plan.execute:
                metrics.refused.labels(plan.kind.value, outcome.reason.value).inc()
            return
        metrics.permitted(symbol, case.hint, float(outcome.facts["queue_age_sec"]))


def _static_facts(plan: Plan) -> Facts:
    return Facts(
        symbol=plan.symbol,
        kind=plan.kind,
        queue_age_sec=0.0,
        plan_age_sec=None if plan.at is None else 0.0,
        kill_score=plan.kill_score,
        qty=plan.qty,
        price=plan.price,
    )


def _line(case: CommitRequest, outcome: CommitResult) -> dict[str, str]:
    """The audit line of a decision: what a person looks for first, then everything else."""
    known = dict(zip(outcome.static[::2], outcome.static[1::2], strict=True))
    first = {
        "plan_id": case.plan.plan_id,
        "symbol": case.plan.symbol,
        "reason": outcome.reason.value,
        "kind": known["kind"],
    }
    if outcome.withdrawn:
        first["withdrawn"] = "1"
    facts = {name: value for name, value in (known | outcome.facts).items() if value}
    return first | {name: value for name, value in facts.items() if name not in first}
