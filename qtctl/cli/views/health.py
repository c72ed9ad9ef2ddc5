"""How everything stands, made of what was read: the document that `status` and `top` show."""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from msgspec.structs import asdict

from qtctl import probe
from qtctl.cli.framework.context import Context
from qtctl.cli.output import format
from qtctl.cli.views import alarms, halts
from qtctl.cli.views.health_record import (
    ALIVE,
    READY,
    Feed,
    Group,
    KillSwitch,
    KillSwitchKey,
    OtherGroup,
    Overall,
    Permits,
    Plans,
    Redis,
    Service,
    UnreadKey,
    Upstream,
)
from qtctl.doctor.command_lines import own_words
from qtctl.settings import RECORDER, SERVICES
from qtctl.wire.control.kill_switch import KillKey
from qtctl.wire.queries.elsewhere import Elsewhere
from qtctl.wire.queries.feeds import Feed as Read
from qtctl.wire.queries.recent import MINUTE_SEC
from qtctl.wire.queries.status import Status
from qtctl.wire.schema.service import ServiceRecord

MOST_DETAIL = 200
LEAST_PACE_PER_SEC = 500
"""Plans that a governor judges in a second at least, however few came in the last minute."""
LONG_SEC, SHORT_SEC = probe.TIMEOUT_SEC, 0.5
"""How long a service's port has for its answer: where its last pass was a moment ago, else."""
PASSED_LATELY_SEC = 4.0
LOST_SEC = 30.0
"""A record that Redis lost is back with the next pass."""
ALIVE_BY_PROPOSALS_SEC = 60.0
"""A last proposal as young as this shows that an allocation loop works."""


def of(ctx: Context, found: Status) -> Overall:
    """What was read, as it is shown; services on this host are asked whether they are ready."""
    stopped = [row for row in found.kill if row.mode.level]
    lifetimes = [round(it.ttl_sec, 3) for it in found.permits.permits if it.ttl_sec is not None]
    overall = Overall(
        ok=True,
        where=ctx.where(),
        at=round(found.now, 3),
        services=[
            *(row for service in SERVICES for row in _services(ctx, found, service)),
            # A recorder that is missing stops nothing: doctor says it.
            *(_service(it, found.now) for it in found.services if it.service == RECORDER),
        ],
        redis=_redis(ctx, found),
        kill_switch=_kill_switch(stopped, found, ctx.utc),
        plans=_plans(found),
        group=_group(found),
        permits=Permits(
            open=len(found.permits.permits),
            next_ttl_s=None if found.permits.cut else min(lifetimes, default=None),
            without_ttl=len(found.permits.permits) - len(lifetimes),
            newest_only=found.permits.cut,
        ),
        problems=found.problems,
        upstream=_upstream(found),
        other_groups=[
            OtherGroup(it.name, it.stuck, round(it.stuck_sec, 3))
            for it in found.other_groups
            if it.stuck
        ],
    )
    banner = alarms.alarms(overall, own_words(ctx.redis_url, ctx.config, ctx.sets, ctx.context))
    return replace(overall, ok=not banner, banner=banner)


# Services --------------------------------------------------------------------------------------


def _services(ctx: Context, found: Status, service: str) -> list[Service]:
    rows = [_service(it, found.now) for it in found.services if it.service == service]
    return rows or [_without_record(ctx, found, service)]


def _without_record(ctx: Context, found: Status, service: str) -> Service:
    """A service without a record does not run, cannot begin, or was not found in time."""
    state, detail, age = "missing", "", None
    proposed = None if found.feeds is None else found.feeds.proposed_at
    if found.stream.other_type and service == "governor":
        detail = "none can work without a plan stream"
    elif (lost := found.emptied) is not None and lost.is_loss and found.now - lost.at < LOST_SEC:
        detail = f"Redis lost it {format.span(found.now - lost.at)} ago, the next pass writes it"
    elif found.unsure and service == "allocation" and proposed is not None:
        age = round(max(0.0, found.now - proposed), 3)
        if age <= ALIVE_BY_PROPOSALS_SEC:
            state, detail = ALIVE, "by its proposals; its record is one of too many keys"
    elif found.unsure:
        detail = "not among the keys looked at; 'qtctl doctor' looks at all"
    return Service(service, "", state, detail or _port_says(ctx, service), age, None, "", "", "")


def _port_says(ctx: Context, service: str) -> str:
    """What a service that could not even begin says where it should be listening."""
    settings = ctx.settings.governor if service == "governor" else ctx.settings.allocation
    host, port = settings.metrics_addr, settings.metrics_port
    if not port or not probe.is_here(host):
        return ""
    answer = probe.ready(host, port)
    if answer.who != "qtctl" or answer.ready:
        return ""  # One that is ready works on another Redis.
    return f"at {host}:{port} one says: {answer.text}"[:MOST_DETAIL]


def _service(it: ServiceRecord, now: float) -> Service:
    # One that passes is given time; one that has not for a while has likely stopped, and waiting
    # for it would only keep an operator waiting.
    within_sec = SHORT_SEC if it.age_sec(now) > PASSED_LATELY_SEC + it.interval_sec else LONG_SEC
    state, detail = ("late", lateness(it, now)) if it.is_late(now) else readiness(it, within_sec)
    if state in (READY, ALIVE) and it.scans_because:
        detail = "finds new targets by SCAN, see 'qtctl doctor'"
    if state in (READY, ALIVE) and it.problem:
        state, detail = "not_ready", it.problem[:MOST_DETAIL]
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
    """For how long a service that is late has finished no pass, and that its process is gone, where
    this host can tell."""
    gone = f", its process {it.pid} is gone" if probe.process_is_gone(it.host, it.pid) else ""
    return f"no pass for {format.span(it.age_sec(now))}{gone}"


