"""`qtctl top`: the same as `status`, live, with symbols and permits."""

from typing import Annotated

import typer

from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import Context
from qtctl.errors import UsageError

app = new_app("top")


@command(app)
def top(
    ctx: Context,
    interval: Annotated[str, typer.Option("--interval", help="Time between two updates.")] = "1s",
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="Stop after this many updates.")
    ] = None,
) -> None:
    """Services, permits as they come and symbols by how far the proposal is from the target, live.

    Keys: s sort, / filter, ↑ ↓ scroll, p pause, ? help, q quit. Where Redis goes away it says so
    and waits. The comparison of all symbols is read every few seconds, and nothing while it is
    paused.

    On a pipe, on a dumb terminal or on one under 60×15 it prints a line per update, and one for
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
        looks = poller.Poller(ctx, store, symbols=ctx.output == "table")
        watching.watch(ctx, looks, interval_sec, count)
