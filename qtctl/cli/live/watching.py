"""The loop of `qtctl top`: a screen where there is one, else lines."""

import sys

from qtctl import clock
from qtctl.cli.framework.context import Context
from qtctl.cli.live import aside, drawing, halting, lines, screen
from qtctl.cli.live.aside import Job
from qtctl.cli.live.poller import Poller
from qtctl.cli.live.screen import Screen
from qtctl.cli.live.threads import PageReader, Watcher
from qtctl.cli.live.view import View

SWITCH_SEC = 0.0005
"""How long a thread may hold the interpreter while another wants it; usually ten times that."""
TICK_SEC = 0.5
"""How often the seconds that permits have left are drawn again, whatever the interval."""


def watch(ctx: Context, poller: Poller, interval_sec: float, count: int | None) -> None:
    """Show one look after the other until a key, Ctrl-C or the count ends it."""
    if not shows(ctx):
        lines.write(ctx, poller, interval_sec, count)
        return
    jobs: list[Job] = []
    try:
        with screen.taken() as taken:
            _on_screen(ctx, poller, interval_sec, count, taken, jobs)
    finally:
        for job in jobs:
            if not job.shown:
                # Somebody has quit meanwhile: its outcome is reported all the same.
                for line in job.wait():
                    ctx.say(line)


def shows(ctx: Context) -> bool:
    """True if there is a screen to draw on."""
    return ctx.output == "table" and screen.usable(ctx.environ)


def _on_screen(
    ctx: Context, poller: Poller, interval_sec: float, count: int | None, taken: Screen,
    jobs: list[Job],
) -> None:  # fmt: skip
    quiet = aside.kept(ctx)
    # A key waits for no thread that is busy with 10,000 rows.
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SEC)

    def halt(symbol: str) -> Job:
        jobs.append(halting.start(ctx, symbol, taken.wake))
        return jobs[-1]

    watcher = Watcher(poller, interval_sec, taken.wake)
    reader = PageReader(quiet, interval_sec, taken.wake)
    try:
        _live(View(quiet, halt), ctx, watcher, reader, taken, count)
    finally:
        sys.setswitchinterval(before)
        watcher.stop()
        reader.stop()


def _live(
    view: View, ctx: Context, watcher: Watcher, reader: PageReader, taken: Screen,
    count: int | None,
) -> None:  # fmt: skip
    colour = not ctx.environ.get("NO_COLOR")
    while True:
        seen = watcher.seen
        reader.show(view.page, view.paused)
        shown = view.frame(seen, clock.monotonic(), *screen.size())
        taken.draw([drawing.ansi(each, colour) for each in shown])
        if count is not None and seen.looks >= count:
            return
        key = taken.key(TICK_SEC)
        if key == "\x0c":
            taken.forget()
        elif key and not view.pressed(key):
            return
        watcher.pause(view.paused)
