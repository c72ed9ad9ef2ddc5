"""`qtctl target`: live targets beside what is proposed for them."""

from typing import Annotated

from qtctl.cli.framework import Context, arg, arguments, command, group
from qtctl.cli.framework.list_options import Lists
from qtctl.cli.output import emit

app = group(
    "target",
    help="Live targets beside their proposals.",
    default="list",
    examples="""
    qtctl target list
    qtctl target list BTCUSDT -o json
    """,
)


@command(app, "list", lists=Lists("qtctl.cli.views.targets", filters=("reason",), by_time=True))
def list_targets(ctx: Context, symbols: Annotated[list[str] | None, arg("SYMBOL")] = None) -> None:
    """Live target beside proposal, the widest change first.

    Examples:
        qtctl target list
        qtctl target list BTCUSDT ETHUSDT
        qtctl target -o json
        qtctl target list -n 10 --sort -base_target
    """
    from qtctl.cli.views import nearest
    from qtctl.cli.views import targets as view
    from qtctl.cli.views.in_force import InForce
    from qtctl.domain.allocation import AllocationRules
    from qtctl.wire.schema.keys import TARGET

    wanted = arguments.symbols(symbols)
    with ctx.store() as store:
        narrowed = ctx.window(store).filtered
        found = view.rows(store, wanted)
        there = bool(found)
        empty = nearest.none_listed(store, TARGET, wanted, there=there, narrowed=narrowed)
        emit(ctx, found, view.LISTED, empty=empty)
        if not wanted and (note := view.misnamed(store)):
            ctx.say(note)
        if ctx.output == "table" and found:
            rules, source = InForce(ctx, store).of("allocation", AllocationRules)
            ctx.say(f"Multiplier {rules.min_mult:g} to {rules.max_mult:g}, limits of {source}.")
