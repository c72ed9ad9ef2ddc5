"""`qtctl eff`: capital-efficiency scores, and what they count as."""

from itertools import chain
from typing import Annotated

from qtctl.cli.framework import Context, arg, arguments, command, group
from qtctl.cli.framework.list_options import Lists
from qtctl.cli.output import emit

app = group(
    "eff",
    help="Capital-efficiency scores with age, confidence, and what they count as.",
    default="list",
    examples="""
    qtctl eff list
    qtctl eff list BTCUSDT
    """,
)


@command(app, "list", lists=Lists("qtctl.cli.views.scores", filters=("reason",), by_time=True))
def list_scores(ctx: Context, symbols: Annotated[list[str] | None, arg("SYMBOL")] = None) -> None:
    """Scores as they lie in Redis, and what each loop takes them for.

    Examples:
        qtctl eff list
        qtctl eff list BTCUSDT -o json
        qtctl eff list --reason stale_eff --sort -age_s
    """
    from qtctl.cli.views import nearest
    from qtctl.cli.views import scores as view
    from qtctl.cli.views.in_force import InForce
    from qtctl.domain.allocation import AllocationRules
    from qtctl.domain.downsize import DownsizeRules
    from qtctl.wire.schema.keys import EFFICIENCY

    wanted = arguments.symbols(symbols)
    with ctx.store() as store:
        narrowed = ctx.window(store).filtered
        rows = view.rows(ctx, store, wanted)
        first = [row for row in (next(rows, None),) if row is not None]
        there = bool(first)
        empty = nearest.none_listed(store, EFFICIENCY, wanted, there=there, narrowed=narrowed)
        emit(ctx, chain(first, rows), view.LISTED, empty=empty)
        if ctx.output == "table" and first:
            in_force = InForce(ctx, store)
            rules, source = in_force.of("allocation", AllocationRules)
            downsize, governor = in_force.of("governor", DownsizeRules)
            ctx.say(
                f"Allocation: confidence from {rules.min_conf:g}, age to {rules.stale_sec:g} s, "
                f"limits of {source}."
            )
            ctx.say(
                f"Governor: confidence from {downsize.min_conf:g}, age to "
                f"{downsize.eff_ttl_sec:g} s, limits of {governor}."
            )
