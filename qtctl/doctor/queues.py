"""Streams that stay bounded, and groups that keep moving."""

from itertools import count

from qtctl.doctor.findings import Finding, Findings, ok, some, span, unknown, warning, wrong
from qtctl.doctor.inspection import Inspection
from qtctl.wire.queries.groups import STUCK_SEC, Group, StreamState
from qtctl.wire.schema.keys import GROUP

DAY_SEC = 86_400
PLANS_MANY, PLANS_TOO_MANY = 100_000, 1_000_000
"""Of the plan stream, which its publishers must trim: a day of plans is less than the first."""
_OTHERS = "Ask the group's owner first: what 'group recover' hands over there is carried out"
_GROWS = "it grows until memory is out"
DEAD_SEC = 3_600.0


def bounded(inspection: Inspection) -> Findings:
    """Each stream is trimmed by who writes it."""
    for state in inspection.streams:
        if state.wrong_type:
            why = "nothing can be read from it, or written to it, until the key is out of the way"
            fix = inspection.redis_cli(*room_for(state.name))
            yield wrong(f"{state.name} is not a stream", why, fix)
        elif state.problem:
            yield unknown(state.problem)
        elif state.name == inspection.store.keys.plans:
            yield _plans_bounded(inspection, state)
        else:
            yield _ours_bounded(inspection, state)


def room_for(key: str) -> tuple[str, ...]:
    """The command that moves a key of the wrong type away, and loses nothing."""
    return "rename", key, f"{key}.wrong-type"


def lag(inspection: Inspection) -> Findings:
    """Each group of the plan stream is at its end, or nearly."""
    if GROUP not in {group.name for group in inspection.groups}:
        why = "no plan is judged; a governor makes it when it starts"
        what = f"{inspection.store.keys.plans} has no group {GROUP}"
        yield wrong(what, why, _to_work(inspection))
    for group in inspection.groups:
        yield _ahead(inspection, group) if group.ahead_of else _lag(inspection, group)


def pending(inspection: Inspection) -> Findings:
    """Nothing was taken and never finished."""
    for group in inspection.groups:
        if not group.stuck:
            yield _held(inspection, group)
            continue
        holders = [each.name for each in group.consumers or () if each.pending]
        held = f", held by {some(holders)}" if holders else ""
        what = (
            f"group {group.name}: {group.pending:,} pending, {group.stuck:,} of them untouched for "
            f"up to {span(group.stuck_sec)}{held}"
        )
        if group.name == GROUP:
            why = "these plans got no verdict; a governor that works takes them over after 5 s"
            yield wrong(what, why, _to_work(inspection))
        else:
            why = f"they were taken and never finished. {_OTHERS}"
            yield warning(what, why, _listed(inspection))


def _held(inspection: Inspection, group: Group) -> Finding:
    """What is pending, and not stuck for a minute: retries touch it, too."""
    limit = float(inspection.settings_of("governor")[0]["max_queue_age_sec"])
    oldest_ms = group.oldest_pending_ms
    waits = 0.0 if oldest_ms is None else inspection.now - oldest_ms / 1000
    if group.name != GROUP or waits <= limit:
        return ok(f"group {group.name}: {group.pending:,} pending, none for over a minute")
    what = f"group {group.name}: {group.pending:,} pending, the first was queued {span(waits)} ago"
    why = "they were taken up and have no verdict: Redis refuses it, or the governor hangs"
    return wrong(what, why, _to_work(inspection) if not inspection.running["governor"]
                 else _listed(inspection))  # fmt: skip


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
            f"nothing for up to {span(max(each.idle_sec for each in dead))}, {held:,} pending "
            f"with them: {some(each.name for each in dead)}"
        )
        yield _dead(inspection, group, what, held)


def _dead(inspection: Inspection, group: Group, what: str, held: int) -> Finding:
    if not held:
        force = [] if group.name == GROUP else [group.name, "--force"]
        why = "they hold nothing, and hide who works"
        return warning(what, why, inspection.qtctl("group", "prune", *force))
    why = "what a dead consumer holds nobody else is given unless it is claimed"
    if group.name == GROUP:
        return warning(what, why, _to_work(inspection))
    return warning(what, f"{why}. {_OTHERS}", _listed(inspection))


