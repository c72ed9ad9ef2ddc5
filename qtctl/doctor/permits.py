"""Permits as they are: with a lifetime, in the encoding that consumers read, with a hint that the
formulas give. Found by a walk over all keys: what an index has lost is what matters here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from qtctl.doctor.findings import Findings, ok, some, unknown, warning, wrong
from qtctl.doctor.inspection import PERMITS_LOOKED_AT, Inspection
from qtctl.domain import numbers
from qtctl.domain.downsize import DownsizeRules, Hint, hint
from qtctl.domain.readings import Efficiency
from qtctl.domain.reasons import EffReason
from qtctl.wire.queries.keyspace import PermitKey
from qtctl.wire.schema.keys import PERMIT
from qtctl.wire.schema.records import HINT

_ROUNDED = 0.00006
"""A score on the wire has four decimals."""
_DELETED_AT_ONCE = 10


def lifetimes(inspection: Inspection) -> Findings:
    """No permit outlives its plan."""
    endless = [it for it in inspection.permits if it.ttl_sec is None]
    most = float(inspection.settings_of("governor")[0]["permit_ttl_sec"])
    long = [it for it in inspection.permits if it.ttl_sec is not None and it.ttl_sec > most + 1]
    walked = inspection.sweep.walked
    if endless:
        what = f"{_many(endless)} without a lifetime: {_named(endless)} ({walked})"
        why = "whoever asks for it, days later, may trade on it"
        yield wrong(what, why, _deletes(inspection, endless))
    if long:
        what = f"{_many(long)} with more than permit_ttl_sec ({most:.0f} s) to live: {_named(long)}"
        why = "somebody else wrote them, or the governor's setting was lowered since"
        yield warning(what, why, inspection.qtctl("permit", "list"))
    yield from _not_seen(inspection)
    if not (endless or long):
        yield ok(f"{_many(inspection.permits)}, each with a lifetime; {walked}")


def encodings(inspection: Inspection) -> Findings:
    """Every permit can be read by who takes it."""
    settings, source = inspection.settings_of("governor")
    expected = str(settings["permit_encoding"])
    strange = [it for it in inspection.permits if it.encoding != expected or it.fields is None]
    if not strange:
        yield ok(f"all permits are {expected}")
        return
    seen = sorted({it.encoding if it.fields is not None else "unreadable" for it in strange})
    what = f"{_many(strange)} not in the encoding {expected} of {source} but {' or '.join(seen)}"
    why = "the consumer's step that takes three permits at once fails on it, and loses all three"
    yield wrong(f"{what}: {_named(strange)}", why, _deletes(inspection, strange))


def hints(inspection: Inspection) -> Findings:
    """The eff fields are what the formulas give for the score in the permit."""
    rules, _ = inspection.rules("governor", DownsizeRules)
    started = max((it.started_at for it in inspection.running["governor"]), default=0)
    bad: dict[str, list[PermitKey]] = {}
    looked = 0
    for it in inspection.permits:
        if it.fields is None or _number(it.fields, "created_at") < started:
            continue  # Judged by settings that are no longer known.
        looked += 1
        problem = contradiction(it.fields, rules)
        if problem:
            bad.setdefault(problem, []).append(it)
    why = "it would be traded at a size that the score does not give; another program wrote it, "
    why += "or another version"
    for problem, found in bad.items():
        what = f"{_many(found)}: {problem} ({_named(found)})"
        yield wrong(what, why, _deletes(inspection, found))
    if not bad:
        yield ok(f"{looked:,} permits have the hint that the formulas give")


def decisions(inspection: Inspection) -> Findings:
    """Every permit comes from a decision."""
    orphans = [it for it in inspection.permits if not it.decided and it.fields is not None]
    if not orphans:
        yield ok("each permit has its decision")
        return
    why = "its decision was forgotten, or another program wrote it: its gates are unknown"
    see = inspection.qtctl("permit", "show", orphans[0].plan_id)
    yield warning(f"{_many(orphans)} without a decision: {_named(orphans)}", why, see)


def contradiction(fields: Mapping[str, Any], rules: DownsizeRules) -> str:
    """What in a permit's hint the formulas do not give, in words; "" for nothing. Pure. The score
    is known to four decimals: what lies between its neighbours counts as given."""
    lacking = [field.name for field in HINT if field.name not in fields]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    score = numbers.ratio(str(fields["eff_score"]))
    confidence = numbers.ratio(str(fields["eff_confidence"]))
    reason = str(fields["eff_reason"])
    if reason not in set(EffReason):
        return f"eff_reason {reason[:40]!r} is not a known reason"
    if reason in (EffReason.OK, EffReason.LOW_CONF) and (score is None or confidence is None):
        return f"eff_reason {reason} without a score and its confidence"
    if (str(fields["eff_stale"]) == "1") != (reason == EffReason.STALE):
        return f"eff_stale {str(fields['eff_stale'])[:40]!r} does not go with eff_reason {reason}"
    sure = rules.min_conf if confidence is None else confidence
    too_low, too_high = sure < rules.min_conf - _ROUNDED, sure > rules.min_conf + _ROUNDED
    if {EffReason.OK: too_low, EffReason.LOW_CONF: too_high}.get(EffReason(reason), False):
        return f"eff_confidence {sure:g} does not go with eff_reason {reason}"
    if str(fields["downsize_factor"]) != str(fields["eff_factor"]):
        return "downsize_factor is not eff_factor"
    return _hint_contradicts(fields, reason, score, rules)


def _hint_contradicts(
    fields: Mapping[str, Any], reason: str, score: float | None, rules: DownsizeRules
) -> str:
    action = str(fields["eff_action"])
    factor, cooldown = _number(fields, "eff_factor"), _number(fields, "extra_cooldown_sec")
    # The score itself first: the text names what the formula gives for it.
    near = [max(0.0, min(1.0, (score or 0.0) + by)) for by in (0.0, -_ROUNDED, _ROUNDED)]
    given = [
        hint(Efficiency(EffReason(reason), None if score is None else each), rules) for each in near
    ]
    if action not in {it.action for it in given}:
        return f"eff_action {action[:40]!r} where the formula gives {given[0].action}"
    fitting: list[Hint] = [it for it in given if it.action == action]
    factors = [it.factor for it in fitting]
    if not min(factors) - _ROUNDED <= factor <= max(factors) + _ROUNDED:
        return f"eff_factor {factor:g} where the formula gives {fitting[0].factor:.4f}"
    cooldowns = [it.extra_cooldown_sec for it in fitting]
    if not min(cooldowns) <= cooldown <= max(cooldowns):
        return f"extra_cooldown_sec {cooldown:g} where the formula gives {cooldowns[0]}"
    return ""


def _not_seen(inspection: Inspection) -> Findings:
    """Reports what the walk did not get to: no finding is no promise then."""
    sweep, known = inspection.sweep, inspection.sweep.of_spec(PERMIT)
    if not sweep.complete:
        what = f"permits among the keys that were not looked at: {sweep.walked}"
        further = inspection.qtctl("doctor", "--scan", str(2 * (sweep.of or sweep.looked_at)))
        yield unknown(what, "one without a lifetime may be there", further)
    if len(known) > PERMITS_LOOKED_AT:
        yield unknown(f"{len(known) - PERMITS_LOOKED_AT:,} of {len(known):,} permits: only the "
                      f"first {PERMITS_LOOKED_AT:,} were read")  # fmt: skip


def _many(found: Sequence[PermitKey]) -> str:
    return f"{len(found):,} permit{'' if len(found) == 1 else 's'}"


def _named(found: Sequence[PermitKey]) -> str:
    return some(it.plan_id for it in found)


def _deletes(inspection: Inspection, found: Sequence[PermitKey]) -> str:
    """A permit that is gone can't be traded on, and its plan is not judged again."""
    return inspection.redis_cli("del", *(it.key for it in found[:_DELETED_AT_ONCE]))


def _number(fields: Mapping[str, Any], name: str) -> float:
    read = numbers.number(str(fields.get(name)))
    return float("nan") if read is None else read
