"""`qtctl timeline`: what happened, in one list."""

from pathlib import Path
from typing import Annotated

from qtctl.cli.framework import Context, command, new_app, opt
from qtctl.cli.framework.list_options import Lists
from qtctl.cli.output import emit
from qtctl.errors import RedisUnreachable

app = new_app("timeline")
EMPTY = "Nothing happened that is still known."


@command(app, lists=Lists("qtctl.cli.views.timeline", by_time=True))
def timeline(
    ctx: Context,
    root: Annotated[str | None, opt("--root DIR", "Deploy records of a folder instead.")] = None,
) -> int:
    """What happened, oldest first: halts, resumes, starts and stops of services, settings that
    changed (before → after), deployments, failovers, gaps, closes refused; by whom. What is wrong
    now, as `status` has it, stands at the end.

    The last 24 h unless --since says otherwise; -n gives the newest. Sources are the event stream,
    the notes of services, rejected plans, the history, the deploy records and the journal of this
    host. Each is trimmed: how far back it reaches is printed at the end, and what lies before that
    is not known.
    Exits 1 where a source in Redis could not be read, and 3 without Redis, after what is known
    without it.

    Examples:
        qtctl timeline
        qtctl timeline --since 2h --where kind=settings
        qtctl timeline --since 10:00 --until 10:30 -o json
        sudo qtctl timeline --since 7d
    """
    from qtctl.cli.views import timeline as view
    from qtctl.deploy.host import Host

    found = view.gather(ctx, Host(Path(root or "/"), live=root is None))
    emit(ctx, view.last(ctx, found.rows), view.LISTED, empty="" if found.away else EMPTY)
    for line in found.notes(ctx.utc):
        ctx.say(line)
    if found.away:
        raise RedisUnreachable(found.away)
    return int(not found.whole)
