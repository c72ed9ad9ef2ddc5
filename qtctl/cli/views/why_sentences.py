"""The answers of `qtctl why` in words: a sentence for each cause.

Text from Redis is in them as it is; whoever prints them escapes it.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from qtctl.cli.output import format
from qtctl.domain.diagnosis import (
    CONSUMER_WAITS_SEC,
    Cause,
    Diagnosis,
    Permit,
    PermitState,
    PlanSeen,
)
from qtctl.domain.gates import BY_REASON, GATES, Gate
from qtctl.domain.numbers import number
from qtctl.domain.reasons import Reason, Verdict


class Narrator:
    """The facts, and what it takes to speak of them: a key's name, and whether times are UTC."""

    def __init__(self, facts: Diagnosis, target_key: str, utc: bool = True) -> None:
        self.facts = facts
        self.target_key = target_key
        self.utc = utc

    @property
    def last(self) -> PlanSeen:
        """The last plan that was meant to be carried out, where the cause is about one."""
        assert self.facts.last is not None
        return self.facts.last

    @property
    def plan(self) -> str:
        """Its plan_id."""
        return self.last.plan_id or f"the entry {self.last.entry_id}"

    @property
    def window(self) -> str:
        """`in the last 1 h`, or what the cap left of it."""
        return f"in the last {format.span(self.facts.looked_back_sec or self.facts.since_sec)}"

    def at(self, seconds: float) -> str:
        """A time of today without its date."""
        return format.recent(seconds, self.facts.now, self.utc)

    def ago(self, seconds: float) -> str:
        """How long ago a time was."""
        return format.span(max(0.0, self.facts.now - seconds))


def sentence(cause: str, told: Narrator) -> str:
    """One sentence for a cause."""
    return SENTENCES[cause](told)


# Sentences -------------------------------------------------------------------------------------


def _kill(told: Narrator) -> str:
    kill = told.facts.kill
    since = f" {told.at(kill.since)}" if kill.since is not None else ""
    who = f" by {kill.who}" if kill.who else ""
    by_halt = f", set{since}{who}" if since or who else ", not set by qtctl halt"
    return f"{kill.key} is {kill.value!r}{by_halt}{f' ({kill.why})' if kill.why else ''}"


def _halted(told: Narrator) -> str:
    what = told.facts.kill.symbol or "everything"
    return f"The kill switch stops {what}: {_kill(told)}."


def _reduce_only(told: Narrator) -> str:
    of = f" of {told.facts.kill.symbol}" if told.facts.kill.symbol else ""
    return f"The kill switch lets only closes{of} pass: {_kill(told)}."


def _no_governor(told: Narrator) -> str:
    last = told.facts.last
    waits = last is not None and last.waits
    return "No governor runs on this Redis" + (
        f", and {told.plan} waits since {told.ago(told.last.at)}." if waits else "."
    )


def _stuck(told: Narrator) -> str:
    latest = min(told.facts.governors, key=lambda it: it.last_pass_age_sec)
    age = format.span(latest.last_pass_age_sec)
    return f"The governor {latest.name} is late, no pass for {age}: it hangs, or was killed."


def _not_ready(told: Narrator) -> str:
    return f"The governor runs and issues no permits: {told.facts.not_ready.rstrip('.')}."


def _waiting(told: Narrator) -> str:
    facts, since = told.facts, told.ago(told.last.at)
    if told.last.waits == "pending":
        return (
            f"{told.plan} was delivered and is pending since {since} ({facts.pending:,} are): its "
            "consumer hangs or died, or Redis refuses the decision."
        )
    if not facts.group_there:
        return f"{told.plan} waits since {since}: there is no consumer group of governors."
    lag = "unknown" if facts.lag is None else f"{facts.lag:,}"
    return f"{told.plan} waits in the stream since {since}: the governors' lag is {lag}."


def _no_target(told: Narrator) -> str:
    return f"P2.9 writes no target for {told.facts.symbol}: {told.target_key} is not there."


