"""The lines of `qtctl status`, which `top` shows as well."""

from typing import Any

from qtctl.cli.output import format
from qtctl.cli.output.columns import age, number, text
from qtctl.cli.views.health import Overall, Plans, Redis, Service
from qtctl.wire.schema.service import MAX_CLOCK_OFF_SEC

STATES = {
    "not_ready": "NOT READY",
    "silent": "NO ANSWER",
    "late": "LATE",
    "missing": "NOT RUNNING",
}


def state(service: Service) -> str:
    """What a service does, in words; capitals where it is not what it should."""
    word = STATES.get(service.state, service.state)
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
    told = [f"{host} {abs(by or 0):.0f} s {'ahead' if (by or 0) > 0 else 'behind'}"
            for host, by in off.items()]  # fmt: skip
    return f"OFF from the server's: {', '.join(told)}" if told else "agree with the server's"


def plans(found: Overall) -> str:
    """How many come, and what became of them."""
    seen, problems = found.plans, found.problems
    came = problems.get("plans") or f"{seen.per_minute:,.1f} per minute (5 min)"
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
    if seen is None:
        return "NOT THERE: no governor has run on this Redis"
    lag = "unknown" if seen.lag is None else f"{seen.lag:,}"
    stuck = f", {seen.stuck:,} STUCK: see 'qtctl group list'" if seen.stuck else ""
    consumers = "" if seen.consumers is None else f", {format.count(seen.consumers, 'consumer')}"
    return f"lag {lag}, {seen.pending:,} pending{stuck}{consumers}"


def permits(found: Overall) -> str:
    """How many are open, and when the first of them expires."""
    if "permits" in found.problems:
        return f"UNREADABLE: {found.problems['permits']}"
    seen = found.permits
    if not seen.open:
        return "none open"
    left = "" if seen.next_ttl_s is None else f", the next expires in {seen.next_ttl_s:.0f} s"
    bad = f", {seen.without_ttl} WITHOUT A LIFETIME" if seen.without_ttl else ""
    return f"{seen.open:,} open{left}{bad}"


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
    text("plans", plans, fold=True, style=_style),
    text("group", group, fold=True, style=_style),
    text("permits", permits, fold=True, style=_style),
)
BLOCKS = (
    text("blocked because", "reason"),
    number("plans", "plans"),
    number("share %", "share_pct", places=1),
)
