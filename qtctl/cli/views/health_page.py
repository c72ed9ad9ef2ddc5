"""The lines of `qtctl status`, which `top` shows as well."""

from typing import Any

from qtctl.cli.output import format
from qtctl.cli.output.columns import Column, age, number, text
from qtctl.cli.views.alarms import wrong_in
from qtctl.cli.views.health_record import Alarm, Feed, Overall, Plans, Redis, Service
from qtctl.wire.schema.service import MAX_CLOCK_OFF_SEC

STATES = {
    "not_ready": "NOT READY",
    "silent": "NO ANSWER",
    "late": "LATE",
    "missing": "NOT RUNNING",
}


def state(service: Service) -> str:
    """What a service does, in words; capitals where it is not what it should."""
    # With a detail something is known of it, and it may well run.
    missing = service.state == "missing" and service.detail
    word = "NO RECORD" if missing else STATES.get(service.state, service.state)
    return f"{word}: {service.detail}" if service.detail else word


def _style(value: Any) -> str:
    return "bold red" if str(value)[:1].isupper() else ""


def blocks(found: Plans) -> list[dict[str, Any]]:
    """Rows for BLOCKS."""
    return [
        {"reason": reason, "plans": count, "share_pct": 100 * count / found.blocked}
        for reason, count in found.blocks.items()
    ]


def blocked_since(found: Plans) -> str:
    """The title above them."""
    cut = " (the latest events; more are not counted)" if found.cut else ""
    return f"blocked in the last {format.span(found.since_s)}{cut}"


def server(found: Redis) -> str:
    """The server that answers, behind a URL that is shown already."""
    at = "" if found.primary is None else f"at {found.primary} "
    emptied = f"; {found.emptied}" if found.emptied else ""
    if found.version is None:
        return f"{at}(this ACL user lacks INFO){emptied}"
    evicts = "; MAY EVICT DECISIONS: set maxmemory-policy noeviction" if found.may_evict else ""
    role = "" if found.role == "master" else f"; {str(found.role).upper()}, NOT A PRIMARY"
    up = format.span(found.up_s)
    return f"{at}{found.name} {found.version}, up {up}{role}{evicts}{emptied}"


def kill_switch(found: Overall) -> str:
    """Normal, or what is stopped, by whom and why."""
    halted = "" if found.kill_switch.mode == "normal" else "HALTED "
    return f"{halted}{found.kill_switch.told}"


def clocks(found: Overall) -> str:
    """The hosts whose clock is off."""
    off = {
        it.host: it.clock_ahead_s
        for it in found.services
        if abs(it.clock_ahead_s or 0.0) > MAX_CLOCK_OFF_SEC
    }
    wrong = [f"{host} {abs(by or 0):.0f} s {'ahead' if (by or 0) > 0 else 'behind'}"
            for host, by in off.items()]  # fmt: skip
    return f"OFF from the server's: {', '.join(wrong)}" if wrong else "agree with the server's"


def plans(found: Overall) -> str:
    """How many come, and what became of them."""
    seen, problems = found.plans, found.problems
    more = "over " if seen.per_minute_at_least else ""
    came = problems.get("plans") or f"{more}{seen.per_minute:,.1f} per minute (5 min)"
    if seen.stream != "ok" and "plans" not in problems:
        came = {
            "deleted": f"stream DELETED {format.span(seen.deleted_age_s)} ago, {came} since",
            "missing": "NO STREAM",
            "wrong_type": f"NO STREAM but a {seen.stream_type}",
        }[seen.stream]
    decided = (
        f"{seen.permitted:,} permitted, {seen.blocked:,} blocked in {format.span(seen.since_s)}"
    )
    ids = problems.get("plan_ids")
    line = f"{came}; {problems.get('events') or decided}"
    return f"WRONG IDS: {ids}. {line}" if ids else line


