"""What became of an entry of the plan stream, as far as others can see."""

from collections.abc import Mapping, Sequence

import msgspec

from qtctl import errors
from qtctl.domain import plans
from qtctl.domain.plans import Plan, PlanRules, Unreadable
from qtctl.domain.reasons import Reason, Verdict
from qtctl.domain.stored import stored
from qtctl.wire.client.store import Store
from qtctl.wire.governor.plan_queue import Entry, group_state
from qtctl.wire.queries.decisions import Decision, by_id
from qtctl.wire.queries.streams import StreamEntry
from qtctl.wire.schema.ids import order
from qtctl.wire.schema.keys import GROUP
from qtctl.wire.schema.records import text


class EntryVerdict(msgspec.Struct, frozen=True):
    """A verdict and its reason, both empty where nothing is known yet; kind is empty for what can't
    be read, and problem says why it can't."""

    verdict: str = ""
    reason: str = ""
    kind: str = ""
    problem: str = ""


def of_entries(
    store: Store, entries: Sequence[StreamEntry], rules: PlanRules
) -> list[EntryVerdict]:
    """The verdicts on these entries, from the decisions."""
    found = [read(entry, rules) for entry in entries]
    group = group_state(store)
    settled = "0-0" if group is None else group.last_id  # The last that the governors have read.
    last = order(settled)
    ids = [
        plan.plan_id
        for entry, plan in zip(entries, found, strict=True)
        if isinstance(plan, Plan) and order(entry.id) <= last
    ]
    known = by_id(store, list(dict.fromkeys(ids)))
    out = []
    for entry, plan in zip(entries, found, strict=True):
        verdict = _verdict(entry.id, plan, known, settled)
        more = {"kind": plan.kind} if isinstance(plan, Plan) else {"problem": plan.problem}
        out.append(msgspec.structs.replace(verdict, **more))
    return out


def of_entry(
    store: Store, entry_id: str, fields: Mapping[str, str], rules: PlanRules
) -> EntryVerdict | None:
    """The verdict on one entry, None while there is none."""
    (seen,) = of_entries(store, [StreamEntry(entry_id, dict(fields))], rules)
    if not seen.verdict or _is_pending(store, entry_id):
        return None
    return seen


def read(entry: StreamEntry, rules: PlanRules) -> Plan | Unreadable:
    """A plan as the governor reads it: a bad byte or a repeated name shows in the raw only."""
    fields = Entry(entry.id, entry.raw).fields() if entry.raw else entry.fields
    return plans.read(fields, rules)


def _verdict(
    entry_id: str, plan: Plan | Unreadable, known: Mapping[str, Decision], settled: str
) -> EntryVerdict:
    if order(entry_id) > order(settled):
        return EntryVerdict()
    if isinstance(plan, Unreadable):
        return EntryVerdict(Verdict.REJECTED, Reason.INVALID_PLAN)
    decision = known.get(plan.plan_id)
    if decision is None:
        return EntryVerdict() if plan.execute else EntryVerdict(Verdict.SKIPPED, plan.decision)
    if decision.get("entry_id") == entry_id:
        return EntryVerdict(decision.get("verdict", ""), decision.get("reason", ""))
    if order(decision.get("entry_id") or "0-0") > order(entry_id):
        # A later entry of the same plan was judged; what this one got is no longer known.
        return EntryVerdict(Verdict.BLOCKED, "judged again later")
    if decision.get("verdict") != Verdict.PERMITTED:
        return EntryVerdict() if plan.execute else EntryVerdict(Verdict.SKIPPED, plan.decision)
    same = (decision.get("symbol"), decision.get("kind")) == (stored(plan.symbol), plan.kind)
    same = same and plan.execute
    return EntryVerdict(Verdict.BLOCKED, Reason.DUPLICATE_PLAN if same else Reason.PLAN_CONFLICT)


def _is_pending(store: Store, entry_id: str) -> bool:
    try:
        rows = store.run("XPENDING", store.keys.plans, GROUP, entry_id, entry_id, 1)
    except errors.ServerRefusedError:
        return False
    return bool(rows) and text(rows[0][0]) == entry_id
