"""`qtctl top`: how everything stands, live, on a screen to work in."""

from typing import Annotated

from qtctl.cli.framework import Context, arguments, command, new_app, opt
from qtctl.errors import UsageError

app = new_app("top")


@command(app)
def top(
    ctx: Context,
    interval: Annotated[str, opt("--interval", "Time between two updates.")] = "1s",
    count: Annotated[int | None, opt("--count, -n", "Stop after this many updates.", min=1)] = None,
) -> None:
    """A screen to work in: health, symbols, permits, blocked plans, the queue and events, live.

    1 to 6 choose the page; arrows (or j, k) select, Enter opens (symbol, why, plan gate by gate),
    Esc goes back; s sorts, / filters, x shows problems only, h halts the selected symbol once its
    name is typed, c shows the command line that does the same, ? has all keys, q quits.

    Nothing is read that is not shown, and nothing while it is paused. Where Redis goes away what
    is old is dimmed, with its age, until it is back.

    On a pipe, on a dumb terminal or on one under 40×10 it prints a line per update, and one for
    each new permit; with -o ndjson the document of `qtctl status -o json` per update.

    Examples:
        qtctl top
        qtctl top --interval 5s
        qtctl top -n 1 | cat
        qtctl top -n 60 -o ndjson
    """
    from qtctl.cli.live import poller, watching

    interval_sec = arguments.duration(interval, "--interval", 0.1, 3600)
    if ctx.output == "json":
        raise UsageError("--output json can't follow, since a document has an end: use ndjson")
    with ctx.store(notice=False) as store:
        on_lines = ctx.output == "table" and not watching.shows(ctx)
        looks = poller.Poller(ctx, store, symbols=on_lines)
        watching.watch(ctx, looks, interval_sec, count)