def _target_unreadable(told: Narrator) -> str:
    return f"The target of {told.facts.symbol} can't be read: {told.facts.target.problem}."


def _target_stale(told: Narrator) -> str:
    age = format.span(told.facts.target.age_sec)
    return f"P2.9 has not renewed the target of {told.facts.symbol} for {age}."


def _nameless(told: Narrator) -> str:
    few = "plan names" if told.facts.nameless == 1 else "plans name"
    return (
        f"{told.facts.nameless:,} unreadable {few} no symbol {told.window}: has a producer renamed "
        "a field?"
    )


def _no_plan(told: Narrator) -> str:
    facts = told.facts
    target = " (its target is 0.00 USD)" if facts.target.usd == 0 else ""
    return (
        f"No plan for {facts.symbol} {told.window}, of {facts.looked_at:,} in the stream{target}: "
        "upstream asked for nothing."
    )


def _all_skipped(told: Narrator) -> str:
    sent = Counter(plan.decision for plan in told.facts.plans)
    listed = ", ".join(f"{count:,} {word or 'without'}" for word, count in sent.most_common(5))
    return f"Upstream sent nothing to carry out {told.window}: by decision {listed}."


def _invalid(told: Narrator) -> str:
    return f"{told.plan} could not be read {told.ago(told.last.at)} ago: {told.last.problem}."


def _blocked(told: Narrator, why: str) -> str:
    return f"{told.plan} was blocked {told.ago(told.last.at)} ago ({told.last.reason}): {why}."


def _kill_before(told: Narrator) -> str:
    record = told.facts.record
    seen = f" ({record['kill_key']} was {record['kill_value']!r})" if record.get("kill_key") else ""
    return _blocked(told, f"{BY_REASON[Reason.KILL_SWITCH].blocks}{seen}; it is off now")


def _stale(told: Narrator) -> str:
    check, queued = told.facts.check, number(told.facts.record.get("queue_age_sec", ""))
    if check is None:
        return _blocked(told, BY_REASON[Reason.STALE_PLAN].blocks)
    limit = format.span(check.limit)
    if check.value == queued:
        return _blocked(told, f"it waited {format.span(queued)} in the queue, the limit is {limit}")
    age = format.span(check.value)
    return _blocked(told, f"its own timestamp was {age} old, the limit is {limit}")


def _gate(gate: Gate) -> Callable[[Narrator], str]:
    """The sentence of a gate that says it all itself."""

    def sentence(told: Narrator) -> str:
        check, why = told.facts.check, gate.blocks
        if check is not None and gate.sentence:
            why = gate.sentence.format(
                value=_amount(check.value, gate.unit),
                limit=_amount(check.limit, gate.unit),
                opens="open" if check.value == 1 else "opens",
            )
        return _blocked(told, why if gate.wait is None else f"{why}; {_passes(told)}")

    return sentence


def _amount(value: Any, unit: str) -> str:
    if unit == "s":
        return format.span(value)
    return f"{format.money(value)} USD" if unit == "USD" else f"{value:.10g}"


def _passes(told: Narrator) -> str:
    until = told.facts.passes_at
    if until is None:
        return "an open would pass now"
    return f"an open passes again at {told.at(until)} (in {format.span(until - told.facts.now)})"


def _duplicate(told: Narrator) -> str:
    return _blocked(
        told,
        f"its plan_id had its permit already, one in 24 h{_permits_end(told)}; it was sent again",
    )


def _conflict(told: Narrator) -> str:
    return _blocked(told, BY_REASON[Reason.PLAN_CONFLICT].blocks + _permits_end(told))


def _permits_end(told: Narrator) -> str:
    permit = told.facts.permit
    if permit is None:
        return ""
    state = {
        PermitState.OPEN: "it is still there",
        PermitState.WITHDRAWN: "it was withdrawn",
        PermitState.TAKEN: "it was taken",
        PermitState.UNKNOWN: "it was taken or ran out",
    }[permit.state]
    return f" (issued {told.ago(permit.at)} ago, {state})"


