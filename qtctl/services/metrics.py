"""What the services count. Each service has a registry of its own, since one process hosts two.

Labels are bounded: reasons are a fixed set, symbols are capped, and a plan_id is never a label.
All series: docs/monitoring.md.
"""

import math
from collections import Counter as Counts
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from qtctl import clock, logs
from qtctl.domain.allocation import Proposal
from qtctl.domain.downsize import EffAction
from qtctl.domain.gates import CLOSE_REASONS, Facts, Limits, lacking_input
from qtctl.domain.names import PROOF_SYMBOLS
from qtctl.domain.reasons import SKIPPED_DECISIONS, EffReason, Kind, Reason, Verdict
from qtctl.wire.control.forgotten import How
from qtctl.wire.control.kill_switch import KillKey, strictest
from qtctl.wire.governor.commit import CommitResult, known_facts
from qtctl.wire.governor.ledger import Open
from qtctl.wire.queries.plan_ids import AHEAD
from qtctl.wire.schema.decision import CommitRequest
from qtctl.wire.schema.keys import HALT_KEPT

OTHER = "other"
"""The label of everything over the cap."""
PLAN_ID_UNITS = {"s": "s", "µs": "us", "ns": "ns", AHEAD: "ahead"}
FACTOR_KEPT_SEC, PROOF_KEPT_SEC = 3600.0, 60.0
"""How long the last downsize factor of a symbol is shown; of one of a proof, which checks it."""
BACKLOG = "backlog"
"""The `decision` label of entries skipped as too old."""
LOOP_ERRORS = ("redis_unreachable", "redis_error", "exception")
"""Errors that end a pass; the supervisor reports them."""
ALLOCATION_ERRORS = ("efficiency", "target", "write", "discovery", "history", *LOOP_ERRORS)
GOVERNOR_ERRORS = (
    "efficiency", "commit", "last_close", "trimmed", "tries", "housekeeping", "not_ready", "group",
    "clock_jump", "claim", "event", "history",
    *LOOP_ERRORS,
)  # fmt: skip
_CLOCK_AHEAD = "The clock of this host less the Redis server's, as far as it matters"
_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def new_registry() -> CollectorRegistry:
    # The `_created` series are of no use and would double the length of the page.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    registry.register(ProcessLosses())
    return registry


