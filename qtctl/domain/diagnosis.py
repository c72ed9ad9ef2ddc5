"""Why there was no trade: from what is known of a symbol to the one cause, and what else is wrong.

A plan passes target, plan, governor, gates, permit, consumer. The rules stand in that order, but
for the kill switch and the governor, which stop everything. The last plan that was meant to be
carried out stands for all of them.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from qtctl.domain.gates import Check
from qtctl.domain.plans import EXECUTE
from qtctl.domain.reasons import Kind, Reason, Verdict

TARGET_FRESH_SEC = 300.0
"""P2.9 writes its targets with this lifetime."""
CONSUMER_WAITS_SEC = 1.2
"""How long the Apply Layer looks for a permit before it gives the plan up."""


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


class PermitState(StrEnum):
    """What became of a permit, as far as Redis can tell: a take leaves no trace there."""

    OPEN = "open"
    WITHDRAWN = "withdrawn"
    TAKEN = "taken"
    """It is gone before its time was over (or somebody deleted it)."""
    UNKNOWN = "taken_or_expired"


class Target(msgspec.Struct, frozen=True):
    """The live target: USD, or what is wrong with it; neither where there is none, and shadow then
    says that P2.9 runs without writing any, if it does."""

    usd: float | None = None
    problem: str = ""
    age_sec: float | None = None
    ttl_sec: float | None = None
    shadow: str = ""

    @property
    def there(self) -> bool:
        """True where its key exists."""
        return self.usd is not None or bool(self.problem)


class Kill(msgspec.Struct, frozen=True):
    """The strictest kill key now: level 0 is normal, 1 lets only closes pass, 2 stops everything.
    symbol: where it stops that one alone; since (epoch seconds), who, why: of the halt, if known.
    """

    key: str = ""
    value: str = ""
    level: int = 0
    symbol: str = ""
    since: float | None = None
    who: str = ""
    why: str = ""


class Alive(msgspec.Struct, frozen=True):
    """A governor with a record in Redis. late: its last pass is older than it may be; silent: why
    its port on this host gives no answer, where it was asked."""

    name: str
    version: str
    host: str
    last_pass_age_sec: float
    late: bool = False
    silent: str = ""

    @property
    def gone(self) -> bool:
        """True where it hangs or was killed: its record outlives it."""
        return self.late or bool(self.silent)


class Permit(msgspec.Struct, frozen=True):
    """A permit that was issued. at: epoch seconds; queue_age_sec: how long its plan had waited."""

    plan_id: str
    state: PermitState
    at: float
    queue_age_sec: float
    withdrawn_at: float | None = None
    ttl_sec: float | None = None


class PlanSeen(msgspec.Struct, frozen=True):
    """One plan of the symbol. at: when it was queued, epoch seconds; decision as sent; verdict and
    reason are empty where there is none, waits then says where it is (`queue` or `pending`)."""

    at: float
    plan_id: str
    entry_id: str
    decision: str
    verdict: str = ""
    reason: str = ""
    problem: str = ""
    waits: str = ""
    kind: str = ""

    @property
    def meant(self) -> bool:
        """True for a plan that was sent to be carried out, was judged, or could not be read."""
        return self.decision == EXECUTE or self.verdict in _JUDGED


_GATE_REASONS = frozenset(Reason) - {Reason.OK}
_JUDGED = (Verdict.PERMITTED, Verdict.BLOCKED, Verdict.REJECTED)


class Diagnosis(msgspec.Struct, frozen=True):
    """All that the answer rests on. Ages in seconds, times in epoch seconds, server's clock.

    plans: the latest first. looked_back_sec: how far back the plan stream was read, where that is
    less than asked for. record: the decision about the last plan, check: the line of its worksheet
    that blocked it. passes_at: when the rate gates let an open pass again, None where they do now;
    held_by: the gate that is the last to.
    lag None is unknown.
    """

    symbol: str
    now: float
    since_sec: float
    target: Target = Target()
    kill: Kill = Kill()
    governors: tuple[Alive, ...] = ()
    not_ready: str = ""
    group_there: bool = True
    lag: int | None = 0
    pending: int = 0
    wrong_types: tuple[str, ...] = ()
    """Keys whose type keeps pending plans from their verdict, in words."""
    plans: tuple[PlanSeen, ...] = ()
    looked_at: int = 0
    from_history: int = 0
    """How many of the plans only the history has."""
    looked_back_sec: float | None = None
    nameless: int = 0
    """Plans in this time that could not be read and name no symbol."""
    record: Mapping[str, str] = {}
    check: Check | None = None
    failed: tuple[Check, ...] = ()
    """All the lines that failed, that one first."""
    passes_at: float | None = None
    held_by: str = ""
    permits: Mapping[str, Permit] = {}
    plan_ids: str = ""
    """What is wrong with the ids of the plan stream, and what follows from it."""
    plan_ids_fix: str = ""
    """The way out, step by step."""

    @property
    def last(self) -> PlanSeen | None:
        """The latest plan that was meant to be carried out, or could not be read."""
        return next((plan for plan in self.plans if plan.meant), None)

    @property
    def permit(self) -> Permit | None:
        """The permit of that plan."""
        return None if self.last is None else self.permits.get(self.last.plan_id)


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
    """True where the last plan fell for its id, or none is seen since ids tell no time."""
    last = facts.last
    return last is None or last.reason in (Reason.FUTURE_PLAN, Reason.STALE_PLAN, Reason.QUARANTINE)


def _all_gone(facts: Diagnosis) -> bool:
    return bool(facts.governors) and all(governor.gone for governor in facts.governors)


def _others_waiting(facts: Diagnosis) -> bool:
    """True where a plan before the last was taken up and has no verdict, though the last has."""
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