def _to_work(inspection: Inspection) -> str:
    """Hands entries over to a running governor, or starts one."""
    if inspection.running["governor"]:
        return inspection.qtctl("group", "recover")
    return inspection.start("governor")


def _one_more(inspection: Inspection) -> str:
    """Starts another governor beside those that run: they share the group."""
    taken = {each.name for each in inspection.running["governor"]}
    name = next(f"g{number}" for number in count(2) if f"g{number}" not in taken)
    port = "governor.metrics_port=0"
    return inspection.words.serve("governor", "--set", f"governor.name={name}", "--set", port)


def _listed(inspection: Inspection) -> str:
    return inspection.qtctl("group", "list", "--stream", "plans")


def _plans_bounded(inspection: Inspection, state: StreamState) -> Finding:
    age = 0.0 if state.first_ms is None else inspection.now - state.first_ms / 1000
    what = f"{state.name} has {state.length:,} entries, the oldest {span(age)} old"
    if state.length <= PLANS_MANY:
        return ok(what)
    keep = ("MAXLEN", "=", str(PLANS_MANY))
    if age > DAY_SEC + 60:
        # No governor judges what is older than an hour.
        keep = ("MINID", "=", f"{int((inspection.now - DAY_SEC) * 1000)}-0")
    level = wrong if state.length > PLANS_TOO_MANY else warning
    why = f"its publishers do not trim it (XADD … MAXLEN): {_GROWS}"
    return level(what, why, inspection.redis_cli("xtrim", state.name, *keep))


def _ours_bounded(inspection: Inspection, state: StreamState) -> Finding:
    most = _most(inspection, state.name)
    what = f"{state.name} has {state.length:,} entries"
    if state.length <= 2 * most:
        return ok(what)
    why = f"somebody else writes to it and does not trim it: {_GROWS}"
    fix = inspection.redis_cli("xtrim", state.name, "MAXLEN", "=", str(most))
    return warning(f"{what}, and should have about {most:,}", why, fix)


def _most(inspection: Inspection, name: str) -> int:
    """What its writer keeps."""
    if name == inspection.store.keys.proposed_stream:
        kept = int(inspection.settings_of("allocation")[0]["stream_maxlen"])
        return max(kept, 3 * len(inspection.targets))
    return int(inspection.settings_of("governor")[0]["stream_maxlen"])


def _ahead(inspection: Inspection, group: Group) -> Finding:
    """The clock stepped back, the stream was made anew, or a backup was restored."""
    what = f"group {group.name} lies ahead of its stream: at {group.last_id}, past {group.ahead_of}"
    why = "it is given no plan"
    if group.name != GROUP:
        stream = inspection.store.keys.plans
        fix = inspection.redis_cli("xgroup", "setid", stream, group.name, group.ahead_of)
        return warning(what, f"{why}. {_OTHERS}", fix)
    if inspection.running["governor"]:
        why += "; a governor sets it back within two seconds, or says on /readyz why it can't"
        return wrong(what, why, inspection.qtctl("status"))
    return wrong(what, f"{why}; a governor that starts sets it back", _to_work(inspection))


def _lag(inspection: Inspection, group: Group) -> Finding:
    behind = "over 1,000" if group.behind is None else f"{group.behind:,}"
    unknown_lag = f"unknown (NULL), {behind} entries counted behind it"
    what = f"group {group.name}: lag {unknown_lag if group.lag is None else f'{group.lag:,}'}"
    if group.oldest_behind_ms is None:
        return ok(what)
    waits = inspection.now - group.oldest_behind_ms / 1000
    ours = group.name == GROUP
    limit = float(inspection.settings_of("governor")[0]["max_queue_age_sec"]) if ours else STUCK_SEC
    what += f", the first has been waiting {span(waits)}"
    if waits <= limit:
        return ok(what)
    why = "the group stands still, or falls behind: "
    why += "its plans end as stale_plan" if ours else "its consumer misses the permits"
    if not ours:
        return warning(what, why, _listed(inspection))
    if not inspection.running["governor"]:
        return wrong(what, why, _to_work(inspection))
    why += ". Where a governor works and does not keep up, one more takes a share"
    return wrong(what, why, _one_more(inspection))
