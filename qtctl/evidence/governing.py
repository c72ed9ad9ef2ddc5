"""The governor through a window: what was permitted and what each gate held, what downsizing would
take off, which closes were refused, and how long plans were queued."""

from array import array
from collections import Counter
from collections.abc import Collection
from functools import cache

import msgspec

from qtctl.domain.facts import unrecorded
from qtctl.domain.names import PROOF_SYMBOLS
from qtctl.domain.reasons import Reason
from qtctl.evidence.gate_price import Price, Prices
from qtctl.evidence.in_use import InUse
from qtctl.evidence.quantiles import quantile
from qtctl.evidence.window import Window
from qtctl.history.decisions import Decision
from qtctl.history.reader import History

PROOF_SOURCE = "qtctl-proof"
"""The source of plans that proofs send."""
SEED_MS = 3_600_000
"""What a decision of the window may rest on: the permits of an hour before it."""
_NO_REFUSAL = (Reason.DUPLICATE_PLAN, Reason.PLAN_CONFLICT)


class Verdicts(msgspec.Struct):
    """How many plans a gate held, or none did (`ok`). usd: Σ of their notional, of `known` plans
    whose notional is known; None where that is none of them."""

    reason: str
    kind: str
    plans: int = 0
    known: int = 0
    usd: float | None = None


class Downsizes(msgspec.Struct):
    """Permits of opens: how many came with a hint to downsize, and what that would take off: Σ of
    notional × (1 − factor), of `known` permits whose notional is known; usd: their notional; both
    None where none is known."""

    opens: int = 0
    downsized: int = 0
    known: int = 0
    usd: float | None = None
    off_usd: float | None = None
    cooldown_sec: int = 0


class Refused(msgspec.Struct, frozen=True):
    """A close that was refused though nothing stopped everything: there should be none."""

    at_ms: int
    plan_id: str
    symbol: str
    reason: str


class Latency(msgspec.Struct, frozen=True):
    """How long plans were queued until they were judged; of `known` plans, where that is known."""

    known: int
    unknown: int
    p50_sec: float | None
    p99_sec: float | None
    max_sec: float | None


class Governor(msgspec.Struct, frozen=True):
    """The figures. plans: decisions, duplicates and conflicts among them; rejected: plans that
    could not be read, which are not among them; None where only some symbols are asked for, since
    such a plan need not have one."""

    plans: int
    permitted: int
    blocked: int
    withdrawn: int
    rejected: int | None
    verdicts: list[Verdicts]
    downsizes: Downsizes
    prices: list[Price]
    closes: int
    refused: list[Refused]
    latency: Latency


class Governing:
    """Takes in the decisions of a window. What proofs did is left out."""

    def __init__(self, history: History, window: Window, symbols: Collection[str] = ()) -> None:
        self._history, self.window, self._symbols = history, window, symbols
        self._verdicts: dict[tuple[str, str], Verdicts] = {}
        self._downsizes = Downsizes()
        self._prices = Prices()
        self._queued = array("q")
        self._unqueued = self._closes = 0
        self._refused: list[Refused] = []
        self._limits = cache(history.limits)
        self._counts: Counter[str] = Counter()
        self._in_use = InUse("governor", "version", "limits")
        self.changes = self._in_use.changes
        self.limits = ""
        """The digest of the limits in force at the end; "" without decisions."""
        self.times: list[tuple[int, str]] = []
        """When each plan was judged, and the reason: `ok` for a permit."""
        self.symbols: set[str] = set()
        """Those that had a plan."""

    def read(self) -> Governor:
        """All of the window."""
        since = self.window.since_ms
        for each in self._history.decisions(since - SEED_MS, self.window.until_ms, self._symbols):
            if each.symbol.startswith(PROOF_SYMBOLS) or each.profile.source == PROOF_SOURCE:
                continue
            if each.at_ms >= since:
                self.add(each)
            if each.verdict == "permitted" and each.kind == "open":
                self._prices.permitted(each.symbol, each.decided_ms)
        return self._governor()

    def add(self, each: Decision) -> None:
        """A decision of the window."""
        profile = each.profile
        permitted = each.verdict == "permitted"
        self._counts["plans"] += 1
        self._counts[each.verdict] += 1
        self._counts["withdrawn"] += profile.withdrawn == "1"
        self.times.append((each.at_ms, each.reason))
        self.symbols.add(each.symbol)
        key = (each.reason, each.kind)
        row = self._verdicts.get(key) or self._verdicts.setdefault(key, Verdicts(*key))
        row.plans += 1
        usd = each.notional_usd
        if usd is not None:
            row.known += 1
            row.usd = (row.usd or 0.0) + usd
        if each.queue_age_ms is None:
            self._unqueued += 1
        else:
            self._queued.append(each.queue_age_ms)
        self._in_use.note(each.at_ms, profile.instance, profile.version, profile.limits)
        self.limits = profile.limits
        if each.kind == "close":
            self._close(each)
        elif permitted:
            self._permitted_open(each)
        else:
            self._blocked_open(each)
        if profile.kill_level == "0":
            self._prices.passed_kill_switch(each.symbol, each.decided_ms)

    def _close(self, each: Decision) -> None:
        self._closes += 1
        stopped = each.reason == Reason.KILL_SWITCH and each.profile.kill_level == "2"
        if each.verdict != "permitted" and each.reason not in _NO_REFUSAL and not stopped:
            self._refused.append(Refused(each.at_ms, each.plan_id, each.symbol, each.reason))

    def _permitted_open(self, each: Decision) -> None:
        found = self._downsizes
        found.opens += 1
        if each.profile.eff_action != "DOWNSIZE":
            return
        found.downsized += 1
        found.cooldown_sec += each.extra_cooldown_sec or 0
        if each.notional_usd is not None and each.factor is not None:
            found.known += 1
            found.usd = (found.usd or 0.0) + each.notional_usd
            found.off_usd = (found.off_usd or 0.0) + each.notional_usd * (1 - each.factor)

    def _blocked_open(self, each: Decision) -> None:
        if each.reason in _NO_REFUSAL:
            return
        record = each.record()
        limits = None if unrecorded(record) else self._limits(each.profile.limits)
        self._prices.blocked(each.facts(), limits, each.reason, each.decided_ms)

    def _governor(self) -> Governor:
        counts, window = self._counts, self.window
        rejected = self._history.rejected(window.since_ms, window.until_ms)
        queued = sorted(self._queued)
        p50, p99, most = (quantile(queued, share) for share in (0.5, 0.99, 1.0))
        return Governor(
            plans=counts["plans"],
            permitted=counts["permitted"],
            blocked=counts["plans"] - counts["permitted"],
            withdrawn=counts["withdrawn"],
            rejected=None if self._symbols else sum(1 for _ in rejected),
            verdicts=sorted(
                self._verdicts.values(), key=lambda row: (row.reason != "ok", -row.plans, row.kind)
            ),
            downsizes=self._downsizes,
            prices=self._prices.prices(),
            closes=self._closes,
            refused=self._refused,
            latency=Latency(len(queued), self._unqueued, _sec(p50), _sec(p99), _sec(most)),
        )


def _sec(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000
