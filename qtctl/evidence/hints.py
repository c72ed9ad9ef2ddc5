"""The downsize hint of a decision, made again from the score as it was read."""

from qtctl.domain import numbers
from qtctl.domain.downsize import DownsizeRules, Hint, hint
from qtctl.domain.readings import AsRead, Efficiency, assess
from qtctl.domain.reasons import EffReason


def hint_of(reading: AsRead, reason: str, rules: DownsizeRules) -> Hint:
    """The hint under these rules. reason: the recorded one, which tells a score that was not there
    from one that could not be read, where nothing was read."""
    if not (reading.score or reading.confidence or reading.at):
        unread = EffReason.UNUSABLE if reason == EffReason.UNUSABLE else EffReason.MISSING
        return hint(Efficiency(unread), rules)
    raw = {"efficiency_score": reading.score, "confidence": reading.confidence, "ts": reading.at}
    return hint(assess(raw, reading.now, rules.eff_ttl_sec, rules.min_conf), rules)


def fields_of(found: Hint) -> tuple[str, ...]:
    """eff_reason, eff_stale, eff_action, eff_factor and extra_cooldown_sec, as on the wire."""
    return (
        found.efficiency.reason.value,
        "1" if found.efficiency.stale else "0",
        found.action.value,
        numbers.four(found.factor),
        str(found.extra_cooldown_sec),
    )
