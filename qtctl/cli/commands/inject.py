"""`qtctl inject`: synthetic scores, targets and plans that can be taken away again."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from qtctl import clock
from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, group
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.safety import DryRun, Force, refuse_other_groups
from qtctl.cli.output import format
from qtctl.cli.output.columns import number, text
from qtctl.cli.output.render import emit, emit_one
from qtctl.errors import NotFoundError, RefusedError

if TYPE_CHECKING:
    from qtctl.wire.client.store import Store
    from qtctl.wire.control.injection import InTheWay
    from qtctl.wire.schema.keys import KeySpec

app = group(
    "inject",
    help="Synthetic scores, targets and plans, marked, and taken away by `clear`.",
    examples="""
    qtctl inject eff BTCUSDT 0.2
    qtctl inject target BTCUSDT 1000
    qtctl inject plan BTCUSDT --wait 2
    qtctl inject clear
    """,
)

SOURCE = "qtctl-inject"
MAX_TTL_SEC = 30 * 86_400
MAX_SHOWN_CHARS = 40
CLEARED = (text("key", "key"), text("did", "did"), number("entries", "count"))


@command(app)
def eff(
    ctx: Context,
    symbol: Annotated[str, typer.Argument()],
    score: Annotated[str, typer.Argument(help="Capital efficiency, 0 to 1.")],
    confidence: Annotated[str, typer.Option("--confidence", help="0 to 1.")] = "0.9",
    age: Annotated[str, typer.Option("--age", help="How old it is: 90, 5m, 1h.")] = "0",
    ttl: Annotated[str, typer.Option("--ttl", help="How long the key lives.")] = "600",
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Write a synthetic efficiency score.

    Refuses to cover a score that it did not write; --force keeps the old one for `inject clear`.

    Examples:
        qtctl inject eff BTCUSDT 0.2
        qtctl inject eff BTCUSDT 0.9 --confidence 0.5
        qtctl inject eff BTCUSDT 0.9 --age 700
    """
    from qtctl.wire.schema.keys import EFFICIENCY

    symbol = arguments.symbol(symbol)
    fields = {
        "efficiency_score": repr(arguments.number(score, "SCORE", 0, 1)),
        "confidence": repr(arguments.number(confidence, "--confidence", 0, 1)),
        "mode": "synthetic",
        "version": SOURCE,
    }
    age_sec = arguments.duration(age, "--age", 0, MAX_TTL_SEC)
    with ctx.store() as store:
        fields["ts"] = str(int(store.now_ms() / 1000 - age_sec))
        _cover(ctx, store, EFFICIENCY, symbol, fields, ttl, force, dry_run)


