"""`qtctl resume`: lifts what `qtctl halt` has set. Asks, and needs a reason."""

from typing import Annotated

from qtctl.cli.framework import Context, arg, command, new_app, opt
from qtctl.cli.framework.safety import DryRun, Force, NoInput, Reason, Yes, agreed
from qtctl.errors import UsageError

app = new_app("resume")


@command(app)
def resume(
    ctx: Context,
    symbol: Annotated[str | None, arg("SYMBOL", "Resume this one only.")] = None,
    clock: Annotated[bool, opt("--clock", "Resume opens after a jump of Redis's clock.")] = False,
    reason: Reason = "",
    yes: Yes = False,
    no_input: NoInput = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> int:
    """Undo what `qtctl halt` has stopped, and restore what was there before.

    Refuses while another system's kill key is set: whoever set it has to remove it. A value that
    somebody wrote by hand under halt's own key is removed with --force. Without SYMBOL it undoes
    the halt of all symbols; a symbol with a halt of its own stays halted. After Redis came back
    empty it also acknowledges that, halted or not: `status` and `top` go on to what comes after.
    --clock ends the quarantine of opens after the clock of Redis jumped ahead, and nothing else.

    Examples:
        qtctl resume --reason "exchange is back"
        qtctl resume BTCUSDT --reason "feed repaired" --yes
        qtctl resume --reason "exchange is back" --dry-run
        qtctl resume --clock --reason "clock repaired, positions compared"
    """
    from qtctl.cli.views import halts, resuming
    from qtctl.wire.control import forgotten, kill_switch

    ctx.lenient = True
    order = halts.request(ctx, symbol, reason)
    if not order.why:
        raise UsageError(
            '--reason is required: why is it safe to resume? As in --reason "exchange is back"'
        )
    if clock:
        if order.symbol or force:
            raise UsageError("--clock can't be combined with SYMBOL or --force")
        with ctx.store(notice=False) as store:
            resuming.end_quarantine(
                ctx, store, order, dry_run,
                lambda question: agreed(ctx, question, yes=yes, no_input=no_input),
            )  # fmt: skip
        return 0
    with ctx.store(notice=False) as store:
        order = resuming.read_by_governors(store, order)
        lost = None if order.symbol else forgotten.incident(store)
        taken, problem = resuming.resume(ctx, store, order, lost, force, dry_run=True)
        if not dry_run:
            rows = kill_switch.read(store, order.names)
            question = resuming.question(ctx, rows, order, lost)
            agreed(ctx, question, yes=yes, no_input=no_input)
        what = f"resuming {order.symbol or 'what is halted'}"
        if not taken:
            what = "acknowledging that Redis lost its data"
        ctx.announce(what, dry_run=dry_run, no_input=no_input)
        if not dry_run:
            taken, problem = resuming.resume(ctx, store, order, lost, force, dry_run=False)
        rows = kill_switch.read(store, order.names)
        resuming.warn_of_late(ctx, store)
    if problem:
        ctx.warn(f"it is resumed, but its record or event could not be written: {problem}")
    return int(not resuming.report_resume(ctx, rows, order, taken, lost, dry_run))
