"""`qtctl logs`: what the services logged, from the journal of this host."""

from typing import Annotated

import typer

from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.listing import ALL

app = new_app("logs")


@command(app)
def logs(
    ctx: Context,
    service: Annotated[
        str | None, typer.Argument(help="allocation or governor. Default: both.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="5m or 1h ago, or 2026-01-28T10:00."),
    ] = None,
    count: Annotated[
        str | None,
        typer.Option("-n", metavar="N", help="The last N, or all. Default: 100, with --since all."),
    ] = None,
) -> None:
    """What the services logged, oldest first: decisions in a few words, warnings with their facts.

    Reads systemd's journal of this host; -o json has every field of every line. Exits 1 where there
    is no journal, or this user may not read it (group systemd-journal or adm). In the journal each
    field is one of its own: 'journalctl QTCTL_PLAN_ID=p1' finds all about a plan.

    Examples:
        qtctl logs governor -f
        qtctl logs --since 15m
        qtctl logs governor --since 1h -o ndjson
    """
    from qtctl import clock
    from qtctl.cli.views import logs as view
    from qtctl.settings import SERVICES
    from qtctl.supervisor.journalctl import Asked

    if service is not None:
        arguments.choice(service, "SERVICE", SERVICES)
    at = None if since is None else arguments.when(since, "--since", utc=ctx.utc).on(clock.now())
    most = view.USUAL if since is None else None
    if count is not None:
        most = None if count == ALL else arguments.whole(count, "-n", 0, 10_000_000)
    asked = Asked(view.units_of(service), at, most=most, follow=follow)
    view.show(ctx, service, asked)