@command(app)
def target(
    ctx: Context,
    symbol: Annotated[str, typer.Argument()],
    usd: Annotated[str, typer.Argument(help="Allocation target in USD, 0 or more.")],
    confidence: Annotated[str, typer.Option("--confidence", help="0 to 1.")] = "0.8",
    ttl: Annotated[str, typer.Option("--ttl", help="How long the key lives.")] = "600",
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Write a synthetic allocation target.

    Refuses to cover a target that it did not write; --force keeps the old one for `inject clear`.

    Examples:
        qtctl inject target BTCUSDT 1000
        qtctl inject target BTCUSDT 2500 --ttl 5m
    """
    from qtctl.wire.schema.keys import TARGET

    symbol = arguments.symbol(symbol)
    fields = {
        "target_usd": repr(arguments.number(usd, "USD", 0, 1e15)),
        "confidence": repr(arguments.number(confidence, "--confidence", 0, 1)),
        "mode": "synthetic",
    }
    with ctx.store() as store:
        fields["timestamp"] = str(store.now_ms() // 1000)
        _cover(ctx, store, TARGET, symbol, fields, ttl, force, dry_run)


@command(app)
def plan(
    ctx: Context,
    symbol: Annotated[str, typer.Argument()],
    plan_id: Annotated[str | None, typer.Option("--plan-id", metavar="ID")] = None,
    action: Annotated[
        str | None,
        typer.Option(
            "--action", help="Default: OPEN_PROPOSED; with --reduce-only FULL_CLOSE_PROPOSED."
        ),
    ] = None,
    decision: Annotated[str, typer.Option("--decision")] = "EXECUTE",
    kill_score: Annotated[str, typer.Option("--kill-score", help="0 to 1.")] = "0.1",
    side: Annotated[str, typer.Option("--side")] = "BUY",
    qty: Annotated[str, typer.Option("--qty")] = "0.01",
    price: Annotated[str | None, typer.Option("--price", help="USD.")] = None,
    reduce_only: Annotated[bool, typer.Option("--reduce-only", help="A close.")] = False,
    wait: Annotated[
        str | None,
        typer.Option("--wait", metavar="S", help="Tell the verdict; exit 1 without one in S."),
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
        now_ms = store.now_ms()
        entry |= {"timestamp": str(now_ms // 1000), "source": SOURCE}
        entry["plan_id"] = entry["plan_id"] or _new_plan_id(now_ms)
        ctx.say(f"{ctx.where()} plan {entry['action']} {entry['symbol']} qty {entry['qty']}")
        refuse_other_groups(store, "an injected plan could become an order", force)
        if dry_run:
            emit_one(ctx, entry) if ctx.output != "table" else ctx.say(_listed(entry))
            return
        _send(ctx, store, entry, wait_sec)


@command(app)
def clear(ctx: Context, dry_run: DryRun = False) -> None:
    """Take away what was injected, and put back what it covered.

    What somebody else changed since is left alone. Decisions and permits that injected plans got
    stay: they are history.

    Examples:
        qtctl inject clear
        qtctl inject clear --dry-run
    """
    from qtctl.wire.control import injection

    with ctx.store() as store:
        ctx.say(f"{ctx.where()} clear what was injected")
        if dry_run:
            emit(ctx, injection.injected(store), CLEARED[:1], empty="Nothing is injected.")
            return
        emit(ctx, injection.clear(store), CLEARED, empty="Nothing was injected.")


def _cover(
    ctx: Context,
    store: "Store",
    spec: "KeySpec",
    symbol: str,
    fields: Mapping[str, str],
    ttl: str,
    force: bool,
    dry_run: bool,
) -> None:
    from qtctl.wire.control import injection

    ttl_sec = int(arguments.duration(ttl, "--ttl", 1, MAX_TTL_SEC))
    key = store.keys.at(spec, symbol)
    ctx.say(f"{ctx.where()} inject {key}: {_listed(fields)}; for {format.span(ttl_sec)}")
    found = injection.cover(store, key, fields, ttl_sec, force=force, dry_run=dry_run)
    if found is not None:
        raise RefusedError(
            f"{key} holds {_in_the_way(found, store.now_ms() / 1000)}, not written by inject; "
            "--force covers it and keeps it for 'qtctl inject clear'"
        )
    if ctx.output != "table":
        emit_one(ctx, {"key": key, "ttl_s": ttl_sec, **fields})


def _in_the_way(found: "InTheWay", now: float) -> str:
    """What an operator needs to know before covering it: what it is, and how old."""
    from qtctl.domain import numbers

    if found.type != "hash":
        return f"a {found.type}"
    at = numbers.epoch(found.fields.get("ts") or found.fields.get("timestamp") or "")
    age = "of unknown age" if at is None else f"{format.span(now - at)} old"
    shown: dict[str, str] = {
        name: found.fields[name][:MAX_SHOWN_CHARS]
        for name in ("efficiency_score", "target_usd", "confidence", "mode", "version")
        if name in found.fields
    }
    return f"a hash {age} ({_listed(shown) or 'other fields'})"


def _new_plan_id(now_ms: int) -> str:
    import secrets

    return f"inj-{now_ms}-{secrets.token_hex(3)}"


def _listed(fields: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in fields.items())


def _send(ctx: Context, store: "Store", entry: Mapping[str, str], wait_sec: float | None) -> None:
    from qtctl.cli.views.in_force import InForce
    from qtctl.domain.plans import PlanRules
    from qtctl.wire.control import injection
    from qtctl.wire.queries import verdicts

    rules, _ = InForce(ctx, store).of("governor", PlanRules)
    entry_id = injection.send_plan(store, entry)
    typer.echo(entry["plan_id"])
    if wait_sec is None:
        return
    deadline = clock.monotonic() + wait_sec
    while (verdict := verdicts.of_entry(store, entry_id, entry, rules)) is None:
        if clock.monotonic() >= deadline:
            raise NotFoundError(
                f"no verdict on {entry['plan_id']} within {format.span(wait_sec)}: is a governor "
                "running on this Redis? ('qtctl serve governor')"
            )
        clock.sleep(0.02)
    ctx.say(f"{entry['plan_id']}: {verdict.verdict} ({verdict.reason})")
