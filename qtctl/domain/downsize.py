"""The downsize hint: a score in, a factor and a cooldown out. It never blocks.

Where the score is ok and under the threshold: DOWNSIZE,
factor = max(min_factor, score / threshold), cooldown = round((1 − score) × max_extra_cooldown_sec).
Else NONE, 1.0, 0. Source: docs/rules.md#the-downsize-hint.
"""

from enum import StrEnum

import msgspec

from qtctl.domain.readings import Efficiency


class EffAction(StrEnum):
    """What a consumer should do with its cap. There is no BLOCK."""

    NONE = "NONE"
    DOWNSIZE = "DOWNSIZE"


class DownsizeRules(msgspec.Struct, frozen=True):
    """The settings of the hint: ratios; `eff_ttl_sec` and the cooldown in seconds."""

    min_conf: float = 0.65
    downsize_threshold: float = 0.45
    min_factor: float = 0.25
    max_extra_cooldown_sec: float = 120.0
    eff_ttl_sec: float = 600.0


class Hint(msgspec.Struct, frozen=True):
    """factor is in [min_factor, 1], and 1 unless the action is DOWNSIZE."""

    efficiency: Efficiency
    action: EffAction
    factor: float
    extra_cooldown_sec: int


def hint(efficiency: Efficiency, rules: DownsizeRules) -> Hint:
    """The hint for a permit. A cooldown of x.5 rounds half to even."""
    score = efficiency.score
    if not efficiency.ok or score is None or score >= rules.downsize_threshold:
        return Hint(efficiency, EffAction.NONE, 1.0, 0)
    factor = max(rules.min_factor, score / rules.downsize_threshold)
    cooldown = round((1.0 - score) * rules.max_extra_cooldown_sec)
    return Hint(efficiency, EffAction.DOWNSIZE, factor, cooldown)
