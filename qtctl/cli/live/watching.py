"""The loop of `qtctl top`: a screen where there is one, else lines."""

import sys
from collections.abc import Callable

from qtctl import clock
from qtctl.cli.framework.context import Context
from qtctl.cli.live import drawing, screen
from qtctl.cli.live.poller import Poller, TopSnapshot, Watcher
from qtctl.cli.live.screen import Screen
from qtctl.cli.live.view import View, frame, permit_line, summary
from qtctl.cli.output.render import to_json

TICK_SEC = 0.5
"""How often the seconds that permits have left are drawn again, whatever the interval."""


def watch(ctx: Context, poller: Poller, interval_sec: float, count: int | None) -> None:
    """Show one look after the other until a key, Ctrl-C or the count ends it."""
    if ctx.output == "table" and screen.usable(ctx.environ):
        _on_screen(ctx, poller, interval_sec, count)
    else:
        _lines(ctx, poller, interval_sec, count)


def _on_screen(ctx: Context, poller: Poller, interval_sec: float, count: int | None) -> None:
    with screen.taken() as taken:
        watcher = Watcher(poller, interval_sec, taken.wake)
        try:
            _live(ctx, watcher, taken, count)
        finally:
            watcher.stop()


def _live(ctx: Context, watcher: Watcher, taken: Screen, count: int | None) -> None:
    view = View()
    colour = not ctx.environ.get("NO_COLOR")
    while True:
        seen = watcher.seen
        shown = frame(view, seen, clock.monotonic(), *screen.size(), ctx.utc)
        taken.draw([drawing.ansi(each, colour) for each in shown])
        if count is not None and seen.looks >= count:
            return
        key = taken.key(TICK_SEC)
        if key == "\x0c":
            taken.forget()
        elif key and not view.pressed(key):
            return
        watcher.pause(view.paused)


def _lines(ctx: Context, poller: Poller, interval_sec: float, count: int | None) -> None:
    lines = (_documents if ctx.output == "ndjson" else _summaries)(ctx)
    seen = poller.seen
    while True:
        sys.stdout.write("".join(f"{each}\n" for each in lines(seen)))
        sys.stdout.flush()
        if count is not None and seen.looks >= count:
            return
        clock.sleep(interval_sec)
        seen = poller.look()


def _summaries(ctx: Context) -> Callable[[TopSnapshot], list[str]]:
    known: set[str] = set()

    def lines(seen: TopSnapshot) -> list[str]:
        """A line, and one for each permit that was not there the last time."""
        fresh = [row for row in reversed(seen.permits) if row["plan_id"] not in known]
        known.clear()
        known.update(row["plan_id"] for row in seen.permits)
        permits = [f"  permit {permit_line(row)}" for row in fresh]
        return [summary(seen, clock.monotonic(), ctx.utc), *permits]

    return lines


def _documents(ctx: Context) -> Callable[[TopSnapshot], list[str]]:
    problem = ""

    def lines(seen: TopSnapshot) -> list[str]:
        """The document; none while Redis is away, which is reported once on stderr."""
        nonlocal problem
        if seen.problem != problem:
            ctx.say(f"{seen.problem}; waiting for it" if seen.problem else "Redis is back")
        problem = seen.problem
        return [] if seen.problem else [to_json(seen.overall)]

    return lines
