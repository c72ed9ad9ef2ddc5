"""`qtctl status`: how everything stands, on one screen."""

from typing import Annotated

from qtctl.cli.framework import Context, arguments, command, new_app, opt
from qtctl.cli.output import Fields, Rows, emit_one

app = new_app("status")


@command(app)
def status(
    ctx: Context,
    since: Annotated[str, opt("--since AGO", "How far back blocks are counted.")] = "1h",
) -> int:
    """Services, Redis, kill switch, plans, permits and blocks, on one screen.

    Exits 1 in an incident, and begins with what it is, the worst first, and the command to run
    next: a service that is missing, late, silent or not ready; plans that wait, go stale or are
    stuck; closes refused in the last 10 min; whatever the kill switch stops, and a key that looks
    like one and stops nothing; a plan stream that was deleted or is none; a Redis that restarted,
    lost its data, or is the wrong database; targets or scores that are missing, stale or
    unreadable. Counts at most the last 10,000 events.

    Examples:
        qtctl status
        qtctl status --since 10m
        qtctl status -o json
    """
    from qtctl.cli.views import health
    from qtctl.cli.views import health_page as page
    from qtctl.wire.queries.status import Watch

    since_sec = arguments.duration(since, "--since", 60, 86_400)
    # The notice of a halt would say the same twice.
    with ctx.store(notice=False) as store:
        read = Watch(store, ctx.settings, since_sec).read()
    found, lost = health.of(ctx, read), read.emptied
    title = page.blocked_since(found.plans)
    blocks = Rows(page.blocks(found.plans), page.BLOCKS, title=title)
    banner = found.banner
    first = (
        Fields(page.banner(banner)),
        Fields(page.next_command(banner), unbroken=True, joined=True),
    )
    further = Fields(page.also(banner), joined=True)
    parts = [part for part in (*first, further) if part.columns]
    emit_one(ctx, found, *parts, Rows(found.services, page.SERVICES), Fields(page.PAGE), blocks)
    if lost is not None and lost.is_incident:
        ctx.warn(f"{found.redis.emptied}: see docs/runbooks/QtctlRedisEmptied.md")
    return int(not found.ok)
