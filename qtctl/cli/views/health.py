"""What `status` and `top` show, and the JSON of `qtctl status -o json`.

Times are epoch seconds, `_s` are seconds; None is unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from qtctl import probe
from qtctl.cli.framework.context import Context
from qtctl.cli.output import format
from qtctl.cli.views import halts
from qtctl.settings import SERVICES
from qtctl.wire.control.kill_switch import KillKey
from qtctl.wire.queries.status import Status
from qtctl.wire.schema.service import ServiceRecord

MOST_DETAIL = 200
READY = "ready"
"""Its passes end in time, and its /readyz says so."""
ALIVE = "alive"
"""Its passes end in time; on another host or without a port /readyz can't be asked."""


@dataclass(frozen=True)
class Service:
    """state: `ready`, `alive`, or what is wrong: `not_ready` (detail: what /readyz says), `silent`
    (its port does not answer), `late` (no pass for too long), `missing` (it does not run).
    clock_ahead_s: the clock of its host less the server's; nothing goes by it."""

    service: str
    name: str
    state: str
    detail: str
    last_pass_age_s: float | None
    up_s: float | None
    version: str
    host: str
    metrics: str
    clock_ahead_s: float | None = None

    @property
    def well(self) -> bool:
        """True if there is nothing to do about it."""
        return self.state in (READY, ALIVE)


@dataclass(frozen=True)
class Redis:
    """primary: host:port of the server that answers, where the URL names several; else None.
    emptied: that it lost what it knew within the last hour, in words. The others are None where
    this user may not ask (INFO)."""

    url: str
    primary: str | None
    name: str | None
    version: str | None
    role: str | None
    up_s: float | None
    may_evict: bool | None
    emptied: str | None = None


@dataclass(frozen=True)
class KillSwitchKey:
    """A key that stops something: mode `reduce_only` or `halted`; symbol where it is for that one
    only; who, why and since where `qtctl halt` has set it."""

    key: str
    value: str
    mode: str
    symbol: str
    who: str
    why: str
    since: float | None


@dataclass(frozen=True)
class KillSwitch:
    """mode: that of the strictest key, `normal` where nothing is stopped; told: in one line."""

    mode: str
    told: str
    keys: list[KillSwitchKey]


@dataclass(frozen=True)
class Plans:
    """per_minute: entries on the plan stream, decided_per_minute: verdicts, both over the last five
    minutes. permitted, blocked, blocks (reason to count): over the last since_s; cut: there were
    more events than are looked at, and since_s is how far back they go."""

    per_minute: float
    decided_per_minute: float
    permitted: int
    blocked: int
    since_s: float
    cut: bool
    blocks: dict[str, int]


@dataclass(frozen=True)
class Group:
    """The governors' group. lag: None is unknown, as Redis says; stuck: pending and untouched for a
    minute; consumers: how many, None where this user may not look."""

    lag: int | None
    pending: int
    stuck: int
    consumers: int | None


@dataclass(frozen=True)
class Permits:
    """open: not taken yet; next_ttl_s: of the one that runs out first; without_ttl: those that
    never do, as none should be."""

    open: int
    next_ttl_s: float | None
    without_ttl: int


@dataclass(frozen=True)
class Overall:
    """ok: what the exit code says. group: None where it is not there. problems: what could not be
    read, and why: `group`, `permits`, `plans`, `events`."""

    ok: bool
    where: str
    at: float
    services: list[Service]
    redis: Redis
    kill_switch: KillSwitch
    plans: Plans
    group: Group | None
    permits: Permits
    problems: dict[str, str]


