"""`qtctl resume`: lifts what `qtctl halt` has set. Asks, and needs a reason."""

from typing import Annotated

import typer

from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.safety import DryRun, Force, NoInput, Reason, Yes, agreed
from qtctl.errors import UsageError

app = new_app("resume")


@command(app)
def resume(
    ctx: Context,
    symbol: Annotated[str | None, typer.Argument(help="Resume this one only.")] = None,
    clock: Annotated[
        bool, typer.Option("--clock", help="Resume opens after a jump of Redis's clock.")
    ] = False,
    reason: Reason = "",
    yes: Yes = False,
    no_input: NoInput = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Undo what `qtctl halt` has stopped, and restore what was there before.

    Refuses while another system's kill key is set: whoever set it has to remove it. A value that
    somebody wrote by hand under halt's own key is removed with --force. Without SYMBOL it undoes
    the halt of all symbols; a symbol with a halt of its own stays halted. --clock ends the
    quarantine of opens after the clock of Redis jumped ahead, and nothing else.

    Examples:
        qtctl resume --reason "exchange is back"
        qtctl resume BTCUSDT --reason "feed repaired" --yes
        qtctl resume --reason "exchange is back" --dry-run
        qtctl resume --clock --reason "clock repaired, positions compared"
    """
    from qtctl.cli.views import halting, halts
    from qtctl.wire.control import kill_switch

    ctx.lenient = True
    order = halts.request(ctx, symbol, reason)
    if not order.why:
        raise UsageError('--reason is needed: why may it resume? As in --reason "exchange is back"')
    if clock:
        if order.symbol or force:
            raise UsageError("--clock goes neither with SYMBOL nor with --force")
        with ctx.store(notice=False) as store:
            ctx.announce(
                "resuming the opens that a jump of the server's clock has stopped",
                dry_run=dry_run,
                no_input=no_input,
            )
            halting.end_quarantine(
                ctx, store, order, dry_run,
                lambda question: agreed(ctx, question, yes=yes, no_input=no_input),
            )  # fmt: skip
        return
    with ctx.store(notice=False) as store:
        order = halting.read_by_governors(store, order)
        what = order.symbol or "what is halted"
        ctx.announce(f"resuming {what}", dry_run=dry_run, no_input=no_input)
        taken, problem = halting.resume(ctx, store, order, force, dry_run=True)
        if not dry_run:
            rows = kill_switch.read(store, order.names)
            agreed(ctx, halting.question(ctx, rows, order), yes=yes, no_input=no_input)
            taken, problem = halting.resume(ctx, store, order, force, dry_run=False)
        rows = kill_switch.read(store, order.names)
        halting.warn_of_late(ctx, store)
    if problem:
        ctx.warn(f"it is resumed, but its record or event could not be written: {problem}")
    goes_on = halting.report_resume(ctx, rows, order, taken, dry_run)
    if not goes_on:
        raise typer.Exit(1)
