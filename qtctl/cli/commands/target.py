"""`qtctl target`: live targets beside what is proposed for them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, group
from qtctl.cli.framework.context import Context
from qtctl.cli.output.columns import age, money, number, percent, text, ttl
from qtctl.cli.output.render import emit

if TYPE_CHECKING:
    from qtctl.wire.client.store import Store
    from qtctl.wire.queries.targets import Symbol

app = group(
    "target",
    help="Live targets beside their proposals.",
    default="list",
    examples="""
    qtctl target list
    qtctl target list BTCUSDT -o json
    """,
)


def reason_style(value: Any) -> str:
    """The colour of what a score counts as."""
    return {"ok": "green", "": "", None: ""}.get(value, "yellow")


LISTED = (
    text("symbol", "symbol"),
    money("base USD", "base_target"),
    money("proposed USD", "proposed_target"),
    percent("change %", "change_pct"),
    text("reason", "reason", style=reason_style),
    number("score", "eff_score", places=4, drop=1),
    age("target age", "target_age_s", drop=2),
    age("proposed", "proposed_age_s", drop=3),
    ttl("target left", "ttl_s", drop=4),
)


@command(app, "list")
def list_targets(
    ctx: Context, symbols: Annotated[list[str] | None, typer.Argument(metavar="SYMBOL")] = None
) -> None:
    """Live target beside proposal, the widest change first.

    Examples:
        qtctl target list
        qtctl target list BTCUSDT ETHUSDT
        qtctl target -o json
    """
    from qtctl.wire.queries.rules_in_force import allocation_rules
    from qtctl.wire.schema.keys import TARGET

    wanted = arguments.symbols(symbols)
    with ctx.store() as store:
        found = rows(store, wanted)
        upstream = f"No targets: is P2.9 writing {store.keys.pattern(TARGET)} ?"
        emit(ctx, found, LISTED, empty="Nothing of these symbols." if wanted else upstream)
        if ctx.output == "table" and found:
            rules, source = allocation_rules(store, ctx.settings)
            ctx.say(f"Multiplier {rules.min_mult:g} to {rules.max_mult:g}, limits {source}.")


def rows(store: "Store", wanted: Sequence[str]) -> list[dict[str, Any]]:
    """One row a symbol, the widest change first."""
    from qtctl.wire.queries import targets

    now = store.now_ms() / 1000
    read = targets.symbols(store, wanted) if wanted else targets.targets(store)
    found = [_row(symbol, now) for symbol in read]
    return sorted(found, key=lambda row: (-abs(row["change_pct"] or 0.0), row["symbol"]))


def _row(found: "Symbol", now: float) -> dict[str, Any]:
    """The JSON of a symbol: the proposal's wire fields, with the live target as base_target."""
    from qtctl.domain import numbers
    from qtctl.domain.readings import Unusable, target_usd

    target, proposal = found.target.readable, found.proposal.readable
    read = None if found.target.fields is None else target_usd(found.target.fields)
    base = None if isinstance(read, Unusable) else read
    proposed = numbers.number(proposal.get("proposed_target", ""))
    at = numbers.epoch(target.get("timestamp", ""))
    made = numbers.epoch(proposal.get("ts_epoch", ""))
    problem = "no target" if read is None else "unreadable target" if base is None else ""
    return {
        "symbol": found.symbol,
        "base_target": "" if base is None else numbers.usd(base),
        "proposed_target": proposal.get("proposed_target", ""),
        "change_pct": round((proposed / base - 1) * 100, 4)
        if base and proposed is not None
        else None,
        "multiplier": proposal.get("multiplier", ""),
        "eff_score": proposal.get("eff_score", ""),
        "eff_confidence": proposal.get("eff_confidence", ""),
        "eff_stale": proposal.get("eff_stale", ""),
        "reason": problem or proposal.get("reason", "") or "no proposal",
        "ts_epoch": proposal.get("ts_epoch", ""),
        "target_age_s": None if at is None else round(now - at, 3),
        "proposed_age_s": None if made is None else round(now - made, 3),
        "ttl_s": -1 if found.target.ttl_sec is None else round(found.target.ttl_sec, 3),
    }
