"""`qtctl status`: how everything stands, on one screen."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtctl.cli import halted, human, values
from qtctl.cli.columns import age, number, text
from qtctl.cli.env import Env
from qtctl.cli.frame import command, new_app
from qtctl.cli.render import Fields, Rows, emit_one

if TYPE_CHECKING:
    from qtctl.wire.presence_log import Running
    from qtctl.wire.status import Status

app = new_app("status")

LATE_PASSES = 3
"""A service whose last pass is older than so many intervals (and ten seconds) is late."""


def _state_style(value: Any) -> str:
    return "" if str(value) == "ready" else "bold red"


SERVICES = (
    text("service", "service"),
    text("name", "name"),
    text("state", "state", style=_state_style, fold=True),
    age("last pass", "last_pass_age_s"),
    age("up", "up_s", drop=2),
    text("version", "version", drop=3),
    text("metrics", "metrics", drop=1),
)
PAGE = (
    text("redis", lambda row: _redis(row["redis"])),
    text("kill switch", lambda row: row["kill_switch"]["told"], fold=True),
    text("plans", lambda row: _plans(row["plans"])),
    text("group", lambda row: _group(row["group"])),
    text("permits", lambda row: _permits(row["permits"])),
)
BLOCKS = (
    text("blocked because", "reason"),
    number("plans", "plans"),
    number("share %", "share_pct", places=1),
)


@command(app)
def status(
    env: Env,
    since: Annotated[str, typer.Option("--since", help="How far back blocks are counted.")] = "1h",
) -> None:
    """Services, Redis, kill switch, plans, permits and blocks, on one screen.

    Ends with 1 where a service is missing, late or not ready, or where the kill switch stops
    anything; else 0.

    Examples:
        qtctl status
        qtctl status --since 10m -o json
    """
    since_sec = values.duration(since, "--since", 60, 86_400)
    # The notice of a halt would say the same twice.
    with env.store(notice=False) as store:
        found = read(env, store, since_sec)
    emit_one(
        env,
        found,
        Rows(found["services"], SERVICES),
        Fields(PAGE),
        Rows(_blocks(found), BLOCKS, title=f"blocked since {since}"),
    )
    if not found["ok"]:
        raise typer.Exit(1)


def read(env: Env, store: Any, since_sec: float) -> dict[str, Any]:
    """The JSON of it all; `ok` is what the exit code says."""
    from qtctl.wire import presence_log, status
    from qtctl.wire.effective import of_running

    alive = presence_log.running(store, "governor")
    own, _ = of_running(alive, "governor", env.settings, status.KillKeys)
    found = status.read(store, own.kill_keys, since_sec)
    services = [
        row
        for service in status.SERVICES
        for row in (
            [_service(it, found.now) for it in found.services if it.service == service]
            or [_missing(service)]
        )
    ]
    stopped = [row for row in found.kill if row.mode.level]
    return {
        "ok": not stopped and all(row["state"] == "ready" for row in services),
        "where": env.where(),
        "at": round(found.now, 3),
        "services": services,
        "redis": _server(found, env),
        "kill_switch": {
            "mode": max((row.mode for row in stopped), key=lambda mode: mode.level).value
            if stopped
            else "normal",
            "told": halted.notice(found.kill, env.utc).removeprefix("HALTED ") or "normal",
            "keys": [
                {"key": row.key, "value": row.value, "mode": row.mode.value, "symbol": row.symbol,
                 "who": row.who, "why": row.why, "since": row.since}
                for row in stopped
            ],
        },
        "plans": {
            "per_minute": found.plans_per_minute,
            "decided_per_minute": found.lately.per_minute,
            "permitted": found.lately.permitted,
            "blocked": found.lately.blocked,
            "since_s": round(found.now - found.lately.since, 3),
            "cut": found.lately.cut,
            "blocks": found.lately.blocks,
        },
        "group": None if found.group is None else {
            "lag": found.group.lag,
            "pending": found.group.pending,
            "stuck": found.group.stuck,
            "consumers": None if found.group.consumers is None else len(found.group.consumers),
        },
        "permits": {
            "open": len(found.permits),
            "next_ttl_s": min(
                (it.ttl_sec for it in found.permits if it.ttl_sec is not None), default=None
            ),
            "without_ttl": sum(it.ttl_sec is None for it in found.permits),
        },
    }  # fmt: skip


def _service(it: "Running", now: float) -> dict[str, Any]:
    since_pass = max(0.0, now - it.last_pass_at)
    interval = it.settings.get("interval_sec", 1.0)
    late = since_pass > LATE_PASSES * (interval if isinstance(interval, (int, float)) else 1) + 10
    return {
        "service": it.service,
        "name": it.name,
        "state": f"LATE: no pass for {human.span(since_pass)}" if late else _ready(it),
        "last_pass_age_s": round(since_pass, 3),
        "up_s": round(max(0.0, now - it.started_at), 3),
        "version": it.version,
        "host": it.host,
        "metrics": it.metrics,
    }


def _ready(it: "Running") -> str:
    """What its /readyz says, where it can be asked from here."""
    import socket

    from qtctl.proof import pages

    if it.host != socket.gethostname():
        return "ready"
    page = pages.get(it.metrics, "/readyz")
    if page.status in (0, 200):
        return "ready"
    return " ".join(page.body.split())[:200].replace("not ready", "NOT READY", 1)


def _missing(service: str) -> dict[str, Any]:
    return {"service": service, "name": "", "state": "NOT RUNNING", "last_pass_age_s": None,
            "up_s": None, "version": "", "host": "", "metrics": ""}  # fmt: skip


def _server(found: "Status", env: Env) -> dict[str, Any]:
    server = found.server
    return {
        "url": env.where(),
        "name": None if server is None else server.name,
        "version": None if server is None else server.version,
        "role": None if server is None else server.role,
        "up_s": None
        if server is None
        else max(0.0, round(found.now - server.started_ms / 1000, 3)),
        "may_evict": None if server is None else server.may_evict,
    }


def _blocks(found: dict[str, Any]) -> list[dict[str, Any]]:
    blocks, total = found["plans"]["blocks"], max(1, found["plans"]["blocked"])
    return [
        {"reason": reason, "plans": count, "share_pct": 100 * count / total}
        for reason, count in blocks.items()
    ]


def _redis(row: dict[str, Any]) -> str:
    if row["version"] is None:
        return f"{row['url']}, says no more to this user"
    evicts = ", MAY EVICT DECISIONS" if row["may_evict"] else ""
    role = "" if row["role"] == "master" else f", {row['role'].upper()}"
    up = human.span(row["up_s"])
    return f"{row['url']} · {row['name']} {row['version']}, up {up}{role}{evicts}"


def per_minute(row: dict[str, Any]) -> str:
    """Plans a minute, in words."""
    return "over 2,000" if row["per_minute"] is None else f"{row['per_minute']:,.1f}"


def _plans(row: dict[str, Any]) -> str:
    rate = per_minute(row)
    back = human.span(row["since_s"])
    return (
        f"{rate} a minute (5 min); {row['permitted']:,} permitted, {row['blocked']:,} blocked "
        f"in {back}{' (more is not counted)' if row['cut'] else ''}"
    )


def _group(row: dict[str, Any] | None) -> str:
    if row is None:
        return "NOT THERE: no governor has run on this Redis"
    lag = "unknown" if row["lag"] is None else f"{row['lag']:,}"
    stuck = f", {row['stuck']:,} STUCK" if row["stuck"] else ""
    consumers = (
        ""
        if row["consumers"] is None
        else (f", {row['consumers']} consumer{'' if row['consumers'] == 1 else 's'}")
    )
    return f"lag {lag}, {row['pending']:,} pending{stuck}{consumers}"


def _permits(row: dict[str, Any]) -> str:
    if not row["open"]:
        return "none open"
    left = "" if row["next_ttl_s"] is None else f", the next runs out in {row['next_ttl_s']:.0f} s"
    bad = f", {row['without_ttl']} WITHOUT A LIFETIME" if row["without_ttl"] else ""
    return f"{row['open']:,} open{left}{bad}"
