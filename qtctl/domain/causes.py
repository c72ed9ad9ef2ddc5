"""Why there was no trade: from what is known of a symbol to the one cause, and what else is wrong.

A plan passes target, plan, governor, gates, permit, consumer. The rules stand in that order, but
for the kill switch and the governor, which stop everything. The last plan that was meant to be
carried out stands for all of them.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from qtctl.domain.diagnosis import Diagnosis, Permit, PermitState
from qtctl.domain.reasons import Kind, Reason, Verdict

TARGET_FRESH_SEC = 300.0
"""P2.9 writes its targets with this lifetime."""
CONSUMER_WAITS_SEC = 1.2
"""How long the Apply Layer looks for a permit before it gives the plan up."""
_GATE_REASONS = frozenset(Reason) - {Reason.OK}


class Cause(StrEnum):
    """One word for each answer, beside the reasons of the gates."""

    HALTED = "halted"
    NO_GOVERNOR = "no_governor"
    GOVERNOR_STUCK = "governor_stuck"
    GOVERNOR_NOT_READY = "governor_not_ready"
    PLAN_WAITING = "plan_waiting"
    OTHERS_WAITING = "others_waiting"
    REDUCE_ONLY = "reduce_only"
    PLAN_IDS = "plan_ids"
    NO_TARGET = "no_target"
    TARGET_UNREADABLE = "target_unreadable"
    TARGET_STALE = "target_stale"
    UNREADABLE_PLANS = "unreadable_plans"
    NO_PLAN = "no_plan"
    ALL_SKIPPED = "all_skipped"
    PERMIT_WITHDRAWN = "permit_withdrawn"
    PERMIT_LATE = "permit_late"
    PERMIT_OPEN = "permit_open"
    PERMIT_UNTAKEN = "permit_untaken"
    PERMIT_TAKEN = "permit_taken"
    TAKEN_OR_EXPIRED = "taken_or_expired"
    VERDICT_UNKNOWN = "verdict_unknown"
    SOME_BLOCKED = "some_blocked"


def causes(facts: Diagnosis) -> tuple[str, ...]:
    """The cause, and behind it what else is wrong; words of Cause, or a gate's reason."""
    found = [rule for rule in _RULES if rule.holds(facts)]
    chosen = next((rule.cause for rule in found if rule.explains(facts)), None)
    first = chosen or _fate(facts)
    also = (rule.cause for rule in found if rule.is_wrong and rule.cause != first)
    return (str(first), *map(str, also))


def _fate(facts: Diagnosis) -> str:
    """What became of the last plan."""
    last = facts.last
    assert last is not None, "without one there is another cause"
    if last.verdict == Verdict.REJECTED:
        return Reason.INVALID_PLAN
    if last.verdict == Verdict.BLOCKED and last.reason in _GATE_REASONS:
        return Reason(last.reason)
    if last.verdict != Verdict.PERMITTED or facts.permit is None:
        return Cause.VERDICT_UNKNOWN
    return permit_cause(facts.permit, facts.now)


def permit_cause(permit: Permit, now: float) -> Cause:
    """What became of a permit, in the words of a cause."""
    if permit.state is PermitState.WITHDRAWN:
        return Cause.PERMIT_WITHDRAWN
    if permit.state is PermitState.TAKEN:
        return Cause.PERMIT_TAKEN
    if permit.queue_age_sec > CONSUMER_WAITS_SEC:
        return Cause.PERMIT_LATE
    if permit.state is PermitState.UNKNOWN:
        return Cause.TAKEN_OR_EXPIRED
    fresh = now - permit.at <= CONSUMER_WAITS_SEC
    return Cause.PERMIT_OPEN if fresh else Cause.PERMIT_UNTAKEN


Holds = Callable[[Diagnosis], bool]


def _never(facts: Diagnosis) -> bool:
    return False


class Rule(NamedTuple):
    """A cause and when it holds. explains: when that is the reason that there was no trade;
    is_wrong: it is worth reporting beside another cause."""

    cause: Cause
    holds: Holds
    explains: Holds = lambda facts: True
    is_wrong: bool = True


def _nothing_judged(facts: Diagnosis) -> bool:
    return facts.last is None or bool(facts.last.waits)


def _no_open_passed(facts: Diagnosis) -> bool:
    last, permit = facts.last, facts.permit
    withdrawn = permit is not None and permit.state is PermitState.WITHDRAWN
    blocked = last is None or last.verdict != Verdict.PERMITTED or withdrawn
    return blocked and (last is None or last.kind != Kind.CLOSE)


def _ids_decided(facts: Diagnosis) -> bool:
    """True if the last plan fell for its id, or none is seen since ids tell no time."""
    last = facts.last
    return last is None or last.reason in (Reason.FUTURE_PLAN, Reason.STALE_PLAN, Reason.QUARANTINE)


def _all_gone(facts: Diagnosis) -> bool:
    return bool(facts.governors) and all(governor.gone for governor in facts.governors)


def _others_waiting(facts: Diagnosis) -> bool:
    """True if a plan before the last was taken up and has no verdict, though the last has."""
    if facts.last is not None and facts.last.waits:
        return False
    return any(plan.waits == "pending" for plan in facts.plans)


def _target_stale(facts: Diagnosis) -> bool:
    target = facts.target
    return not target.problem and (target.age_sec or 0.0) > TARGET_FRESH_SEC


def _no_plan(facts: Diagnosis) -> bool:
    return not facts.plans


def _others_blocked(facts: Diagnosis) -> bool:
    last = facts.last
    permitted = last is not None and last.verdict == Verdict.PERMITTED
    return permitted and any(plan.verdict == Verdict.BLOCKED for plan in facts.plans)


_RULES = (
    Rule(Cause.HALTED, lambda facts: facts.kill.level == 2),
    Rule(Cause.NO_GOVERNOR, lambda facts: not facts.governors, _nothing_judged),
    Rule(Cause.GOVERNOR_STUCK, _all_gone, _nothing_judged),
    Rule(Cause.GOVERNOR_NOT_READY, lambda facts: bool(facts.not_ready), _nothing_judged),
    Rule(Cause.PLAN_WAITING, lambda facts: facts.last is not None and bool(facts.last.waits)),
    Rule(Cause.OTHERS_WAITING, _others_waiting, _never),
    Rule(Cause.REDUCE_ONLY, lambda facts: facts.kill.level == 1, _no_open_passed),
    Rule(Cause.PLAN_IDS, lambda facts: bool(facts.plan_ids), _ids_decided),
    Rule(Cause.NO_TARGET, lambda facts: not facts.target.there, _no_plan),
    Rule(Cause.TARGET_UNREADABLE, lambda facts: bool(facts.target.problem), _no_plan),
    Rule(Cause.TARGET_STALE, _target_stale, _no_plan),
    Rule(Cause.UNREADABLE_PLANS, lambda facts: facts.nameless > 0, _no_plan),
    Rule(Cause.NO_PLAN, _no_plan, is_wrong=False),
    Rule(Cause.ALL_SKIPPED, lambda facts: facts.last is None, is_wrong=False),
    Rule(Cause.SOME_BLOCKED, _others_blocked, _never),
)
