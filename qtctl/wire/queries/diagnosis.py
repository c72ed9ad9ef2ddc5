"""What is known of one symbol's recent plans, for the question why there was no trade.

Each stream is read back to the time asked for, up to a cap; what the cap cut off is reported.
Nothing is read plan by plan.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from qtctl.domain import numbers
from qtctl.domain.diagnosis import Kill, Permit, PermitState, PlanSeen
from qtctl.domain.entry_ids import time_of
from qtctl.domain.facts import facts_of
from qtctl.domain.gates import Check, Limits, judge
from qtctl.domain.names import same_symbol
from qtctl.domain.plans import EXECUTE, PlanRules
from qtctl.domain.reasons import Verdict
from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.control import kill_switch
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.queries import decisions, permits, streams, verdicts
from qtctl.wire.queries.decisions import Decision
from qtctl.wire.queries.streams import StreamEntry
from qtctl.wire.schema.ids import order
from qtctl.wire.schema.keys import GROUP
from qtctl.wire.schema.kill_names import KillNames

PLAN_CAP = 10_000
"""Entries of the plan stream that are looked at, and of the events."""
REJECTED_CAP = 300
"""Likewise of the rejected plans: one may have 64 KiB."""
REJECTED_PAGE = 100
PENDING_CAP = 1_000


class RecentPlans(msgspec.Struct, frozen=True):
    """The plans of one symbol since a time, the latest first; see domain.diagnosis.Diagnosis."""

    plans: tuple[PlanSeen, ...]
    permits: dict[str, Permit]
    decision: Decision | None
    """About the last plan that was meant to be carried out."""
    looked_at: int
    back_to: float | None
    nameless: int
    group: xinfo.GroupInfo | None
    verdicts_since: float = 0.0
    """Since when the streams have each of its plans, or the event of its verdict, epoch seconds; 0
    where nothing was trimmed or cut off."""
    rejected_since: float = 0.0
    """Likewise the plans that could not be read."""


def recent_plans(
    store: Store, symbol: str, since: float, now: float, rules: PlanRules, permit_ttl_sec: float
) -> RecentPlans:
    """What became of the symbol's plans. since, now: epoch seconds on the server's clock.
    permit_ttl_sec: of permits as they are issued now; 0 where that is not known."""
    queued = streams.since(store, store.keys.plans, since, PLAN_CAP)
    events = streams.since(store, store.keys.events, since, PLAN_CAP)
    unreadable = streams.since(store, store.keys.rejected, since, REJECTED_CAP, REJECTED_PAGE)
    group = group_state(store)
    ours = [it for it in queued.entries if same_symbol(it.fields.get("symbol", "").strip(), symbol)]
    seen = _judged(store, ours, rules, group)
    seen = with_rejected(
        seen, unreadable.entries, lambda raw: same_symbol(raw.get("raw:symbol", "").strip(), symbol)
    )
    seen = sorted(_with_events(seen, events.entries, symbol), key=lambda it: -it.at)
    last = next((plan for plan in seen if plan.meant), None)
    decisions = _decisions(store, seen, last)
    return RecentPlans(
        plans=tuple(seen),
        permits=_permits(store, decisions, now, permit_ttl_sec),
        decision=None if last is None else decisions.get(last.plan_id),
        looked_at=len(queued.entries),
        back_to=queued.back_to,
        nameless=sum(not entry.fields.get("raw:symbol") for entry in unreadable.entries),
        group=group,
        verdicts_since=min(
            streams.begins(store, store.keys.plans, queued),
            streams.begins(store, store.keys.events, events),
        ),
        rejected_since=streams.begins(store, store.keys.rejected, unreadable),
    )


def undecided(
    store: Store, plan_id: str, rules: PlanRules, entry_id: str = ""
) -> tuple[list[PlanSeen], dict[str, str]]:
    """What is known of a plan without a decision, the latest entry first, and that entry's fields:
    from the plan stream and the rejected plans, as far back as the caps go; where its entry is
    known, by that."""
    if entry_id:
        ours = streams.at(store, store.keys.plans, entry_id)
    else:
        queued = streams.since(store, store.keys.plans, 0.0, PLAN_CAP).entries
        ours = [entry for entry in queued if entry.fields.get("plan_id") == plan_id]
    unreadable = streams.since(store, store.keys.rejected, 0.0, REJECTED_CAP, REJECTED_PAGE)
    seen = _judged(store, ours, rules, group_state(store))
    seen = with_rejected(
        seen, unreadable.entries, lambda raw: raw.get("raw:plan_id", "").strip() == plan_id
    )
    fields = [entry.fields for entry in ours] or [
        {name.removeprefix("raw:"): value for name, value in entry.fields.items()}
        for entry in unreadable.entries
        if entry.fields.get("raw:plan_id") == plan_id
    ]
    return sorted(seen, key=lambda it: order(it.entry_id), reverse=True), (fields or [{}])[0]


# Plans -----------------------------------------------------------------------------------------


def _judged(
    store: Store, entries: Sequence[StreamEntry], rules: PlanRules, group: xinfo.GroupInfo | None
) -> list[PlanSeen]:
    settled = "0-0" if group is None else group.last_id
    outcomes = verdicts.of_entries(store, entries, rules) if entries else []
    found = [
        PlanSeen(
            at=time_of(entry.id),
            plan_id=entry.fields.get("plan_id", ""),
            entry_id=entry.id,
            decision=entry.fields.get("decision", ""),
            verdict=str(outcome.verdict),
            reason=str(outcome.reason),
            problem=outcome.problem,
            waits="queue" if order(entry.id) > order(settled) else "",
            kind=str(outcome.kind),
        )
        for entry, outcome in zip(entries, outcomes, strict=True)
    ]
    return _with_pending(store, found)


def _with_pending(store: Store, found: list[PlanSeen]) -> list[PlanSeen]:
    """A plan that was delivered and has no verdict is pending, or nothing is known of it."""
    open_ = [seen.entry_id for seen in found if not seen.verdict and not seen.waits]
    if not open_:
        return found
    oldest, newest = min(open_, key=order), max(open_, key=order)
    (rows,) = store.batch([("XPENDING", store.keys.plans, GROUP, oldest, newest, PENDING_CAP)])
    pending = set() if is_error(rows) else {each.id for each in xinfo.pending(rows)}
    return [
        msgspec.structs.replace(seen, waits="pending")
        if seen.entry_id in pending and not seen.verdict
        else seen
        for seen in found
    ]


def with_rejected(
    found: list[PlanSeen],
    rejected: Sequence[StreamEntry],
    is_ours: Callable[[Mapping[str, str]], bool],
) -> list[PlanSeen]:
    """The same with the governor's own records of the plans that it could not read; is_ours: by
    the fields of such a record."""
    by_entry = {seen.entry_id: seen for seen in found}
    for fields in (entry.fields for entry in rejected):
        if not is_ours(fields):
            continue
        entry_id = fields.get("entry_id", "")
        seen = by_entry.get(entry_id) or PlanSeen(
            at=time_of(entry_id),
            plan_id=fields.get("raw:plan_id", ""),
            entry_id=entry_id,
            decision=fields.get("raw:decision", ""),
        )
        by_entry[entry_id] = msgspec.structs.replace(
            seen,
            verdict=Verdict.REJECTED.value,
            reason=fields.get("reason", ""),
            problem=fields.get("problem", ""),
            waits="",
        )
    return list(by_entry.values())


def _with_events(
    found: list[PlanSeen], events: Sequence[StreamEntry], symbol: str
) -> list[PlanSeen]:
    """Plans whose entries the stream holds no more, or that lie behind the cap."""
    known = {seen.plan_id for seen in found}
    verdicts_ = (Verdict.PERMITTED.value, Verdict.BLOCKED.value)
    return found + [
        PlanSeen(
            at=time_of(event.id),
            plan_id=event.fields.get("plan_id", ""),
            entry_id="",
            decision=EXECUTE,
            verdict=event.fields["event"],
            reason=event.fields.get("reason", ""),
        )
        for event in events
        if same_symbol(event.fields.get("symbol", ""), symbol)
        and event.fields.get("event") in verdicts_
        and event.fields.get("plan_id", "") not in known
    ]


# Decisions and permits ------------------------------------------------------------------------


def _decisions(
    store: Store, found: Sequence[PlanSeen], last: PlanSeen | None
) -> dict[str, Decision]:
    """Those about the permitted plans, and about the last one."""
    wanted = [seen.plan_id for seen in found if seen.verdict == Verdict.PERMITTED]
    if last is not None and last.verdict != Verdict.REJECTED:
        wanted.append(last.plan_id)
    return decisions.by_id(store, list(dict.fromkeys(wanted)))


def _permits(
    store: Store, decisions: Mapping[str, Decision], now: float, ttl_sec: float
) -> dict[str, Permit]:
    permitted = [id_ for id_, it in decisions.items() if it.get("verdict") == Verdict.PERMITTED]
    left = permits.time_left(store, permitted)
    return {id_: _permit(id_, decisions[id_], left[id_], now, ttl_sec) for id_ in permitted}


def _permit(
    plan_id: str, decision: Decision, left: permits.PermitExpiry, now: float, ttl_sec: float
) -> Permit:
    at = numbers.number(decision.get("decided_at", "")) or 0.0
    withdrawn = numbers.number(decision.get("withdrawn_at", ""))
    # Without an end in the index (trimmed, or taken with qtctl), that of a permit issued now.
    until = at + ttl_sec if left.until is None else left.until
    if left.there:
        state = PermitState.OPEN
    elif withdrawn is not None:
        state = PermitState.WITHDRAWN
    else:
        state = PermitState.TAKEN if until > now else PermitState.UNKNOWN
    return Permit(
        plan_id=plan_id,
        state=state,
        at=at,
        queue_age_sec=numbers.number(decision.get("queue_age_sec", "")) or 0.0,
        withdrawn_at=withdrawn,
        ttl_sec=left.ttl_sec,
    )


def failed_checks(decision: Decision | None, limits: Limits | None) -> tuple[Check, ...]:
    """The lines of the worksheet that failed, the one that blocked the plan first; none where its
    limits are forgotten, and where the record does not lead to its own reason."""
    if decision is None or limits is None:
        return ()
    judged = judge(facts_of(decision), limits)
    if judged.reason != decision.get("reason"):
        return ()
    return tuple(check for check in judged.worksheet if check.passed is False)


def kill(store: Store, names: KillNames, symbol: str) -> Kill:
    """The strictest of the kill keys and halt keys that the governors look at, or of the halt of
    this symbol alone, as they stand."""
    replies = store.batch(kill_switch.asks(store.keys, names))
    row = kill_switch.strictest(kill_switch.rows_of(store.keys, names, replies), symbol)
    if row is None:
        return Kill()
    return Kill(row.key, row.value, row.mode.level, row.symbol, row.since, row.who, row.why)
