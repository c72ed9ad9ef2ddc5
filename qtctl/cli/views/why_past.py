"""What the history adds to `qtctl why`: plans of the symbol, or verdicts, that Redis forgot."""

from itertools import islice

import msgspec

from qtctl.cli.views.past import Past
from qtctl.domain import numbers
from qtctl.domain.diagnosis import Permit, PermitState, PlanSeen
from qtctl.domain.entry_ids import time_of
from qtctl.domain.names import same_symbol
from qtctl.domain.plans import EXECUTE
from qtctl.domain.reasons import Verdict
from qtctl.history.decisions import Decision
from qtctl.wire.queries.diagnosis import RecentPlans, with_rejected
from qtctl.wire.queries.streams import StreamEntry

MOST = 100_000
"""Decisions of the history that are counted, the newest."""
_OVERLAP_SEC = 1.0


def with_past(
    past: Past, recent: RecentPlans, symbol: str, since: float
) -> tuple[RecentPlans, int]:
    """The same with what Redis has forgotten since a time (epoch seconds), and how many plans it no
    longer has at all. The history stays closed where Redis goes back far enough."""
    until = max(past.known_since, recent.verdicts_since)
    older = until > since
    found = list(islice(past.latest(since, until + _OVERLAP_SEC, [symbol]), MOST)) if older else []
    unread = max(recent.rejected_since, until)
    rejected = (
        [StreamEntry(it.id, dict(it.fields)) for it in past.rejected(since, unread)]
        if unread > since
        else []
    )
    plans, given, count = _merged(recent, found)
    named = [seen for seen in plans if seen.entry_id]
    seen = with_rejected(
        named, rejected, lambda raw: same_symbol(raw.get("raw:symbol", "").strip(), symbol)
    )
    new = len(seen) - len(named)
    if older:
        past.note(len(given) + new, since, until)
    if len(found) == MOST:
        past.problem = f"only the newest {MOST:,} decisions of {symbol} are counted"
    seen += [plan for plan in plans if not plan.entry_id]
    whole = older and past.history is not None
    return _told(past, recent, seen, given, whole=whole), count + new


def _merged(
    recent: RecentPlans, found: list[Decision]
) -> tuple[list[PlanSeen], dict[str, Decision], int]:
    """All plans, by the entry the decisions of the history among them, and how many of these plans
    Redis no longer has."""
    plans = {seen.entry_id or f"plan {seen.plan_id}": seen for seen in recent.plans}
    named = {seen.plan_id for seen in recent.plans if not seen.entry_id}
    given: dict[str, Decision] = {}
    for decision in found:
        known = plans.get(decision.entry_id)
        forgotten = known is not None and not known.verdict and not known.waits
        if (known is None and decision.plan_id not in named) or forgotten:
            given[decision.entry_id] = decision
            plans[decision.entry_id] = _seen(decision)
    return list(plans.values()), given, len(plans) - len(recent.plans)


def _seen(decision: Decision) -> PlanSeen:
    return PlanSeen(
        at=time_of(decision.entry_id) if decision.entry_id else decision.decided_ms / 1000,
        plan_id=decision.plan_id,
        entry_id=decision.entry_id,
        decision=EXECUTE,
        verdict=decision.verdict,
        reason=decision.reason,
        kind=decision.kind,
    )


def _told(
    past: Past, recent: RecentPlans, seen: list[PlanSeen], given: dict[str, Decision], *,
    whole: bool,
) -> RecentPlans:  # fmt: skip
    """The plans in their order; the decision about the last one, and the permits of all."""
    plans = sorted(seen, key=lambda plan: -plan.at)
    last = next((plan for plan in plans if plan.meant), None)
    decision = recent.decision
    permits = {
        each.plan_id: _permit(each) for each in given.values() if each.verdict == Verdict.PERMITTED
    }
    if last is not None and last.entry_id in given:
        decision = past.whole(given[last.entry_id])
        if decision.get("withdrawn_at") and last.plan_id in permits:
            permits[last.plan_id] = msgspec.structs.replace(
                permits[last.plan_id],
                state=PermitState.WITHDRAWN,
                withdrawn_at=numbers.number(decision["withdrawn_at"]),
            )
    return msgspec.structs.replace(
        recent,
        plans=tuple(plans),
        decision=decision,
        permits=permits | recent.permits,
        back_to=None if whole else recent.back_to,
    )


def _permit(decision: Decision) -> Permit:
    """Long over; whether it was taken is not recorded."""
    at, queued = decision.decided_ms / 1000, (decision.queue_age_ms or 0) / 1000
    return Permit(decision.plan_id, PermitState.UNKNOWN, at, queued)
