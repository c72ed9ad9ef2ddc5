"""What one pass of the allocation loop reads and decides, chunk by chunk."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from qtctl.domain import numbers
from qtctl.domain.allocation import AllocationRules, Proposal, propose
from qtctl.domain.passes import Row
from qtctl.domain.readings import Unusable, assess, target_usd
from qtctl.domain.reasons import EffReason
from qtctl.wire.allocation.scores import Reading
from qtctl.wire.allocation.symbols import Symbol
from qtctl.wire.schema.keys import EFFICIENCY, TARGET, Keys

TargetReading = dict[str, str] | Unusable
NO_FIELDS: Mapping[str, str] = {}


class PassDecisions:
    """What one pass reads and decides, chunk by chunk."""

    def __init__(
        self,
        rules: AllocationRules,
        keys: Keys,
        bad_keys: Mapping[str, str],
        *,
        keep: bool,
        rows_wanted: bool,
    ) -> None:
        """keep: `kept` is wanted; rows_wanted: so are `rows`."""
        self._rules, self._keep, self._at, self._rows_wanted = rules, keep, keys.at, rows_wanted
        self.rows: list[Row] = []
        self.reasons: Counter[EffReason] = Counter()
        self.gone: list[Symbol] = []
        self.kept: list[Proposal] = []
        self.bad_scores: dict[str, str] = {}
        self.bad_targets = dict(bad_keys)

    def decide(
        self,
        now: float,
        symbols: Sequence[Symbol],
        targets: Sequence[Reading],
        efficiencies: Sequence[Reading],
    ) -> list[Proposal]:
        """The proposals for these symbols; unreadable scores and targets are collected. now: epoch
        seconds on the server's clock."""
        rules = self._rules
        made: list[Proposal] = []
        for symbol, target, raw in zip(symbols, targets, efficiencies, strict=True):
            if target is None:
                self.gone.append(symbol)
                continue
            proposal = self._proposal(symbol.name, target, raw, now, rules)
            if proposal is not None:
                made.append(proposal)
            if self._rows_wanted:
                self.rows.append(_row(symbol.name, target, raw, proposal))
        self.reasons.update([proposal.efficiency.reason for proposal in made])
        if self._keep:
            # Otherwise each chunk's memory is reused for the next while it is still in the cache.
            self.kept += made
        return made

    def _proposal(
        self,
        symbol: str,
        target: TargetReading,
        raw: Reading,
        now: float,
        rules: AllocationRules,
    ) -> Proposal | None:
        base = target_usd(target)
        if isinstance(base, Unusable):
            self.bad_targets[self._at(TARGET, symbol)] = base.problem
            return None
        efficiency = assess(raw, now, rules.stale_sec, rules.min_conf)
        if efficiency.reason is EffReason.UNUSABLE:
            self.bad_scores[self._at(EFFICIENCY, symbol)] = efficiency.problem
        proposal = propose(symbol, base, efficiency, now, rules)
        if math.isfinite(proposal.proposed_usd):
            return proposal
        self.bad_targets[self._at(TARGET, symbol)] = "target_usd is too large"
        return None


def _row(symbol: str, target: TargetReading, raw: Reading, proposal: Proposal | None) -> Row:
    """What the history keeps of one symbol."""
    base = NO_FIELDS if isinstance(target, Unusable) else target
    score = NO_FIELDS if raw is None or isinstance(raw, Unusable) else raw
    reason, multiplier = (
        ("", "")
        if proposal is None
        else (proposal.efficiency.reason.value, numbers.four(proposal.multiplier))
    )
    return (
        symbol, base.get("target_usd", ""), base.get("timestamp") or base.get("ts", ""),
        score.get("efficiency_score", ""), score.get("confidence", ""), score.get("ts", ""),
        score.get("timestamp", ""), reason, multiplier,
    )  # fmt: skip
