"""What other settings change, added up: verdicts by gate, opens and money let through or held,
downsizes, and the decisions that change most. What is unknown is counted as that, and as nothing
else."""

from collections import Counter
from heapq import heappop, heappush

import msgspec

from qtctl.evidence.cases import Case
from qtctl.evidence.scenario import UNKNOWN, Outcome

MOST = 10


class Moved(msgspec.Struct):
    """Decisions of one kind that went one way: how many, what they are worth in USD, and of how
    many that is not known."""

    count: int = 0
    notional_usd: float = 0.0
    unknown_notional: int = 0

    def add(self, notional_usd: float | None) -> None:
        """One more."""
        self.count += 1
        if notional_usd is None:
            self.unknown_notional += 1
        else:
            self.notional_usd += notional_usd


class Downsizes(msgspec.Struct):
    """Permitted opens with a hint to downsize: recorded and replayed; added, prevented; and what
    the hints would take off, in USD."""

    recorded: int = 0
    replayed: int = 0
    added: int = 0
    prevented: int = 0
    recorded_off_usd: float = 0.0
    replayed_off_usd: float = 0.0


class Tally(msgspec.Struct):
    """Decisions as recorded beside the same replayed. verdicts: by recorded and replayed reason,
    `unknown` and `skipped` among the replayed. permits, recorded_permits: of opens. let_through,
    held: opens that were blocked and pass, and the other way round; closes_*: the same of closes.
    unknown: by why; these count nowhere else than in `verdicts`."""

    decisions: int = 0
    verdicts: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    recorded_permits: Moved = msgspec.field(default_factory=Moved)
    permits: Moved = msgspec.field(default_factory=Moved)
    let_through: Moved = msgspec.field(default_factory=Moved)
    held: Moved = msgspec.field(default_factory=Moved)
    closes_let_through: int = 0
    closes_held: int = 0
    downsizes: Downsizes = msgspec.field(default_factory=Downsizes)
    unknown: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, case: Case, found: Outcome, factor: float) -> None:
        """One decision, and what became of it; factor: of its permit, if it has one."""
        self.decisions += 1
        self.verdicts[case.recorded.reason, found.reason] += 1
        if found.verdict == UNKNOWN:
            self.unknown[found.unknown] += 1
            return
        was, now = case.permitted, found.permitted
        if not case.opens:
            self.closes_let_through += now and not was
            self.closes_held += was and not now
            return
        notional = case.decision.notional_usd
        if was:
            self.recorded_permits.add(notional)
        if now:
            self.permits.add(notional)
        if was != now:
            (self.let_through if now else self.held).add(notional)
        if was or now:
            self._hint(was and case.factor, now and factor, notional or 0.0)

    def _hint(self, was: float, now: float, notional: float) -> None:
        """was, now: factor of the permit; 0 (False) is no permit."""
        downsized, still = 0 < was < 1, 0 < now < 1
        found = self.downsizes
        found.recorded += downsized
        found.replayed += still
        found.added += still and not downsized
        found.prevented += downsized and not still
        if downsized:
            found.recorded_off_usd += notional * (1 - was)
        if still:
            found.replayed_off_usd += notional * (1 - now)


class Change(msgspec.Struct, frozen=True):
    """A decision that changes: was, alone and in sequence as `permitted` or the reason; what it is
    worth, and the factor of its permit before and after; None where there is no permit."""

    at_ms: int
    plan_id: str
    symbol: str
    kind: str
    was: str
    alone: str
    in_sequence: str
    notional_usd: float | None
    recorded_factor: float | None
    factor: float | None


class Largest:
    """Keeps the decisions that change most: closes whose verdict changes, then opens by what they
    and their factor are worth, then other reasons."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, float, int, int], Change]] = []
        self._number = 0

    def add(self, case: Case, alone: Outcome, found: Outcome, factor: float) -> None:
        """One decision."""
        was, now = case.permitted, found.permitted
        before, after = (case.factor if was else 0.0), (factor if now else 0.0)
        known = found.verdict != UNKNOWN
        if not known or (found.reason == case.recorded.reason and before == after):
            return
        notional = case.decision.notional_usd
        worth = abs(after - before) * (notional or 0.0) if case.opens else 0.0
        turned = 0 if was == now else 1 if case.opens else 2
        self._number -= 1
        entry = (
            (turned, worth, -case.at_ms, self._number),
            Change(
                case.at_ms, case.decision.plan_id, case.decision.symbol, case.decision.kind,
                case.recorded.reason, alone.reason, found.reason, notional,
                case.factor if was else None, factor if now else None,
            ),
        )  # fmt: skip
        heappush(self._heap, entry)
        if len(self._heap) > MOST:
            heappop(self._heap)

    def changes(self) -> list[Change]:
        """The largest first."""
        return [change for _, change in sorted(self._heap, reverse=True)]
