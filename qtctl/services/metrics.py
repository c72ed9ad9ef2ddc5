"""What the services count. Each has a registry of its own: two live in one process.

Source: sections 2 and 3 of the specification. Labels are bounded: a reason is a word of the
specification, a plan_id is never a label, and symbols are capped.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from qtctl import clock
from qtctl.domain.allocation import Proposal
from qtctl.domain.downsize import EffAction
from qtctl.domain.gates import Facts, Limits, lacking_input
from qtctl.domain.plans import Plan
from qtctl.domain.reasons import CLOSE_REASONS, SKIPPED_DECISIONS, EffReason, Kind, Reason, Verdict
from qtctl.wire.governor.commit import CommitResult
from qtctl.wire.schema.decision import CommitRequest

OTHER = "other"
"""The label of what is over the cap."""
BACKLOG = "backlog"
"""The `decision` label of entries that were too old to look at."""
LOOP_ERRORS = ("redis_unreachable", "redis_error", "exception")
"""What ends a pass; the supervisor counts it."""
ALLOCATION_ERRORS = ("efficiency", "target", "write", *LOOP_ERRORS)
GOVERNOR_ERRORS = (
    "efficiency", "commit", "trimmed", "tries", "housekeeping", "not_ready", *LOOP_ERRORS,
)  # fmt: skip
_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def _registry() -> CollectorRegistry:
    # The `_created` series would double what a person reads and nobody uses them.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return CollectorRegistry()


def _preset(counter: Counter, values: Iterable[Sequence[str]]) -> None:
    """A series that is there from the start, at 0, can be seen to grow and be alerted on."""
    for labels in values:
        counter.labels(*labels)


def _start_time(name: str, registry: CollectorRegistry) -> None:
    """So that what is counted right after a start, before the first scrape, can be told from what
    was counted long ago."""
    start = Gauge(name, "When these counters began at 0: a start, or a reload", registry=registry)
    start.set(clock.now())


class AllocationMetrics:
    """The nine of section 2, a gauge that tells when per-symbol series are left out, and one that
    tells when counting began."""

    def __init__(self, max_symbols: int) -> None:
        self.registry = _registry()
        own = self.registry
        self.loops = Counter("p29_shadow_loops", "Finished passes", registry=own)
        self.proposed = Counter(
            "p29_shadow_proposed", "Proposals by reason", ["reason"], registry=own
        )
        self.errors = Counter("p29_shadow_errors", "Errors by kind", ["kind"], registry=own)
        self.duration = Histogram(
            "p29_shadow_loop_duration_seconds", "Time of one pass", registry=own
        )
        self.symbols = Gauge(
            "p29_shadow_symbols", "Symbols proposed in the last pass", registry=own
        )
        self.last_success = Gauge(
            "p29_shadow_last_success_timestamp_seconds", "End of the last pass", registry=own
        )
        _start_time("p29_shadow_start_time_seconds", own)
        _preset(self.proposed, [(reason.value,) for reason in EffReason])
        _preset(self.errors, [(kind,) for kind in ALLOCATION_ERRORS])
        self._per_symbol = _PerSymbol(max_symbols)
        self.registry.register(self._per_symbol)

    def shows(self, symbols: int) -> bool:
        """Would so many symbols have series of their own."""
        return symbols <= self._per_symbol.most

    def passed(
        self, reasons: Mapping[EffReason, int], shown: Sequence[Proposal], now: float,
        seconds: float,
    ) -> None:  # fmt: skip
        """A pass is over: its proposals by reason, and those to be shown one by one (none where
        there are too many); now in epoch seconds."""
        count = sum(reasons.values())
        self.loops.inc()
        self.duration.observe(seconds)
        self.symbols.set(count)
        self.last_success.set(now)
        self._per_symbol.last = (shown, count)
        for reason, times in reasons.items():
            self.proposed.labels(reason).inc(times)


class _PerSymbol(Collector):
    """Rendered at scrape time from the last pass: a symbol's series go when the symbol goes, and
    its score series when the score goes."""

    def __init__(self, max_symbols: int) -> None:
        self.last: tuple[Sequence[Proposal], int] = ((), 0)
        self.most = max_symbols

    def collect(self) -> Iterator[GaugeMetricFamily]:
        # One pass: the loop may put the next in its place meanwhile.
        last, count = self.last
        left_out = count - len(last)
        multiplier = GaugeMetricFamily(
            "p29_shadow_multiplier", "Multiplier of the last pass", labels=["symbol"]
        )
        confidence = GaugeMetricFamily(
            "p29_shadow_eff_confidence", "Confidence of the score", labels=["symbol"]
        )
        score = GaugeMetricFamily(
            "p29_shadow_eff_score", "Capital-efficiency score", labels=["symbol"]
        )
        for proposal in last:
            label, efficiency = [proposal.symbol], proposal.efficiency
            multiplier.add_metric(label, proposal.multiplier)
            if efficiency.score is not None and efficiency.confidence is not None:
                score.add_metric(label, efficiency.score)
                confidence.add_metric(label, efficiency.confidence)
        yield from (multiplier, confidence, score)
        yield GaugeMetricFamily(
            "p29_shadow_symbol_series_left_out",
            "Symbols whose series are left out (metrics_max_symbols), else 0",
            value=left_out,
        )


class GovernorMetrics:
    """The metrics of section 3, and three more (docs/decisions.md): refusals by kind, the kill
    switch, when counting began."""

    def __init__(self, max_symbols: int) -> None:
        self.registry = _registry()
        own = self.registry
        self.eff_apply = Counter(
            "p32_eff_apply",
            "Permits by downsize action and reason",
            ["action", "reason"],
            registry=own,
        )
        self.eff_factor = Gauge("p32_eff_factor", "Last downsize factor", ["symbol"], registry=own)
        self.allow = Counter("quantum_govern_allow", "Permits by symbol", ["symbol"], registry=own)
        self.block = Counter(
            "quantum_govern_block", "Blocked plans by symbol and reason", ["symbol", "reason"],
            registry=own,
        )  # fmt: skip
        self.refused = Counter(
            "p32_refused",
            "Plans that asked for a permit and got none, by kind and reason",
            ["kind", "reason"],
            registry=own,
        )
        self.plan_to_permit = Histogram(
            "p32_plan_to_permit_seconds",
            "From the queue to the permit",
            buckets=_LATENCY,
            registry=own,
        )
        self.rejected = Counter(
            "p32_rejected", "Plans that can't be read", ["reason"], registry=own
        )
        self.gate_skipped = Counter(
            "p32_gate_skipped", "Gates that passed for want of input", ["gate"], registry=own
        )
        self.skipped = Counter(
            "p32_skipped", "Plans acknowledged without a verdict", ["decision"], registry=own
        )
        self.pending = Gauge(
            "p32_pending_plans", "Entries the group has not acknowledged", registry=own
        )
        self.lag = Gauge(
            "p32_group_lag", "Entries the group has not read; NaN is unknown", registry=own
        )
        self.kill_level = Gauge(
            "p32_kill_switch_level", "0 normal, 1 only closes pass, 2 all is stopped", registry=own
        )
        self.errors = Counter("p32_errors", "Errors by kind", ["kind"], registry=own)
        self.last_success = Gauge(
            "p32_last_success_timestamp_seconds", "End of the last pass", registry=own
        )
        _preset(self.eff_apply, [(EffAction.NONE.value, reason.value) for reason in EffReason])
        _preset(self.eff_apply, [(EffAction.DOWNSIZE.value, EffReason.OK.value)])
        _preset(self.rejected, [(Reason.INVALID_PLAN.value,)])
        _preset(self.refused, _refusals())
        _preset(self.skipped, [(decision,) for decision in (*SKIPPED_DECISIONS, OTHER, BACKLOG)])
        _preset(self.gate_skipped, [(gate,) for gate in _skippable()])
        _preset(self.errors, [(kind,) for kind in GOVERNOR_ERRORS])
        _start_time("p32_start_time_seconds", own)
        self._symbols: set[str] = set()
        self._max_symbols = max_symbols
        self.lag.set(math.nan)
        # Looking a series up by its labels costs more than counting it.
        self._allow_of = cache(self.allow.labels)
        self._eff_factor_of = cache(self.eff_factor.labels)
        self._eff_apply_of = cache(self.eff_apply.labels)
        self._gate_skipped_of = cache(self.gate_skipped.labels)

    def count(self, request: CommitRequest, result: CommitResult, limits: Limits) -> None:
        """A plan was settled. A replay counts as nothing: the first result was counted."""
        plan = request.plan
        if result.verdict is Verdict.SKIPPED:
            known = plan.decision in SKIPPED_DECISIONS
            self.skipped.labels(plan.decision if known else OTHER).inc()
        if result.facts:
            for gate in lacking_input(_facts_of(plan), limits):
                self._gate_skipped_of(gate).inc()
        if result.verdict is Verdict.BLOCKED:
            self.block.labels(self._label(plan.symbol), result.reason.value).inc()
            if plan.execute:
                self.refused.labels(plan.kind.value, result.reason.value).inc()
        if result.verdict is Verdict.PERMITTED:
            symbol, hint = self._label(plan.symbol), request.hint
            self._allow_of(symbol).inc()
            self._eff_factor_of(symbol).set(hint.factor)
            self._eff_apply_of(hint.action, hint.efficiency.reason).inc()
            self.plan_to_permit.observe(max(0.0, float(result.facts["queue_age_sec"])))

    def count_rejected(self, kind: Kind | None) -> None:
        """An unreadable plan was rejected; kind: of the permit that it asked for, if any."""
        self.rejected.labels(Reason.INVALID_PLAN.value).inc()
        if kind is not None:
            self.refused.labels(kind.value, Reason.INVALID_PLAN.value).inc()

    def _label(self, symbol: str) -> str:
        """The label of a symbol that a plan claims: itself, or `other` once there are too many."""
        if symbol not in self._symbols:
            if len(self._symbols) >= self._max_symbols:
                return OTHER
            self._symbols.add(symbol)
        return symbol

    def group(self, pending: int, lag: int | None) -> None:
        """How the consumer group stands; lag None is unknown."""
        self.pending.set(pending)
        self.lag.set(math.nan if lag is None else lag)


def _refusals() -> Iterator[tuple[str, str]]:
    """Every (kind, reason) that there can be."""
    for reason in Reason:
        if reason is not Reason.OK:
            yield Kind.OPEN.value, reason.value
        if reason in CLOSE_REASONS:
            yield Kind.CLOSE.value, reason.value


def _facts_of(plan: Plan) -> Facts:
    """What is known of a plan before the atomic step."""
    return Facts(
        symbol=plan.symbol,
        kind=plan.kind,
        queue_age_sec=0.0,
        plan_age_sec=None if plan.at is None else 0.0,
        kill_score=plan.kill_score,
        qty=plan.qty,
        price=plan.price,
    )


def _skippable() -> tuple[str, ...]:
    """The gates that may lack their input: those that an open without anything goes past."""
    return lacking_input(Facts(symbol="", kind=Kind.OPEN, queue_age_sec=0.0), Limits())
