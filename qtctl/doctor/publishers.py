"""What the publishers of plans send: it comes, it can be read, the gates find in it what they judge
by, and its times are those of the server.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from qtctl.doctor.field_drift import by_problem, renamed
from qtctl.doctor.findings import Finding, Findings, ok, some, span, warning, wrong
from qtctl.doctor.inspection import Inspection
from qtctl.domain import plans
from qtctl.domain.entry_ids import time_of
from qtctl.domain.gates import MAX_AHEAD_SEC, Limits, lacking_input
from qtctl.domain.plans import Plan, PlanRules, Unreadable
from qtctl.domain.reasons import SKIPPED_DECISIONS, Kind
from qtctl.wire.governor.commit import known_facts
from qtctl.wire.governor.paging import LARGE_BYTES, size_of
from qtctl.wire.governor.plan_queue import Entry
from qtctl.wire.queries import plan_stream
from qtctl.wire.queries.recent import Event
from qtctl.wire.queries.streams import StreamEntry
from qtctl.wire.schema.keys import GROUP

IDLE_SEC = 3_600.0
"""Plans come every few seconds, most of them SKIP: an hour without any is no quiet market."""
AHEAD_SEC = 2.0
_FIELDS = (
    "plan_id", "symbol", "action", "decision", "kill_score", "side", "qty", "price", "entry_price",
    "reduceOnly", "timestamp", "source",
)  # fmt: skip
_INPUT = {"kill_score": "kill_score", "future": "timestamp", "notional": "qty and price"}
"""What a gate judges by, in words."""
UNKNOWN_DECISION = "unknown_decision"
UNKNOWN_SHOWN = 3
_LOST = {
    "backlog_skipped": "were skipped as too old (in the queue for over an hour)",
    "trimmed": "were trimmed from the stream before they were judged",
}
NO_SOURCE = "a publisher without a source"


def stream_of_plans(inspection: Inspection) -> Findings:
    """Plans come, and can be read; a producer that has renamed a field is named."""
    judged = [
        Event(time_of(it.id), it.fields.get("event", ""), it.fields.get("reason", ""), b"")
        for it in inspection.events
    ]
    deleted_at = plan_stream.deleted_after(inspection.plan_stream, judged)
    if deleted_at is not None:
        yield _deleted(inspection, deleted_at)
        return
    entries = inspection.plans
    see = inspection.qtctl("tail", "plans", "-n", "20")
    if not entries:
        yield wrong(f"no plan in {inspection.store.keys.plans}",
                    "nothing can be permitted: no publisher runs, or it writes elsewhere",
                    inspection.show("governor.stream_plans"))  # fmt: skip
        return
    # Ids by another clock tell no age; plan_clocks says so.
    age = 0.0 if inspection.plan_ids else inspection.now - time_of(entries[-1].id)
    if age > IDLE_SEC:
        yield warning(f"the last plan came {age / 3600:,.1f} h ago",
                      "the publishers have stopped, or write elsewhere", see)  # fmt: skip
    bad = [*_unreadable(inspection), *_unknown_decisions(inspection), *_lost(inspection),
           *_large(inspection)]  # fmt: skip
    yield from bad
    if age <= IDLE_SEC and not bad:
        yield ok(f"the last of the plans came {max(age, 0):,.0f} s ago; {len(entries):,} readable")


def _deleted(inspection: Inspection, at: float) -> Finding:
    stream = inspection.plan_stream
    now = f"has {stream.length:,} entries" if stream.length else "is empty"
    what = f"{stream.name} was deleted: plans were judged until {span(inspection.now - at)} ago"
    why = (
        "what was in it is gone: whoever sends plans must send again what got no permit; groups of "
        "other systems are gone with it, and are not given plans until they make theirs anew"
    )
    if GROUP not in {group.name for group in inspection.groups}:
        fix = inspection.qtctl("group", "recover")
    else:
        fix = inspection.qtctl("group", "list", "--stream", "plans")
    return wrong(f"{what}, and it {now} now", why, fix)


def gates_have_input(inspection: Inspection) -> Findings:
    """The gates that are on find in the plans what they judge by."""
    limits, _ = inspection.rules("governor", Limits)
    opens = [
        (it.fields, plan)
        for it, plan in _read(inspection)
        if isinstance(plan, Plan) and plan.execute and plan.kind is Kind.OPEN
    ]
    if not opens:
        yield ok("no open among the last plans")
        return
    lacking: dict[str, Counter[str]] = {}
    for fields, plan in opens:
        for gate in lacking_input(known_facts(plan), limits):
            lacking.setdefault(gate, Counter())[_sender(fields, gate)] += 1
    why = "such an open passes the gate unseen. The publisher must send it, or [governor] "
    why += "require must ask for it"
    for gate, senders in lacking.items():
        what = f"the gate {gate} had nothing to judge in {senders.total():,} of the last "
        what += f"{len(opens):,} opens: no {_INPUT[gate]} from {some(senders)}"
        yield warning(what, why, inspection.show("governor.require"))
    if not lacking:
        yield ok(f"all gates that are on had their input in {len(opens):,} opens")


def plan_clocks(inspection: Inspection) -> Findings:
    """The publishers' clocks beside the server's, by plans that were just sent."""
    ids = inspection.plan_ids
    if ids is not None:
        steps = ids.way_out(inspection.redis_cli)
        in_order = "; ".join(f"{place}. {step}" for place, step in enumerate(steps, 1))
        moves = len(steps) > 1
        fix = ids.rename(inspection.redis_cli) if moves else inspection.qtctl("tail", "plans")
        yield wrong(ids.what, f"{ids.effect}. The way out, in this order: {in_order}", fix)
        return
    ahead: dict[str, float] = {}
    for entry, plan in _read(inspection):
        if isinstance(plan, Plan) and plan.at is not None:
            by, source = plan.at - time_of(entry.id), plan.source[:40] or NO_SOURCE
            ahead[source] = max(ahead.get(source, by), by)
    off = {source: by for source, by in ahead.items() if by > AHEAD_SEC}
    why = "over 60 s ahead an open is blocked (future_plan). On its host:"
    for source, by in sorted(off.items(), key=lambda it: -it[1]):
        level = wrong if by > MAX_AHEAD_SEC else warning
        yield level(f"plans of {source} are {by:,.0f} s ahead of the server's clock", why,
                    "sudo timedatectl set-ntp true")  # fmt: skip
    if not off:
        yield ok("no plan is from the future")


def _sender(fields: Mapping[str, str], gate: str) -> str:
    """Who sent a plan without what a gate needs, and the name that the field may have now."""
    source = _source(fields)
    names = {"kill_score": "kill_score", "future": "timestamp", "notional": "price"}
    missing = names[gate] if not fields.get(names[gate]) else "qty"
    became = renamed(fields, missing, _FIELDS)
    return f"{source} (has it {became!r} become?)" if became else source


def _read(inspection: Inspection) -> Iterator[tuple[StreamEntry, Plan | Unreadable]]:
    rules, _ = inspection.rules("governor", PlanRules)
    for entry in inspection.plans:
        yield entry, plans.read(Entry(entry.id, entry.raw).fields(), rules)


def _source(fields: Mapping[str, str]) -> str:
    return fields.get("source", "")[:40] or NO_SOURCE


def _unreadable(inspection: Inspection) -> Findings:
    problems, all_plans = [], len(inspection.plans)
    for entry, plan in _read(inspection):
        if isinstance(plan, Unreadable):
            name = entry.fields.get("plan_id", "") or entry.id
            problems.append((name, _plan_problem(entry, plan)))
    for problem, names in by_problem(problems).items():
        level = wrong if len(names) == all_plans else warning
        what = f"{len(names):,} of the last {all_plans:,} plans: {problem} ({some(names)})"
        why = "such a plan gets no permit, and is in governor.rejected"
        yield level(what, why, inspection.qtctl("tail", "rejected"))


def _unknown_decisions(inspection: Inspection) -> Findings:
    """Words that nobody acts on, by who sends them: in the last plans, and in the events."""
    found: Counter[tuple[str, str]] = Counter(
        (plan.decision[:40], plan.source[:40])
        for _, plan in _read(inspection)
        if isinstance(plan, Plan) and not plan.decision_known
    )
    for fields in (event.fields for event in inspection.events):
        if fields.get("event") == UNKNOWN_DECISION:
            pair = fields.get("decision", "")[:40], fields.get("source", "")[:40]
            of = fields.get("count", "")
            found[pair] = max(found[pair], int(of) if of.isdecimal() else 1)
    see = inspection.qtctl("tail", "plans", "-n", "20")
    for (word, source), count in found.most_common(UNKNOWN_SHOWN):
        meant = " Did it mean EXECUTE?" if word.strip().upper().startswith("EXEC") else ""
        yield warning(
            f"plans of {source or NO_SOURCE} have the decision {word!r}: {count:,} of them",
            "an unknown word: they are acknowledged, and neither judged nor carried out."
            f"{meant} Only EXECUTE is carried out; {', '.join(SKIPPED_DECISIONS)} are not meant to",
            see,
        )
    if len(found) > UNKNOWN_SHOWN:
        more = f"{len(found) - UNKNOWN_SHOWN:,} more unknown decisions"
        yield warning(more, "likewise not carried out", see)


def _large(inspection: Inspection) -> Findings:
    """Plans that take the time of all behind them, by who sends them."""
    largest: dict[str, int] = {}
    for entry in inspection.plans:
        size = size_of(entry.raw)
        if size > LARGE_BYTES:
            source = _source(entry.fields)
            largest[source] = max(largest.get(source, 0), size)
    for source, size in sorted(largest.items(), key=lambda it: -it[1]):
        what = f"plans of {source} have up to {size / 1e6:,.1f} MB each"
        yield warning(what, "they slow down every plan behind them; a plan has under 1 KB",
                      inspection.qtctl("tail", "plans", "-n", "20"))  # fmt: skip


def _lost(inspection: Inspection) -> Findings:
    """Plans of the last hour that nobody judged, by their events."""
    for name, what in _LOST.items():
        found = [event for event in inspection.events if event.fields.get("event") == name]
        if found:
            counts = [event.fields.get("count", "") for event in found]
            known = sum(int(count) for count in counts if count.isdecimal())
            more = "" if all(map(str.isdecimal, counts)) else " or more"
            ago = span(max(0.0, inspection.now - time_of(found[0].id)))
            yield warning(
                f"{known:,}{more} plans {what}, the last {ago} ago",
                "nothing was decided about them, and closes may be among them: tell the sender",
                inspection.qtctl("tail", "events", "-n", "20"),
            )


def _plan_problem(entry: StreamEntry, plan: Unreadable) -> str:
    who = _source(entry.fields)
    missing, is_missing, _ = plan.problem.partition(" is missing")
    became = renamed(entry.fields, missing, _FIELDS) if is_missing else None
    if became:
        return f"{plan.problem} but {became!r} is there: {who} has renamed it"
    return f"{plan.problem}, sent by {who}"