def readiness(it: ServiceRecord, within_sec: float = probe.TIMEOUT_SEC) -> tuple[str, str]:
    """State and detail by /readyz, where it can be asked from here, else by its process."""
    place = probe.here(it.host, it.metrics)
    if place is None:
        # Without a port, as with --once or before it is bound.
        killed = probe.address(it.metrics) is None and probe.process_is_gone(it.host, it.pid)
        return ("silent", f"its process {it.pid} is gone") if killed else (ALIVE, "")
    answer = probe.ready(*place, within_sec)
    if answer.who != "qtctl":
        detail = f"{probe.UNANSWERED.get(answer.who, probe.ANOTHER)} {it.metrics}"
        killed = answer.who != "silent" and probe.process_is_gone(it.host, it.pid)
        return "silent", f"{detail}, and its process {it.pid} is gone" if killed else detail
    if answer.ready:
        return READY, ""
    return "not_ready", answer.text.removeprefix("not ready: ")[:MOST_DETAIL]


# The rest --------------------------------------------------------------------------------------


def _redis(ctx: Context, found: Status) -> Redis:
    _, _, at = urlsplit(found.server_url).netloc.rpartition("@")
    primary = None if found.server_url == ctx.settings.redis.url else at or None
    server, emptied = found.server, None
    if found.emptied is not None:
        emptied = f"{format.span(found.now - found.emptied.at)} ago {found.emptied.what}"
    if server is None:
        return Redis(ctx.where(), primary, None, None, None, None, None, emptied)
    return Redis(
        url=ctx.where(),
        primary=primary,
        name=server.name,
        version=server.version,
        role=server.role,
        up_s=max(0.0, round(found.now - server.started_ms / 1000, 3)),
        may_evict=server.may_evict,
        emptied=emptied,
        lost=found.emptied is not None and found.emptied.is_loss,
        acknowledged=found.emptied is not None and bool(found.emptied.acknowledged_by),
        restarted=found.restarted,
        wrong_database=_wrong_database(found.elsewhere),
    )


def _wrong_database(found: Elsewhere | None) -> str:
    if found is None:
        return ""
    here = f"db {found.number} is empty" if not found.keys else f"db {found.number} has none of it"
    if found.services:
        return f"{here}; the services here use db {found.home}"
    if found.home is not None:
        return f"{here}; db {found.home} has the plan stream"
    if found.keys:
        return ""
    listed = ", ".join(f"db {number} has {count:,}" for number, count in found.others.items())
    return f"{here}; {listed} keys"


def _kill_switch(stopped: Sequence[KillKey], found: Status, utc: bool) -> KillSwitch:
    strictest = max((row.mode for row in stopped), key=lambda mode: mode.level, default=None)
    return KillSwitch(
        mode="normal" if strictest is None else strictest.value,
        told=halts.notice(stopped, utc).removeprefix("HALTED ") or "normal",
        keys=[
            KillSwitchKey(it.key, it.value, it.mode.value, it.symbol, it.who, it.why, it.since)
            for it in stopped
        ],
        unread=[UnreadKey(it.key, it.value) for it in found.switches],
    )


def _plans(found: Status) -> Plans:
    lately, refused, stream = found.lately, found.refusals, found.stream
    state = "ok"
    if stream.other_type:
        state = "wrong_type"
    elif found.deleted_at is not None:
        state = "deleted"
    elif not stream.there and "plans" not in found.problems:
        state = "missing"
    return Plans(
        per_minute=round(found.plans.per_minute, 2),
        decided_per_minute=round(lately.rate.per_minute, 2),
        permitted=lately.permitted,
        blocked=lately.blocked,
        since_s=round(found.now - lately.since, 3),
        cut=lately.cut,
        blocks=lately.blocks,
        per_minute_at_least=found.plans.at_least,
        recent=lately.fresh,
        recent_stale=lately.fresh_stale,
        closes_refused=refused.by_reason,
        closes_refused_at_least=refused.at_least,
        close_refused_age_s=_age(found.now, refused.last_at),
        close_refused_symbol=refused.symbol,
        stream=state,
        stream_name=stream.name,
        stream_type=stream.other_type,
        deleted_age_s=_age(found.now, found.deleted_at),
    )


def _group(found: Status) -> Group | None:
    group = found.group
    if group is None:
        return None
    first, pending = group.oldest_behind_ms, group.oldest_pending_ms
    pace = max(found.lately.last_minute / MINUTE_SEC, LEAST_PACE_PER_SEC)
    return Group(
        lag=group.lag,
        pending=group.pending,
        stuck=group.stuck,
        consumers=None if group.consumers is None else len(group.consumers),
        behind=group.behind,
        first_waits_s=_age(found.now, None if first is None else first / 1000),
        pending_s=_age(found.now, None if pending is None else pending / 1000),
        max_queue_age_s=found.max_queue_age_sec,
        served_within_limit=int(pace * found.max_queue_age_sec),
    )


def _upstream(found: Status) -> Upstream:
    feeds = found.feeds
    return Upstream(
        whole=feeds is not None and feeds.whole,
        targets=None if feeds is None else _feed(feeds.targets),
        scores=None if feeds is None else _feed(feeds.scores),
        last_plan_age_s=_age(found.now, found.stream.last_at),
        last_proposal_age_s=_age(found.now, None if feeds is None else feeds.proposed_at),
    )


def _feed(read: Read) -> Feed:
    newest = None if read.newest_sec is None else round(read.newest_sec, 3)
    same = {name: value for name, value in asdict(read).items() if not name.endswith("_sec")}
    return Feed(newest_age_s=newest, **same)


def _age(now: float, at: float | None) -> float | None:
    return None if at is None else round(max(0.0, now - at), 3)
