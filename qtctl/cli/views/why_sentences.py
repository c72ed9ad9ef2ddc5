"""The answers of `qtctl why` in words: a sentence for each cause.

Text from Redis is in them as it is; whoever prints them escapes it.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from qtctl.cli.output import format
from qtctl.cli.views.why_narrator import Narrator
from qtctl.domain.causes import CONSUMER_WAITS_SEC, Cause
from qtctl.domain.diagnosis import PermitState, PlanSeen
from qtctl.domain.gates import BY_REASON, GATES, Gate
from qtctl.domain.numbers import number
from qtctl.domain.reasons import SKIPPED_DECISIONS, Reason, Verdict


def sentence(cause: str, it: Narrator) -> str:
    """One sentence for a cause."""
    shape = SENTENCES[cause]
    return shape.format(it=it, facts=it.facts) if isinstance(shape, str) else shape(it)


def _kill(it: Narrator) -> str:
    kill = it.facts.kill
    since = f" {it.at(kill.since)}" if kill.since is not None else ""
    who = f" by {kill.who}" if kill.who else ""
    by_halt = f", set{since}{who}" if since or who else ", not set by qtctl halt"
    return f"{kill.key}='{kill.value}'{by_halt}{f' ({kill.why})' if kill.why else ''}"


def _halted(it: Narrator) -> str:
    return f"The kill switch stops {it.facts.kill.symbol or 'everything'}: {_kill(it)}."


def _reduce_only(it: Narrator) -> str:
    of = f" of {it.facts.kill.symbol}" if it.facts.kill.symbol else ""
    return f"The kill switch lets only closes{of} pass: {_kill(it)}."


def _no_governor(it: Narrator) -> str:
    last = it.facts.last
    waits = last is not None and last.waits
    waiting = f", and {it.plan} has been waiting {it.queued}" if waits else ""
    return f"No governor is running on this Redis{waiting}."


def _stuck(it: Narrator) -> str:
    latest = min(it.facts.governors, key=lambda each: each.last_pass_age_sec)
    age = format.span(latest.last_pass_age_sec)
    if latest.silent:
        says = f"does not answer ({latest.silent}), its last pass was {age} ago"
        return f"The governor {latest.name} {says}: it hangs, or was killed."
    return f"The governor {latest.name} is late, no pass for {age}: it hangs, or was killed."


def _not_ready(it: Narrator) -> str:
    return f"The governor is running but issues no permits: {it.facts.not_ready.rstrip('.')}."


def _waiting(it: Narrator) -> str:
    facts, waiting = it.facts, f"{it.plan} has been waiting {it.queued}"
    if it.last.waits == "pending":
        return _pending(it, it.last)
    if not facts.group_there:
        return f"{waiting}: the governors have no consumer group here."
    lag = "unknown" if facts.lag is None else f"{facts.lag:,}"
    return f"{waiting} in the stream: the governors' lag is {lag}."


def _pending(it: Narrator, plan: PlanSeen) -> str:
    facts, name = it.facts, plan.plan_id or f"the entry {plan.entry_id}"
    why = "its consumer hangs or died, or Redis refuses the decision"
    if facts.wrong_types:
        why = f"Redis refuses the decision, since {facts.wrong_types[0]}"
    return (
        f"{name} was delivered and has been pending for {it.ago(plan.at)} ({facts.pending:,} in "
        f"all): {why}."
    )


def _others_waiting(it: Narrator) -> str:
    others = [each for each in it.facts.plans if each.waits == "pending"]
    return _pending(it, others[-1])


def _target_stale(it: Narrator) -> str:
    age = format.span(it.facts.target.age_sec)
    return f"P2.9 has not renewed the target of {it.facts.symbol} for {age}."


def _no_target(it: Narrator) -> str:
    why = it.facts.target.shadow
    return (
        f"P2.9 writes no target for {it.facts.symbol}: {it.target_key} does not exist."
        f"{f' {why}.' if why else ''}"
    )


def _nameless(it: Narrator) -> str:
    few = "plan names" if it.facts.nameless == 1 else "plans name"
    return (
        f"{it.facts.nameless:,} unreadable {few} no symbol {it.window}: has a producer renamed a "
        "field?"
    )


def _no_plan(it: Narrator) -> str:
    facts = it.facts
    target = " (its target is 0.00 USD)" if facts.target.usd == 0 else ""
    return (
        f"No plan for {facts.symbol} {it.window}, of {facts.looked_at:,} in the stream{target}: "
        "upstream asked for nothing."
    )


def _word(decision: str) -> str:
    if decision in SKIPPED_DECISIONS:
        return decision
    return f"{decision!r} (an unknown word)" if decision else "without"


def _all_skipped(it: Narrator) -> str:
    sent = Counter(plan.decision for plan in it.facts.plans)
    listed = ", ".join(f"{count:,} {_word(word)}" for word, count in sent.most_common(5))
    return f"Upstream sent nothing to carry out {it.window}: by decision {listed}."


def _blocked(it: Narrator, why: str) -> str:
    return f"{it.plan} was blocked {it.queued} ago ({it.last.reason}): {why}."


def _kill_before(it: Narrator) -> str:
    record = it.facts.record
    seen = f" ({record['kill_key']} was {record['kill_value']!r})" if record.get("kill_key") else ""
    now = "it lets closes pass now" if it.facts.kill.level else "it is off now"
    return _blocked(it, f"{BY_REASON[Reason.KILL_SWITCH].blocks}{seen}; {now}")


def _stale(it: Narrator) -> str:
    check, queued = it.facts.check, number(it.facts.record.get("queue_age_sec", ""))
    if check is None:
        return _blocked(it, BY_REASON[Reason.STALE_PLAN].blocks)
    limit = format.span(check.limit)
    if check.value == queued:
        return _blocked(it, f"it waited {format.span(queued)} in the queue, the limit is {limit}")
    age = format.span(check.value)
    return _blocked(it, f"its own timestamp was {age} old, the limit is {limit}")


def _by_gate(gate: Gate, it: Narrator) -> str:
    """The sentence of a gate that needs no more than its entry."""
    check, why = it.facts.check, gate.blocks
    if check is not None and gate.sentence:
        why = gate.sentence.format(
            value=_amount(check.value, gate.unit),
            limit=_amount(check.limit, gate.unit),
            opens="open" if check.value == 1 else "opens",
        )
    return _blocked(it, why if gate.wait is None else f"{why}; {_passes(gate, it)}")


def _amount(value: Any, unit: str) -> str:
    if unit == "s":
        return format.span(value)
    return f"{format.money(value)} USD" if unit == "USD" else f"{value:.10g}"


def _passes(gate: Gate, it: Narrator) -> str:
    until = it.facts.passes_at
    if until is None:
        return "an open would pass now"
    by = f"an open passes again at {it.at(until)} (in {format.span(until - it.facts.now)})"
    held = it.facts.held_by
    # The gate that blocked it may let go long before another one does.
    return by if held in ("", gate.name) else f"{by}, held so long by the gate {held}"


def _duplicate(it: Narrator) -> str:
    once = "its plan_id had its permit already, one in 24 h"
    return _blocked(it, f"{once}{_permits_end(it)}; it was sent again")


def _permits_end(it: Narrator) -> str:
    if it.facts.permit is None:
        return ""
    state = {
        PermitState.OPEN: "still open",
        PermitState.WITHDRAWN: "withdrawn",
        PermitState.TAKEN: "taken",
        PermitState.UNKNOWN: "taken or expired",
    }[it.permit.state]
    return f" (issued {it.issued} ago, {state})"


def _withdrawn(it: Narrator) -> str:
    at = it.permit.withdrawn_at
    return (
        f"Nothing blocked {it.plan}, but its permit was withdrawn"
        f"{'' if at is None else f' {it.at(at)}'}, by a conflicting plan or a halt."
    )


def _late(it: Narrator) -> str:
    return (
        f"The permit of {it.plan} came {format.span(it.permit.queue_age_sec)} after the plan, too "
        f"late: the Apply Layer waits {CONSUMER_WAITS_SEC:g} s."
    )


def _open(it: Narrator) -> str:
    left = format.ttl(it.permit.ttl_sec)
    return f"Nothing blocked it: {it.plan} has just got its permit, which expires in {left}."


def _some_blocked(it: Narrator) -> str:
    blocked = Counter(each.reason for each in it.facts.plans if each.verdict == Verdict.BLOCKED)
    meant = sum(plan.meant for plan in it.facts.plans)
    listed = ", ".join(f"{count:,} {reason}" for reason, count in blocked.most_common())
    were = "was" if blocked.total() == 1 else "were"
    return f"Of {meant:,} plans {it.window} {blocked.total():,} {were} blocked: {listed}."


SENTENCES: dict[str, str | Callable[[Narrator], str]] = {
    Cause.HALTED: _halted,
    Cause.NO_GOVERNOR: _no_governor,
    Cause.GOVERNOR_STUCK: _stuck,
    Cause.GOVERNOR_NOT_READY: _not_ready,
    Cause.PLAN_WAITING: _waiting,
    Cause.OTHERS_WAITING: _others_waiting,
    Cause.REDUCE_ONLY: _reduce_only,
    Cause.PLAN_IDS: "{facts.plan_ids}. The way out, in this order: {facts.plan_ids_fix}.",
    Cause.NO_TARGET: _no_target,
    Cause.TARGET_UNREADABLE: "The target of {facts.symbol} can't be read: {facts.target.problem}.",
    Cause.TARGET_STALE: _target_stale,
    Cause.UNREADABLE_PLANS: _nameless,
    Cause.NO_PLAN: _no_plan,
    Cause.ALL_SKIPPED: _all_skipped,
    **{gate.reason: partial(_by_gate, gate) for gate in GATES},
    Reason.INVALID_PLAN: "{it.plan} could not be read {it.queued} ago: {it.last.problem}.",
    Reason.PLAN_CONFLICT: lambda it: _blocked(
        it, BY_REASON[Reason.PLAN_CONFLICT].blocks + _permits_end(it)
    ),
    Reason.DUPLICATE_PLAN: _duplicate,
    Reason.KILL_SWITCH: _kill_before,
    Reason.STALE_PLAN: _stale,
    Cause.PERMIT_WITHDRAWN: _withdrawn,
    Cause.PERMIT_LATE: _late,
    Cause.PERMIT_OPEN: _open,
    Cause.PERMIT_UNTAKEN: "Nothing blocked it: the permit of {it.plan} has been open for "
    f"{{it.issued}} and nobody has taken it; the Apply Layer gives up after "
    f"{CONSUMER_WAITS_SEC:g} s.",
    Cause.PERMIT_TAKEN: "Nothing blocked it: {it.plan} got its permit {it.issued} ago, and it is "
    "gone before its time, so it was taken: the Apply Layer knows what came of it.",
    Cause.TAKEN_OR_EXPIRED: "Nothing blocked it: {it.plan} got its permit {it.issued} ago; whether "
    "it was taken or expired is unknown (a take leaves no trace): ask the Apply Layer's log.",
    Cause.VERDICT_UNKNOWN: "{it.plan} was queued {it.queued} ago and read, but no decision about "
    "it is known: it was skipped as too old (over 1 h), or is forgotten.",
    Cause.SOME_BLOCKED: _some_blocked,
}
"""A sentence for each cause: a template, or a function where words depend on the facts."""
