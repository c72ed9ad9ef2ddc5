"""`qtctl top`: the same as `status`, live, with symbols and permits."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from qtctl import clock
from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import Context
from qtctl.errors import UsageError

if TYPE_CHECKING:
    from qtctl.cli.live.poller import Poller, TopSnapshot, Watcher
    from qtctl.cli.live.screen import Screen

app = new_app("top")

TICK_SEC = 0.5
"""The seconds that permits have left are drawn again so often, whatever the interval."""


@command(app)
def top(
    ctx: Context,
    interval: Annotated[str, typer.Option("--interval", help="Between two looks.")] = "1s",
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="End after so many looks.")
    ] = None,
) -> None:
    """Services, permits as they come and symbols by how far the proposal is from the target, live.

    Keys: s sort, / filter, ↑ ↓ scroll, p pause, ? help, q quit. Where Redis goes away it says so
    and waits. The comparison of all symbols is read every few seconds, and nothing while it is
    paused.

    On a pipe, on a dumb terminal or on one under 60×15 it prints a line for each look, and one for
    each permit as it comes; with -o ndjson the document of `qtctl status -o json` for each look.

    Examples:
        qtctl top
        qtctl top --interval 5s
        qtctl top -n 1 | cat
        qtctl top -n 60 -o ndjson
    """
    from qtctl.cli.live import poller, screen

    interval_sec = arguments.duration(interval, "--interval", 0.1, 3600)
    if ctx.output == "json":
        raise UsageError("--output json can't follow, since a document has an end: use ndjson")
    # Whether Redis is there is told at the start as by every other command.
    with ctx.store(notice=False) as store:
        looker = poller.Poller(ctx, store, symbols=ctx.output == "table")
        if ctx.output == "table" and screen.usable(ctx.environ):
            _on_screen(ctx, looker, interval_sec, count)
        else:
            _lines(ctx, looker, interval_sec, count)


def _on_screen(ctx: Context, looker: "Poller", interval_sec: float, count: int | None) -> None:
    from qtctl.cli.live import screen
    from qtctl.cli.live.poller import Watcher

    with screen.taken() as taken:
        watcher = Watcher(looker, interval_sec, taken.wake)
        watcher.start()
        try:
            _live(ctx, watcher, taken, count)
        finally:
            watcher.stop()


def _live(ctx: Context, watcher: "Watcher", screen: "Screen", count: int | None) -> None:
    from qtctl.cli.live import drawing
    from qtctl.cli.live.view import View, frame

    view = View()
    colour = not ctx.environ.get("NO_COLOR")
    while True:
        seen = watcher.seen
        shown = frame(view, seen, clock.monotonic(), *screen.size, ctx.utc)
        screen.draw([drawing.ansi(each, colour) for each in shown])
        if count is not None and seen.looks >= count:
            return
        key = screen.key(TICK_SEC)
        if key == "\x0c":
            screen.forget()
        elif key and not view.pressed(key):
            return
        watcher.pause(view.paused)


def _lines(ctx: Context, looker: "Poller", interval_sec: float, count: int | None) -> None:
    tell = _documents if ctx.output == "ndjson" else _summaries
    told = tell(ctx)
    seen = looker.seen
    while True:
        sys.stdout.write("".join(f"{each}\n" for each in told(seen)))
        sys.stdout.flush()
        if count is not None and seen.looks >= count:
            return
        clock.sleep(interval_sec)
        seen = looker.look()


def _summaries(ctx: Context) -> "Callable[[TopSnapshot], list[str]]":
    from qtctl.cli.live.view import summary, told_permit

    known: set[str] = set()

    def told(seen: "TopSnapshot") -> list[str]:
        """A line, and one for each permit that was not there the last time."""
        fresh = [row for row in reversed(seen.permits) if row["plan_id"] not in known]
        known.clear()
        known.update(row["plan_id"] for row in seen.permits)
        permits = [f"  permit {told_permit(row)}" for row in fresh]
        return [summary(seen, clock.monotonic(), ctx.utc), *permits]

    return told


def _documents(ctx: Context) -> "Callable[[TopSnapshot], list[str]]":
    from qtctl.cli.output.render import to_json

    problem = ""

    def told(seen: "TopSnapshot") -> list[str]:
        """The document; none while Redis is away, which is told once on stderr."""
        nonlocal problem
        if seen.problem != problem:
            ctx.say(f"{seen.problem}; waiting for it" if seen.problem else "Redis is back")
        problem = seen.problem
        return [] if seen.problem else [to_json(seen.overall)]

    return told
