"""Halting one symbol from the screen: what `qtctl halt SYMBOL` does, and what it says."""

from collections.abc import Callable

from qtctl.cli.framework.context import Context
from qtctl.cli.live.aside import Job, Kept
from qtctl.cli.views import halting, halts
from qtctl.cli.views.why_commands import resume

REASON = "from qtctl top"
WARNED = "qtctl: warning: "


def start(ctx: Context, symbol: str, wake: Callable[[], None]) -> Job:
    """Begin to halt it."""

    def run(own: Kept) -> list[str]:
        order = halts.request(own, symbol, REASON)
        report = halting.halt(own, order, everything=False)
        certain = halting.is_certain(report)
        line = halting.halt_line(own, order, everything=False, dry_run=False, report=report)
        return [line, *([] if certain else ["Opens may go on: see the warnings above."])]

    return Job(ctx, run, wake)


def report_lines(job: Job, symbol: str) -> list[tuple[str, str]]:
    """Its output so far, and how it ended."""
    lines = [(line, _style(line)) for line in job.lines]
    if not job.done:
        return [*lines, (f"halting {symbol} …", "bold")]
    job.shown = True
    end = f"Lift it with: qtctl {resume(symbol)}"
    return lines if job.failed else [*lines, ("", ""), (end, "")]


def _style(line: str) -> str:
    if line.startswith((WARNED, "error: ", "Opens may")):
        return "bold red"
    return "bold" if line.startswith("HALTED") else ""