def group(found: Overall) -> str:
    """How far the governors are behind."""
    if "group" in found.problems:
        return f"UNREADABLE: {found.problems['group']}"
    seen = found.group
    if found.plans.stream == "wrong_type":
        return f"NONE: {found.plans.stream_name} is no stream"
    if seen is None:
        return "NOT THERE: no governor has run on this Redis"
    lag = "" if seen.lag is None else f"{seen.lag:,}"
    if seen.lag is None:
        counted = "over 1,000" if seen.behind is None else f"{seen.behind:,}"
        lag = f"unknown ({counted} counted behind it)"
    stuck = f", {seen.stuck:,} STUCK: see 'qtctl group list'" if seen.stuck else ""
    consumers = "" if seen.consumers is None else f", {format.count(seen.consumers, 'consumer')}"
    return f"lag {lag}, {seen.pending:,} pending{stuck}{consumers}"


def permits(found: Overall) -> str:
    """How many are open, and when the first of them expires."""
    if "permits" in found.problems:
        return f"UNREADABLE: {found.problems['permits']}"
    seen = found.permits
    more = ", older ones not looked at" if seen.newest_only else ""
    if not seen.open:
        return f"none open{more}"
    left = "" if seen.next_ttl_s is None else f", the next expires in {seen.next_ttl_s:.0f} s"
    bad = f", {seen.without_ttl} WITHOUT A LIFETIME" if seen.without_ttl else ""
    return f"{seen.open:,} open{left}{bad}{more}"


def upstream(found: Overall) -> str:
    """What upstream writes, and how long ago it last did."""
    seen = found.upstream
    if "upstream" in found.problems or seen is None:
        return f"UNREADABLE: {found.problems.get('upstream', '')}"
    last = "none" if seen.last_plan_age_s is None else f"{format.span(seen.last_plan_age_s)} ago"
    parts = [_feed(seen.targets, "targets", "fresh"), _feed(seen.scores, "scores", "ok")]
    sample = "" if seen.whole else " (a sample)"
    return f"{'; '.join(parts)}{sample}; last plan {last}"


def _feed(feed: Feed | None, name: str, word: str) -> str:
    if feed is None or not feed.looked_at:
        return f"no {name}"
    newest = "" if feed.newest_age_s is None else f", newest {format.span(feed.newest_age_s)}"
    ill = wrong_in(feed)
    bad = f" ({ill})" if ill else ""
    return f"{name} {feed.good:,} of {feed.looked_at:,} {word}{bad}{newest}"


ALSO = 5
"""Further alarms that are listed; the others are counted."""


def banner(found: list[Alarm]) -> tuple[Column, ...]:
    """A line for the worst, and the command to run next; nothing where all is well."""
    if not found:
        return ()
    return (text("INCIDENT", lambda _: found[0].text, fold=True, style="bold red"),)


def next_command(found: list[Alarm]) -> tuple[Column, ...]:
    """What to run next, in one piece."""
    return (text("next", lambda _: found[0].command),) if found else ()


def also(found: list[Alarm]) -> tuple[Column, ...]:
    """A line for each further alarm."""
    listed = found[1 : 1 + ALSO]
    lines = [
        text("also" if place == 0 else "", lambda _, it=it: it.text, fold=True, style="red")
        for place, it in enumerate(listed)
    ]
    left = len(found) - 1 - len(listed)
    return (*lines, text("", lambda _: f"and {left} more")) if left > 0 else tuple(lines)


def headline(found: list[Alarm]) -> str:
    """The banner in one line, for `top`; "" where all is well."""
    more = f" (and {len(found) - 1} more: qtctl status)" if len(found) > 1 else ""
    return f"{found[0].text}{more}" if found else ""


SERVICES = (
    text("service", "service"),
    text("name", "name"),
    text("state", state, style=_style, fold=True),
    age("last pass", "last_pass_age_s"),
    age("up", "up_s", drop=2),
    text("version", "version", drop=3),
    text("metrics", "metrics", drop=1),
)
PAGE = (
    text("redis", lambda found: f"{found.redis.url} {server(found.redis)}", fold=True),
    text("kill switch", kill_switch, fold=True, style=_style),
    text("clocks", clocks, fold=True, style=_style),
    text("upstream", upstream, fold=True, style=_style),
    text("plans", plans, fold=True, style=_style),
    text("group", group, fold=True, style=_style),
    text("permits", permits, fold=True, style=_style),
)
BLOCKS = (
    text("blocked because", "reason"),
    number("plans", "plans"),
    number("share %", "share_pct", places=1),
)