def _permit(told: Narrator) -> Permit:
    assert told.facts.permit is not None
    return told.facts.permit


def _withdrawn(told: Narrator) -> str:
    at = _permit(told).withdrawn_at
    return (
        f"Nothing blocked {told.plan}, and its permit was withdrawn"
        f"{'' if at is None else f' {told.at(at)}'}, by a conflicting plan or a halt."
    )


def _late(told: Narrator) -> str:
    waited = format.span(_permit(told).queue_age_sec)
    return (
        f"The permit of {told.plan} came {waited} after the plan, too late: the Apply Layer waits "
        f"{CONSUMER_WAITS_SEC:g} s."
    )


def _open(told: Narrator) -> str:
    left = format.ttl(_permit(told).ttl_sec)
    return f"Nothing blocked it: {told.plan} has just got its permit, with {left} left."


def _untaken(told: Narrator) -> str:
    return (
        f"Nothing blocked it: the permit of {told.plan} is there since "
        f"{told.ago(_permit(told).at)} and nobody has taken it; the Apply Layer gives up after "
        f"{CONSUMER_WAITS_SEC:g} s."
    )


def _taken(told: Narrator) -> str:
    return (
        f"Nothing blocked it: {told.plan} got its permit {told.ago(_permit(told).at)} ago, and it "
        "is gone before its time, so it was taken: the Apply Layer knows what came of it."
    )


def _unknown_end(told: Narrator) -> str:
    return (
        f"Nothing blocked it: {told.plan} got its permit {told.ago(_permit(told).at)} ago; whether "
        "it was taken or ran out can't be told (a take leaves no trace): ask the Apply Layer's log."
    )


def _no_verdict(told: Narrator) -> str:
    return (
        f"{told.plan} was queued {told.ago(told.last.at)} ago and read, and no decision about it "
        "is known: it was skipped as too old (over 1 h), or is forgotten."
    )


def _some_blocked(told: Narrator) -> str:
    blocked = Counter(it.reason for it in told.facts.plans if it.verdict == Verdict.BLOCKED)
    meant = sum(plan.meant for plan in told.facts.plans)
    listed = ", ".join(f"{count:,} {reason}" for reason, count in blocked.most_common())
    return f"Of {meant:,} plans {told.window} {blocked.total():,} were blocked: {listed}."


SENTENCES: dict[str, Callable[[Narrator], str]] = {
    Cause.HALTED: _halted,
    Cause.NO_GOVERNOR: _no_governor,
    Cause.GOVERNOR_STUCK: _stuck,
    Cause.GOVERNOR_NOT_READY: _not_ready,
    Cause.PLAN_WAITING: _waiting,
    Cause.REDUCE_ONLY: _reduce_only,
    Cause.NO_TARGET: _no_target,
    Cause.TARGET_UNREADABLE: _target_unreadable,
    Cause.TARGET_STALE: _target_stale,
    Cause.UNREADABLE_PLANS: _nameless,
    Cause.NO_PLAN: _no_plan,
    Cause.ALL_SKIPPED: _all_skipped,
    **{gate.reason: _gate(gate) for gate in GATES},
    Reason.INVALID_PLAN: _invalid,
    Reason.PLAN_CONFLICT: _conflict,
    Reason.DUPLICATE_PLAN: _duplicate,
    Reason.KILL_SWITCH: _kill_before,
    Reason.STALE_PLAN: _stale,
    Cause.PERMIT_WITHDRAWN: _withdrawn,
    Cause.PERMIT_LATE: _late,
    Cause.PERMIT_OPEN: _open,
    Cause.PERMIT_UNTAKEN: _untaken,
    Cause.PERMIT_TAKEN: _taken,
    Cause.TAKEN_OR_EXPIRED: _unknown_end,
    Cause.VERDICT_UNKNOWN: _no_verdict,
    Cause.SOME_BLOCKED: _some_blocked,
}
