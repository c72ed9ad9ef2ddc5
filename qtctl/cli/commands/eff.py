"""`qtctl eff`: capital-efficiency scores, and what they count as."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtctl.cli.commands.target import reason_style
from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, group
from qtctl.cli.framework.context import Context
from qtctl.cli.output.columns import age, text, ttl
from qtctl.cli.output.render import emit

if TYPE_CHECKING:
    from qtctl.domain.allocation import AllocationRules
    from qtctl.domain.downsize import DownsizeRules
    from qtctl.wire.client.store import Store
    from qtctl.wire.queries.targets import Found

app = group(
    "eff",
    help="Capital-efficiency scores with age, confidence, and what they count as.",
    default="list",
    examples="""
    qtctl eff list
    qtctl eff list BTCUSDT
    """,
)

LISTED = (
    text("symbol", "symbol"),
    text("score", "efficiency_score", right=True),
    text("confidence", "confidence", right=True),
    age("age", "age_s"),
    text("counts as", "counts_as", style=reason_style),
    text("governor", "governor_counts_as", drop=1, style=reason_style),
    text("problem", "problem", drop=2, fold=True),
    ttl("left", "ttl_s", drop=3),
)


@command(app, "list")
def list_scores(
    ctx: Context, symbols: Annotated[list[str] | None, typer.Argument(metavar="SYMBOL")] = None
) -> None:
    """Scores as they lie in Redis, and what each loop takes them for.

    Examples:
        qtctl eff list
        qtctl eff list BTCUSDT -o json
    """
    from qtctl.wire.queries import rules_in_force
    from qtctl.wire.schema.keys import EFFICIENCY

    wanted = arguments.symbols(symbols)
    with ctx.store() as store:
        found = rows(ctx, store, wanted)
        upstream = f"No scores: is P3.1 writing {store.keys.pattern(EFFICIENCY)} ?"
        emit(ctx, found, LISTED, empty="No scores of these symbols." if wanted else upstream)
        if ctx.output == "table" and found:
            rules, source = rules_in_force.allocation_rules(store, ctx.settings)
            downsize, governor = rules_in_force.downsize_rules(store, ctx.settings)
            ctx.say(
                f"Allocation: confidence from {rules.min_conf:g}, age to {rules.stale_sec:g} s, "
                f"limits {source}."
            )
            ctx.say(
                f"Governor: confidence from {downsize.min_conf:g}, age to "
                f"{downsize.eff_ttl_sec:g} s, limits {governor}."
            )


def rows(ctx: Context, store: "Store", wanted: Sequence[str]) -> list[dict[str, Any]]:
    """One row a score, by symbol."""
    from qtctl.wire.queries import rules_in_force, targets

    now = store.now_ms() / 1000
    rules, _ = rules_in_force.allocation_rules(store, ctx.settings)
    downsize, _ = rules_in_force.downsize_rules(store, ctx.settings)
    return [
        _row(symbol, found, now, rules, downsize) for symbol, found in targets.scores(store, wanted)
    ]


def _row(
    symbol: str, found: "Found", now: float, rules: "AllocationRules", downsize: "DownsizeRules"
) -> dict[str, Any]:
    """The JSON of a score: wire fields, what it counts as for each loop, and why not."""
    from qtctl.domain.readings import assess

    seen = assess(found.fields, now, rules.stale_sec, rules.min_conf)
    governor = assess(found.fields, now, downsize.eff_ttl_sec, downsize.min_conf)
    fields = found.readable
    return {
        "symbol": symbol,
        "efficiency_score": fields.get("efficiency_score", ""),
        "confidence": fields.get("confidence", ""),
        "ts": fields.get("ts") or fields.get("timestamp", ""),
        "mode": fields.get("mode", ""),
        "version": fields.get("version", ""),
        "age_s": None if seen.age_sec is None else round(seen.age_sec, 3),
        "counts_as": seen.reason.value,
        "governor_counts_as": governor.reason.value,
        "problem": seen.problem,
        "ttl_s": -1 if found.ttl_sec is None else round(found.ttl_sec, 3),
    }