class ProcessLosses(Collector):
    """What the whole process has lost; all of its ports show the same."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(
            "qtctl_log_lines_dropped",
            "Lines that the process lost because nobody read its log",
            value=logs.dropped(),
        )


def preset(counter: Counter, values: Iterable[Sequence[str]]) -> None:
    """Creates series at 0: an alert can only see an increase in a series that was there before."""
    for labels in values:
        counter.labels(*labels)


def start_time(name: str, registry: CollectorRegistry) -> None:
    """Tells apart what was counted since a start from what was counted long before."""
    start = Gauge(name, "When these counters began at 0: a start, or a reload", registry=registry)
    start.set(clock.now())


class AllocationMetrics:
    """The metrics of the allocation loop."""

    def __init__(self, max_symbols: int) -> None:
        self.registry = own = new_registry()
        counter, gauge = partial(Counter, registry=own), partial(Gauge, registry=own)
        self.loops = counter("p29_shadow_loops", "Finished passes")
        self.proposed = counter("p29_shadow_proposed", "Proposals by reason", ["reason"])
        self.errors = counter("p29_shadow_errors", "Errors by kind", ["kind"])
        self.duration = Histogram(
            "p29_shadow_loop_duration_seconds", "Time of one pass", registry=own
        )
        self.symbols = gauge("p29_shadow_symbols", "Symbols proposed in the last pass")
        self.last_success = gauge(
            "p29_shadow_last_success_timestamp_seconds", "End of the last pass"
        )
        start_time("p29_shadow_start_time_seconds", own)
        preset(self.proposed, [(reason.value,) for reason in EffReason])
        preset(self.errors, [(kind,) for kind in ALLOCATION_ERRORS])
        self.clock_ahead = gauge("p29_shadow_host_clock_ahead_seconds", _CLOCK_AHEAD)
        self.by_scan = gauge(
            "p29_shadow_discovery_by_scan",
            "1 while each pass looks for new targets by SCAN, because Redis does not report them",
        )
        self._per_symbol = _PerSymbol(max_symbols)
        self.registry.register(self._per_symbol)

    def shows(self, symbols: int) -> bool:
        """True if this many symbols get series of their own."""
        return symbols <= self._per_symbol.most

    def passed(
        self, reasons: Mapping[EffReason, int], shown: Sequence[Proposal], now: float,
        seconds: float,
    ) -> None:  # fmt: skip
        """Counts a finished pass: its proposals by reason, and those with series of their own (none
        where there are too many symbols); now in epoch seconds."""
        count = sum(reasons.values())
        self.loops.inc()
        self.duration.observe(seconds)
        self.symbols.set(count)
        self.last_success.set(now)
        self._per_symbol.last = (shown, count)
        for reason, times in reasons.items():
            self.proposed.labels(reason).inc(times)


class _PerSymbol(Collector):
    """Rendered at scrape time from the last pass: the series of a symbol disappear with the symbol,
    and its score series with the score."""

    def __init__(self, max_symbols: int) -> None:
        self.last: tuple[Sequence[Proposal], int] = ((), 0)
        self.most = max_symbols

    def collect(self) -> Iterator[GaugeMetricFamily]:
        # Read once: the loop may replace it with the next pass at any time.
        last, count = self.last
        left_out = count - len(last)
        family = partial(GaugeMetricFamily, labels=["symbol"])
        multiplier = family("p29_shadow_multiplier", "Multiplier of the last pass")
        confidence = family("p29_shadow_eff_confidence", "Confidence of the score")
        score = family("p29_shadow_eff_score", "Capital-efficiency score")
        for proposal in last:
            label = [proposal.symbol]
            multiplier.add_metric(label, proposal.multiplier)
            if proposal.score is not None and proposal.confidence is not None:
                score.add_metric(label, proposal.score)
                confidence.add_metric(label, proposal.confidence)
        yield from (multiplier, confidence, score)
        yield GaugeMetricFamily(
            "p29_shadow_symbol_series_left_out",
            "Symbols whose series are left out (metrics_max_symbols), else 0",
            value=left_out,
        )


class GovernorMetrics:
    """The metrics of the governor."""

    def __init__(self, max_symbols: int) -> None:
        self.registry = own = new_registry()
        counter, gauge = partial(Counter, registry=own), partial(Gauge, registry=own)
        self.eff_apply = counter(
            "p32_eff_apply", "Permits by downsize action and reason", ["action", "reason"]
        )
        self.allow = counter("quantum_govern_allow", "Permits by symbol", ["symbol"])
        self.block = counter(
            "quantum_govern_block", "Blocked plans by symbol and reason", ["symbol", "reason"]
        )
        self.refused = counter(
            "p32_refused",
            "Plans that asked for a permit and got none, by kind and reason",
            ["kind", "reason"],
        )
        self.plan_to_permit = Histogram(
            "p32_plan_to_permit_seconds", "From the queue to the permit", buckets=_LATENCY,
            registry=own,
        )  # fmt: skip
        self.rejected = counter("p32_rejected", "Plans that can't be read", ["reason"])
        self.gate_skipped = counter(
            "p32_gate_skipped", "Gates that passed for want of input", ["gate"]
        )
        self.skipped = counter("p32_skipped", "Plans acknowledged without a verdict", ["decision"])
        self.queue_age_unknown = counter(
            "p32_queue_age_unknown", "Permits of closes whose entry id is by another clock"
        )
        self.plan_ids_off = gauge(
            "p32_plan_ids_off", "1 while the last plan's id is not in ms by Redis's clock", ["unit"]
        )
        self.pending = gauge("p32_pending_plans", "Entries the group has not acknowledged")
        self.lag = gauge("p32_group_lag", "Entries the group has not read; NaN is unknown")
        self.kill_level = gauge(
            "p32_kill_switch_level", "0 normal, 1 only closes pass, 2 all is stopped"
        )
        self.halt_kept = gauge(
            "p32_halt_kept_level",
            "The halt that a governor kept when Redis forgot it: 0 none, 1 opens, 2 everything",
        )
        self.emptied = counter(
            "p32_redis_emptied", "Redis was found without what the governors knew", ["how"]
        )
        self.set_back = counter(
            "p32_group_set_back", "The group lay ahead of the stream, and was set back"
        )
        self.large = counter("p32_large_entries", "Plans of over 64 KiB that were read")
        self.clock_steps = counter(
            "p32_clock_steps", "Steps of the Redis server's clock by over 5 s", ["direction"]
        )
        self.clock_jump = gauge(
            "p32_clock_jump", "1 while a jump of the server's clock stops opens"
        )
        self.clock_ahead = gauge("p32_host_clock_ahead_seconds", _CLOCK_AHEAD)
        self.step_refused = gauge(
            "p32_step_refused", "1 while Redis refuses something that the atomic step needs"
        )
        self.errors = counter("p32_errors", "Errors by kind", ["kind"])
        self.last_success = gauge("p32_last_success_timestamp_seconds", "End of the last pass")
        self._emptied: dict[How, int] = {}
        preset(self.eff_apply, [(EffAction.NONE.value, reason.value) for reason in EffReason])
        preset(self.eff_apply, [(EffAction.DOWNSIZE.value, EffReason.OK.value)])
        preset(self.rejected, [(Reason.INVALID_PLAN.value,)])
        reasons = [reason for reason in Reason if reason is not Reason.OK]
        preset(self.refused, [(Kind.OPEN.value, reason.value) for reason in reasons])
        preset(self.refused, [(Kind.CLOSE.value, reason.value) for reason in CLOSE_REASONS])
        preset(self.skipped, [(decision,) for decision in (*SKIPPED_DECISIONS, OTHER, BACKLOG)])
        bare_open = Facts(symbol="", kind=Kind.OPEN, queue_age_sec=0.0)
        preset(self.gate_skipped, [(gate,) for gate in lacking_input(bare_open, Limits())])
        preset(self.emptied, [(how.value,) for how in How])
        preset(self.clock_steps, [("forward",), ("backward",)])
        preset(self.errors, [(kind,) for kind in GOVERNOR_ERRORS])
        start_time("p32_start_time_seconds", own)
        self._opens = _Opens()
        own.register(self._opens)
        self.eff_factor = _Factors()
        own.register(self.eff_factor)
        self._symbols: set[str] = set()
        self._max_symbols = max_symbols
        self.lag.set(math.nan)
        self.plan_ids(None)
        # Looking up a series by its labels costs more than counting.
        self._allow_of = cache(self.allow.labels)
        self._eff_apply_of = cache(self.eff_apply.labels)
        self._gate_skipped_of = cache(self.gate_skipped.labels)

    def halted(self, rows: Sequence[KillKey], emptied: Mapping[How, int]) -> None:
        """The kill switch as it stands, and how often Redis had forgotten since the start."""
        self.clock_jump.set(any(row.by_clock for row in rows))
        decisive = strictest(row for row in rows if not row.by_clock)
        self.kill_level.set(0 if decisive is None else decisive.mode.level)
        kept = [row.mode.level for row in rows if row.key.endswith(HALT_KEPT.template)]
        self.halt_kept.set(max(kept, default=0))
        for how, times in emptied.items():
            series = self.emptied.labels(how.value)
            series.inc(times - self._emptied.get(how, 0))
        self._emptied = dict(emptied)

    def count(self, request: CommitRequest, result: CommitResult, limits: Limits) -> None:
        """Counts a settled plan; not a replay, whose first result was counted."""
        plan = request.plan
        if result.verdict is Verdict.SKIPPED:
            self.skipped.labels(plan.decision if plan.decision_known else OTHER).inc()
        if result.facts:
            for gate in lacking_input(known_facts(plan), limits):
                self._gate_skipped_of(gate).inc()
        if result.unwritten:
            self.errors.labels("last_close").inc()
        if result.unkept:
            self.errors.labels("history").inc()
        if result.verdict is Verdict.BLOCKED:
            self.block.labels(self._label(plan.symbol), result.reason.value).inc()
            if plan.execute:
                self.refused.labels(plan.kind.value, result.reason.value).inc()
        if result.verdict is Verdict.PERMITTED:
            symbol = self._label(plan.symbol)
            self._allow_of(symbol).inc()
            self.eff_factor.set(symbol, float(result.hint("eff_factor")))
            self._eff_apply_of(result.hint("eff_action"), result.hint("eff_reason")).inc()
            if result.facts["queue_age_sec"]:
                self.plan_to_permit.observe(max(0.0, float(result.facts["queue_age_sec"])))
            else:
                self.queue_age_unknown.inc()

    def count_rejected(self, kind: Kind | None) -> None:
        """Counts a rejected plan; kind: of the permit that it asked for, if any."""
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
        """The state of the consumer group; lag None is unknown."""
        self.pending.set(pending)
        self.lag.set(math.nan if lag is None else lag)

    def plan_ids(self, unit: str | None) -> None:
        """The unit that plan ids are in where it is the wrong one, or `ahead`; None while all is
        well."""
        for each, label in PLAN_ID_UNITS.items():
            self.plan_ids_off.labels(label).set(each == unit)

    def opened(self, opens: Sequence[Open], now: float) -> None:
        """The opens of the last hour, by every governor; now: epoch seconds."""
        labelled = [(at, self._label(symbol.upper()) if symbol else OTHER) for at, symbol in opens]
        self._opens.last = labelled, now - clock.monotonic()


class _Factors(Collector):
    """The last factor of each symbol, for as long as it says something: a symbol that no permit was
    issued for goes, and one of a proof soon after it."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}

    def set(self, symbol: str, factor: float) -> None:
        """With the permit that was just issued."""
        self._last[symbol] = factor, clock.monotonic()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Those that are young enough."""
        now = clock.monotonic()
        family = GaugeMetricFamily("p32_eff_factor", "Last downsize factor", labels=["symbol"])
        for symbol, (factor, at) in sorted(self._last.copy().items()):
            if now - at > (PROOF_KEPT_SEC if symbol.startswith(PROOF_SYMBOLS) else FACTOR_KEPT_SEC):
                self._last.pop(symbol, None)
            else:
                family.add_metric([symbol], factor)
        yield family


class _Opens(Collector):
    """Rendered at scrape time, so that the counts fall as time passes though no plan comes."""

    def __init__(self) -> None:
        self.last: tuple[Sequence[Open], float] = ((), 0.0)
        self._shown: set[str] = set()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        opens, clock_ahead = self.last
        now = clock_ahead + clock.monotonic()
        self._shown |= {label for _, label in opens}
        for name, seconds in (("5min", 300.0), ("hour", 3600.0)):
            family = GaugeMetricFamily(
                f"quantum_govern_exec_count_{name}",
                f"Opens permitted in the last {'5 min' if name == '5min' else 'hour'}, by all "
                "governors",
                labels=["symbol"],
            )
            # What lies ahead of the clock does not count, as in the atomic step.
            counts = Counts(label for at, label in opens if -1.0 < now - at < seconds)
            for label in sorted(self._shown):
                family.add_metric([label], counts[label])
            yield family