def of(ctx: Context, found: Status) -> Overall:
    """What was read, as it is shown; services on this host are asked whether they are ready."""
    services: list[Service] = []
    for service in SERVICES:
        rows = [_service(it, found.now) for it in found.services if it.service == service]
        services += rows or [Service(service, "", "missing", "", None, None, "", "", "")]
    stopped = [row for row in found.kill if row.mode.level]
    lately, group = found.lately, found.group
    lifetimes = [round(it.ttl_sec, 3) for it in found.permits if it.ttl_sec is not None]
    lost = found.emptied is not None and found.emptied.is_loss
    return Overall(
        ok=all(row.well for row in services) and not (stopped or found.problems or lost),
        where=ctx.where(),
        at=round(found.now, 3),
        services=services,
        redis=_redis(ctx, found),
        kill_switch=_kill_switch(stopped, ctx.utc),
        plans=Plans(
            per_minute=round(found.plans_per_minute, 2),
            decided_per_minute=round(lately.per_minute, 2),
            permitted=lately.permitted,
            blocked=lately.blocked,
            since_s=round(found.now - lately.since, 3),
            cut=lately.cut,
            blocks=lately.blocks,
        ),
        group=None
        if group is None
        else Group(
            lag=group.lag,
            pending=group.pending,
            stuck=group.stuck,
            consumers=None if group.consumers is None else len(group.consumers),
        ),
        permits=Permits(
            open=len(found.permits),
            next_ttl_s=min(lifetimes, default=None),
            without_ttl=len(found.permits) - len(lifetimes),
        ),
        problems=found.problems,
    )


def _service(it: ServiceRecord, now: float) -> Service:
    state, detail = ("late", lateness(it, now)) if it.is_late(now) else readiness(it)
    if state in (READY, ALIVE) and it.scans_because:
        detail = "finds new targets by SCAN, see 'qtctl doctor'"
    return Service(
        service=it.service,
        name=it.name,
        state=state,
        detail=detail,
        last_pass_age_s=round(it.age_sec(now), 3),
        up_s=round(max(0.0, now - it.started_at), 3),
        version=it.version,
        host=it.host,
        metrics=it.metrics,
        clock_ahead_s=it.clock_ahead_sec,
    )


def lateness(it: ServiceRecord, now: float) -> str:
    """For how long a service that is late has finished no pass."""
    return f"no pass for {format.span(it.age_sec(now))}"


def readiness(it: ServiceRecord) -> tuple[str, str]:
    """State and detail by /readyz, where it can be asked from here."""
    place = probe.here(it.host, it.metrics)
    if place is None:
        return ALIVE, ""
    answer = probe.ready(*place)
    if answer.who != "qtctl":
        problem = {"nobody": "nobody listens at", "silent": "no answer in time from"}
        return "silent", f"{problem.get(answer.who, 'another program is at')} {it.metrics}"
    if answer.ready:
        return READY, ""
    return "not_ready", answer.text.removeprefix("not ready: ")[:MOST_DETAIL]


def _redis(ctx: Context, found: Status) -> Redis:
    _, _, at = urlsplit(found.server_url).netloc.rpartition("@")
    primary = None if found.server_url == ctx.settings.redis.url else at or None
    server, emptied = found.server, None
    if found.emptied is not None:
        emptied = f"{format.span(found.now - found.emptied.at)} ago {found.emptied.what}"
    if server is None:
        return Redis(ctx.where(), primary, None, None, None, None, None, emptied)
    up_s = max(0.0, round(found.now - server.started_ms / 1000, 3))
    return Redis(
        ctx.where(), primary, server.name, server.version, server.role, up_s,
        may_evict=server.may_evict, emptied=emptied,
    )  # fmt: skip


def _kill_switch(stopped: Sequence[KillKey], utc: bool) -> KillSwitch:
    strictest = max((row.mode for row in stopped), key=lambda mode: mode.level, default=None)
    return KillSwitch(
        mode="normal" if strictest is None else strictest.value,
        told=halts.notice(stopped, utc).removeprefix("HALTED ") or "normal",
        keys=[
            KillSwitchKey(it.key, it.value, it.mode.value, it.symbol, it.who, it.why, it.since)
            for it in stopped
        ],
    )
