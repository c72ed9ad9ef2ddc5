"""`qtctl logs`: what the services logged, from the journal of this host."""

from typing import Annotated

from qtctl.cli.framework import Context, arg, arguments, command, new_app, opt
from qtctl.cli.framework.list_options import Lists

app = new_app("logs")


@command(app, lists=Lists("qtctl.cli.views.logs", limit=100, by_time=True, follows="follow"))
def logs(
    ctx: Context,
    service: Annotated[
        str | None, arg("SERVICE", "allocation, governor or recorder. Default: all.")
    ] = None,
    follow: Annotated[bool, opt("-f, --follow", "Go on until Ctrl-C.")] = False,
) -> None:
    """What the services logged, oldest first: decisions in a few words, warnings with their facts.

    Reads systemd's journal of this host; -o json has every field of every line. Exits 1 where there
    is no journal, or this user may not read it (group systemd-journal or adm). In the journal each
    field is one of its own: 'journalctl QTCTL_PLAN_ID=p1' finds all about a plan.

    Examples:
        qtctl logs governor -f
        qtctl logs --since 15m --where level=warning
        qtctl logs governor --since 1h -o ndjson
    """
    from qtctl.cli.views import logs as view
    from qtctl.settings import RECORDER, SERVICES

    if service is not None:
        arguments.choice(service, "SERVICE", (*SERVICES, RECORDER))
    view.show(ctx, service, follow=follow)
