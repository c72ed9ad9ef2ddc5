"""`qtctl inject`: synthetic scores, targets and plans that can be removed again."""

from typing import Annotated

from qtctl.cli.framework import ROWS, Context, arg, arguments, command, group, opt
from qtctl.cli.framework.safety import DryRun, Force, refuse_other_groups
from qtctl.cli.output import emit, emit_one

app = group(
    "inject",
    help="Synthetic scores, targets and plans, marked, and removed by `clear`.",
    examples="""
    qtctl inject eff BTCUSDT 0.2
    qtctl inject target BTCUSDT 1000
    qtctl inject plan BTCUSDT --wait 2
    qtctl inject clear
    """,
)

SOURCE = "qtctl-inject"
_ANOTHER_PLAN = (
    "the score, the halt and the rates of {upper} apply to it where it has none of its own, and it "
    "is listed as it was sent"
)


@command(app)
def eff(
    ctx: Context,
    symbol: Annotated[str, arg("SYMBOL")],
    score: Annotated[str, arg("SCORE", "Capital efficiency, 0 to 1.")],
    confidence: Annotated[str, opt("--confidence", "0 to 1.")] = "0.9",
    age: Annotated[str, opt("--age", "How old it is: 90s, 5m, 1h.")] = "0s",
    ttl: Annotated[str, opt("--ttl", "How long the key lives.")] = "10m",
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Write a synthetic efficiency score.

    Refuses to overwrite a score that it did not write; with --force it does, and `inject clear`
    restores the old one.

    Examples:
        qtctl inject eff BTCUSDT 0.2
        qtctl inject eff BTCUSDT 0.9 --confidence 0.5
        qtctl inject eff BTCUSDT 0.9 --age 700
    """
    from qtctl.cli.views import injection as view
    from qtctl.wire.schema.keys import EFFICIENCY

    symbol = arguments.symbol(symbol)
    fields = {
        "efficiency_score": repr(arguments.number(score, "SCORE", 0, 1)),
        "confidence": repr(arguments.number(confidence, "--confidence", 0, 1)),
        "mode": "synthetic",
        "version": SOURCE,
    }
    age_sec = arguments.duration(age, "--age", 0, view.MAX_TTL_SEC)
    view.cover(
        ctx, EFFICIENCY, symbol, lambda ms: fields | {"ts": str(int(ms / 1000 - age_sec))}, ttl,
        force, dry_run,
    )  # fmt: skip


@command(app)
def target(
    ctx: Context,
    symbol: Annotated[str, arg("SYMBOL")],
    usd: Annotated[str, arg("USD", "Allocation target in USD, 0 or more.")],
    confidence: Annotated[str, opt("--confidence", "0 to 1.")] = "0.8",
    ttl: Annotated[str, opt("--ttl", "How long the key lives.")] = "10m",
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Write a synthetic allocation target.

    Refuses to overwrite a target that it did not write; with --force it does, and `inject clear`
    restores the old one.

    Examples:
        qtctl inject target BTCUSDT 1000
        qtctl inject target BTCUSDT 2500 --ttl 5m
    """
    from qtctl.cli.views import injection as view
    from qtctl.wire.schema.keys import TARGET

    symbol = arguments.symbol(symbol)
    fields = {
        "target_usd": repr(arguments.number(usd, "USD", 0, 1e15)),
        "confidence": repr(arguments.number(confidence, "--confidence", 0, 1)),
        "mode": "synthetic",
    }
    view.cover(
        ctx, TARGET, symbol, lambda ms: fields | {"timestamp": str(ms // 1000)}, ttl, force, dry_run
    )


@command(app)
def plan(
    ctx: Context,
    symbol: Annotated[str, arg("SYMBOL")],
    plan_id: Annotated[str | None, opt("--plan-id ID")] = None,
    action: Annotated[
        str | None,
        opt("--action", "Default: OPEN_PROPOSED; with --reduce-only FULL_CLOSE_PROPOSED."),
    ] = None,
    decision: Annotated[str, opt("--decision")] = "EXECUTE",
    kill_score: Annotated[str, opt("--kill-score", "0 to 1.")] = "0.1",
    side: Annotated[str, opt("--side")] = "BUY",
    qty: Annotated[str, opt("--qty")] = "0.01",
    price: Annotated[str | None, opt("--price", "USD.")] = None,
    reduce_only: Annotated[bool, opt("--reduce-only", "A close.")] = False,
    wait: Annotated[
        str | None, opt("--wait S", "Print the verdict; exit 1 without one in S.")
    ] = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Send a synthetic plan; its plan_id is all that goes to stdout.

    Refuses where another consumer group reads the plans too, since one could become an order.

    Examples:
        qtctl inject plan BTCUSDT
        qtctl inject plan BTCUSDT --kill-score 0.9 --wait 2
        qtctl inject plan BTCUSDT --reduce-only --qty 0
        qtctl permit show "$(qtctl inject plan BTCUSDT --wait 2)"
    """
    from qtctl.cli.views import injection as view
    from qtctl.cli.views import nearest

    entry = {
        "plan_id": arguments.plan_id(plan_id, "--plan-id") if plan_id is not None else "",
        "symbol": arguments.symbol(symbol),
        "action": action or ("FULL_CLOSE_PROPOSED" if reduce_only else "OPEN_PROPOSED"),
        "decision": decision,
        "kill_score": repr(arguments.number(kill_score, "--kill-score", 0, 1)),
        "side": side,
        "qty": repr(arguments.number(qty, "--qty")),
    }
    if price is not None:
        entry["price"] = repr(arguments.number(price, "--price", 0))
    if reduce_only:
        entry["reduceOnly"] = "true"
    wait_sec = None if wait is None else arguments.duration(wait, "--wait", 0, 3600)
    with ctx.store() as store:
        ctx.confirm(dry_run=dry_run)
        now_ms = store.now_ms()
        entry |= {"timestamp": str(now_ms // 1000), "source": SOURCE}
        entry["plan_id"] = entry["plan_id"] or view.new_plan_id(now_ms)
        refuse_other_groups(store, "an injected plan could become an order", force)
        what = f"{entry['action']} {entry['symbol']} qty {entry['qty']}"
        ctx.announce(f"sending the plan {what}", dry_run=dry_run)
        nearest.spelt(ctx, entry["symbol"], _ANOTHER_PLAN)
        for sentence in view.unknown_words(ctx, store, entry):
            ctx.warn(sentence)
        if dry_run:
            emit_one(ctx, entry) if ctx.output != "table" else ctx.say(view.listed(entry))
            return
        view.send(ctx, store, entry, wait_sec)


@command(app, outputs=ROWS)
def clear(ctx: Context, dry_run: DryRun = False) -> None:
    """Remove what was injected, and restore what it overwrote.

    What somebody else has changed since is left alone. Decisions and permits that injected plans
    got stay: they are history.

    Examples:
        qtctl inject clear
        qtctl inject clear --dry-run
    """
    from qtctl.cli.views import injection as view
    from qtctl.wire.control import injection

    with ctx.store() as store:
        ctx.announce("clearing what was injected", dry_run=dry_run)
        if dry_run:
            emit(ctx, injection.injected(store), view.CLEARED[:1], empty="Nothing is injected.")
            return
        emit(ctx, injection.clear(store), view.CLEARED, empty="Nothing was injected.")
