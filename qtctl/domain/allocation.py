"""The allocation formula: a target and a score in, a shadow proposal out.

multiplier = clamp(min_mult, max_mult, base + scale × (score − 0.5)) where the score is ok, else 1.
Source: docs/rules.md#the-multiplier.
"""

import msgspec

from qtctl.domain.numbers import four
from qtctl.domain.readings import Efficiency
from qtctl.domain.reasons import EffReason

NEUTRAL_SCORE = 0.5


class AllocationRules(msgspec.Struct, frozen=True):
    """The settings of the formula: ratios, and `stale_sec` in seconds."""

    min_conf: float = 0.65
    stale_sec: float = 600.0
    min_mult: float = 0.5
    max_mult: float = 1.5
    scale: float = 1.0
    base: float = 1.0


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """What the allocation loop proposes for a symbol. multiplier_text: the multiplier as it is
    written, to the stream, the hash and the history; from `reason` on as in Efficiency. It has no
    time and no age in it, so that it stays true for as long as what it was decided on."""

    symbol: str
    base_usd: float
    proposed_usd: float
    multiplier: float
    multiplier_text: str
    reason: EffReason
    score: float | None
    confidence: float | None
    stale: bool


def multiplier(efficiency: Efficiency, rules: AllocationRules) -> float:
    """The unrounded multiplier: within [min_mult, max_mult] where the score is ok, else 1.0."""
    if not efficiency.ok or efficiency.score is None:
        return 1.0
    return multiplier_of(efficiency.score, rules)


def multiplier_of(score: float, rules: AllocationRules) -> float:
    """The unrounded multiplier of a score that is ok."""
    raw = rules.base + rules.scale * (score - NEUTRAL_SCORE)
    return max(rules.min_mult, min(rules.max_mult, raw))


def propose(
    symbol: str, base_usd: float, efficiency: Efficiency, rules: AllocationRules
) -> Proposal:
    """The proposal for one symbol: base × the unrounded multiplier."""
    factor = multiplier(efficiency, rules)
    return Proposal(
        symbol, base_usd, base_usd * factor, factor, four(factor),
        efficiency.reason, efficiency.score, efficiency.confidence, efficiency.stale,
    )  # fmt: skip
