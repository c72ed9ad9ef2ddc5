"""Streams that do not grow for ever, and groups that do not stand still."""

from collections.abc import Iterator

from qtctl.doctor.findings import Finding, ok, some, unknown, warning, wrong
from qtctl.doctor.inspection import Inspection
from qtctl.wire.queries.groups import STUCK_SEC, Group, StreamState
from qtctl.wire.schema.keys import GROUP

Findings = Iterator[Finding]
DAY_SEC = 86_400
PLANS_MANY, PLANS_TOO_MANY = 100_000, 1_000_000
"""Of the plan stream, which its publishers must trim: a day of plans is less than the first."""
_OTHERS = "Ask the group's owner first: what 'group recover' hands over there is carried out"
DEAD_SEC = 3_600.0


def bounded(inspection: Inspection) -> Findings:
    """Each stream is trimmed by who writes it."""
    for state in inspection.streams:
        if state.wrong_type:
            yield wrong(
                f"{state.name} is not a stream",
                "nothing can be read from it, or written to it, until the key is out of the way",
                inspection.words.redis("rename", state.name, f"{state.name}.wrong-type"),
            )
        elif state.problem:
            yield unknown(state.problem)
        elif state.name == inspection.store.keys.plans:
            yield _plans_bounded(inspection, state)
        else:
            yield _ours_bounded(inspection, state)


def lag(inspection: Inspection) -> Findings:
    """Each group of the plan stream is at its end, or nearly."""
    if GROUP not in {group.name for group in inspection.groups}:
        yield wrong(
            f"{inspection.store.keys.plans} has no group {GROUP}",
            "no plan is judged; a governor makes it when it starts",
            _to_work(inspection),
        )
    for group in inspection.groups:
        yield _lag(inspection, group)


def pending(inspection: Inspection) -> Findings:
    """Nothing was taken and never finished."""
    for group in inspection.groups:
        if not group.stuck:
            yield ok(f"group {group.name}: {group.pending:,} pending, none for over a minute")
            continue
        holders = [each.name for each in group.consumers or () if each.pending]
        held = f", held by {some(holders)}" if holders else ""
        what = (
            f"group {group.name}: {group.pending:,} pending, {group.stuck:,} of them untouched for "
            f"up to {_span(group.stuck_sec)}{held}"
        )
        if group.name == GROUP:
            why = "these plans got no verdict; a governor that works takes them over after 5 s"
            yield wrong(what, why, _to_work(inspection))
        else:
            yield warning(
                what, f"they were taken and never finished. {_OTHERS}", _listed(inspection)
            )


def consumers(inspection: Inspection) -> Findings:
    """No consumer is dead."""
    for group in inspection.groups:
        if group.consumers is None:
            yield unknown(f"no permission to look at the consumers of group {group.name}")
            continue
        dead = [each for each in group.consumers if each.idle_sec > DEAD_SEC]
        if not dead:
            yield ok(f"group {group.name}: {len(group.consumers)} consumers, none dead")
            continue
        held = sum(each.pending for each in dead)
        what = (
            f"group {group.name}: {len(dead)} of {len(group.consumers)} consumers have asked for "
            f"nothing for up to {_span(max(each.idle_sec for each in dead))}, {held:,} pending "
            f"with them: {some(each.name for each in dead)}"
        )
        yield _dead(inspection, group, what, held)


def _dead(inspection: Inspection, group: Group, what: str, held: int) -> Finding:
    if not held:
        force = [] if group.name == GROUP else [group.name, "--force"]
        why = "they hold nothing, and hide who works"
        return warning(what, why, inspection.words.qtctl("group", "prune", *force))
    why = "what a dead consumer holds nobody else is given unless it is claimed"
    if group.name == GROUP:
        return warning(what, why, _to_work(inspection))
    return warning(what, f"{why}. {_OTHERS}", _listed(inspection))


def _to_work(inspection: Inspection) -> str:
    """A governor to the group: hands over to one that lives, or starts one."""
    if inspection.running["governor"]:
        return inspection.words.qtctl("group", "recover")
    unit = inspection.unit_of("governor")
    return f"sudo systemctl start {unit}" if unit else inspection.words.qtctl("serve", "governor")


def _listed(inspection: Inspection) -> str:
    return inspection.words.qtctl("group", "list", "--stream", "plans")


def _plans_bounded(inspection: Inspection, state: StreamState) -> Finding:
    age = 0.0 if state.first_ms is None else inspection.now - state.first_ms / 1000
    what = f"{state.name} has {state.length:,} entries, the oldest {_span(age)} old"
    if state.length <= PLANS_MANY:
        return ok(what)
    why = "its publishers do not trim it (XADD … MAXLEN): it grows until memory is out"
    level = wrong if state.length > PLANS_TOO_MANY else warning
    if age > DAY_SEC + 60:
        # What is older than an hour no governor judges any more.
        day_ago = f"{int((inspection.now - DAY_SEC) * 1000)}-0"
        fix = inspection.words.redis("xtrim", state.name, "MINID", "=", day_ago)
    else:
        fix = inspection.words.redis("xtrim", state.name, "MAXLEN", "=", str(PLANS_MANY))
    return level(what, why, fix)


def _ours_bounded(inspection: Inspection, state: StreamState) -> Finding:
    most = _most(inspection, state.name)
    what = f"{state.name} has {state.length:,} entries"
    if state.length <= 2 * most:
        return ok(what)
    return warning(
        f"{what}, and should have about {most:,}",
        "somebody else writes to it and does not trim it: it grows until memory is out",
        inspection.words.redis("xtrim", state.name, "MAXLEN", "=", str(most)),
    )


def _most(inspection: Inspection, name: str) -> int:
    """What its writer keeps."""
    if name == inspection.store.keys.proposed_stream:
        kept = int(inspection.settings_of("allocation")[0]["stream_maxlen"])
        return max(kept, 3 * len(inspection.targets))
    return int(inspection.settings_of("governor")[0]["stream_maxlen"])


def _lag(inspection: Inspection, group: Group) -> Finding:
    behind = "over 1,000" if group.behind is None else f"{group.behind:,}"
    lag = "unknown (NULL)" if group.lag is None else f"{group.lag:,}"
    what = f"group {group.name}: lag {lag}"
    if group.lag is None:
        what += f", {behind} entries counted behind it"
    if group.oldest_behind_ms is None:
        return ok(what)
    waits = inspection.now - group.oldest_behind_ms / 1000
    ours = group.name == GROUP
    limit = float(inspection.settings_of("governor")[0]["max_queue_age_sec"]) if ours else STUCK_SEC
    what += f", the first has been waiting {_span(waits)}"
    if waits <= limit:
        return ok(what)
    why = "the group stands still, or falls behind: "
    why += "its plans end as stale_plan" if ours else "its consumer misses the permits"
    fix = (
        _to_work(inspection) if ours and not inspection.running["governor"] else _listed(inspection)
    )
    return (wrong if ours else warning)(what, why, fix)


def _span(seconds: float) -> str:
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:,.0f} {name}"
    return f"{seconds / DAY_SEC:,.1f} d"
