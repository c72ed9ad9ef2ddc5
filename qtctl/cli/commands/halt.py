"""`qtctl halt`: stops opens at once, or everything. Never asks."""

from typing import Annotated

import typer

from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.safety import DryRun, Reason
from qtctl.errors import RedisUnreachable

app = new_app("halt")


@command(app)
def halt(
    ctx: Context,
    symbol: Annotated[str | None, typer.Argument(help="Stop this one only.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Stop closes too.")] = False,
    reason: Reason = "",
    dry_run: DryRun = False,
    unasked: Annotated[bool, typer.Option("--yes", "--no-input", hidden=True)] = False,
) -> None:
    """Stop opens at once; closes still pass. Never asks. `qtctl resume` undoes it.

    Takes effect on the very next plan, and withdraws the permits of opens that nobody has taken
    yet. Exits 1 where no governor is running on this Redis that would obey it, or where a permit
    could not be withdrawn: opens may go on then.

    Examples:
        qtctl halt
        qtctl halt --reason "exchange is down"
        qtctl halt --all
        qtctl halt BTCUSDT
        qtctl halt --dry-run
    """
    from qtctl.cli.views import halting, halts

    order = halts.request(ctx, symbol, reason)
    try:
        with ctx.store(notice=False) as store:
            report = halting.stop(ctx, store, order, everything, dry_run)
            halting.warn(ctx, store, order, report)
    except RedisUnreachable as away:
        raise RedisUnreachable(f"{away}. While Redis is away, {halting.BY_SYSTEMD}") from away
    halting.report_halt(ctx, order, everything, dry_run, report)
    withdrawn = report.withdrawn
    if not report.governors or report.unheard or withdrawn.unknown or withdrawn.problems:
        raise typer.Exit(1)
