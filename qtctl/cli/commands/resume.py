"""`qtctl resume`: takes back what `qtctl halt` has set. Asks, and needs a reason."""

from typing import TYPE_CHECKING, Annotated

import typer

from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.safety import DryRun, Force, NoInput, Reason, Yes, agreed
from qtctl.cli.output.render import to_json
from qtctl.cli.views import halts
from qtctl.errors import NotFoundError, RefusedError, UsageError
from qtctl.text import escape

if TYPE_CHECKING:
    from qtctl.wire.client.store import Store
    from qtctl.wire.control.halt import HaltRequest, Resumed
    from qtctl.wire.control.kill_switch import KillKey

app = new_app("resume")


@command(app)
def resume(
    ctx: Context,
    symbol: Annotated[str | None, typer.Argument(help="Let this one go on only.")] = None,
    reason: Reason = "",
    yes: Yes = False,
    no_input: NoInput = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Take back what `qtctl halt` has stopped, and put back what was there before.

    Refuses while another system's kill key is set: that one has to be taken back by whoever set
    it. A value that somebody wrote by hand under halt's own key is taken back with --force.
    Without SYMBOL it is the halt of all symbols; those that are stopped for themselves stay so.

    Examples:
        qtctl resume --reason "exchange is back"
        qtctl resume BTCUSDT --reason "feed repaired" --yes
        qtctl resume --reason "exchange is back" --dry-run
    """
    from qtctl.wire.control import kill_switch

    order = halts.request(ctx, symbol, reason)
    if not order.why:
        raise UsageError('--reason is needed: why may it go on? As in --reason "exchange is back"')
    with ctx.store(notice=False) as store:
        ctx.say(f"{ctx.where()} resume {order.symbol or 'what is halted'}")
        taken, problem = _resumed(ctx, store, order, force, dry_run=True)
        if not dry_run:
            rows = kill_switch.read(store, order.names)
            agreed(ctx, _question(ctx, rows, order), yes=yes, no_input=no_input)
            taken, problem = _resumed(ctx, store, order, force, dry_run=False)
        rows = kill_switch.read(store, order.names)
        _warn_of_late(ctx, store)
    if problem:
        ctx.warn(f"it is taken back, but its record or event could not be written: {problem}")
    goes_on = _tell(ctx, rows, order, taken, dry_run)
    if not goes_on:
        raise typer.Exit(1)


def _warn_of_late(ctx: Context, store: "Store") -> None:
    """What goes on depends on governors that work."""
    from qtctl.cli.views.health import lateness
    from qtctl.wire.queries import services

    now = store.now_ms() / 1000
    for it in services.running(store, "governor"):
        if it.is_late(now):
            ctx.warn(f"governor {it.name} is LATE: {lateness(it, now)}")


def _resumed(
    ctx: Context, store: "Store", order: "HaltRequest", force: bool, *, dry_run: bool
) -> "tuple[list[Resumed], str]":
    """Errors: RefusedError naming the key that is in the way, NotFoundError where nothing is."""
    from qtctl.wire.control import halt, kill_switch

    done = halt.resume(store, order, forced=force, dry_run=dry_run)
    if isinstance(done, halt.Refused):
        own = done.key == store.keys.prefix + halt.own_name(order.names)
        how = (
            "--force takes it back"
            if own
            else "whoever set it must take it back; then run this again"
        )
        raise RefusedError(
            f"{done.key}='{done.value}' is set, and not by qtctl halt: nothing goes on while it "
            f"is; {how}"
        )
    taken, problem = done
    if not taken:
        what = f"{order.symbol} is not halted for itself" if order.symbol else "nothing is halted"
        rows = kill_switch.read(store, order.names)
        alone = ", ".join(row.symbol for row in rows if row.symbol)
        only = f", but for {alone} ('qtctl resume SYMBOL')" if alone and not order.symbol else ""
        raise NotFoundError(f"{what} on {ctx.where()}{only}")
    return taken, problem


def _question(ctx: Context, rows: "list[KillKey]", order: "HaltRequest") -> str:
    """What would go on, and who has stopped it."""
    stops = [row for row in rows if row.mode.level and row.symbol == order.symbol]
    said = "; ".join(halts.told(row, ctx.utc) for row in stops)
    return f"{ctx.where()} {said}. Let {order.symbol or 'it'} go on?"


def _tell(
    ctx: Context, rows: "list[KillKey]", order: "HaltRequest", taken: "list[Resumed]", dry_run: bool
) -> bool:
    """What was taken back and what is stopped still; does it go on now."""
    import sys

    from qtctl.settings import display_url
    from qtctl.wire.control.kill_switch import strictest

    where = display_url(ctx.settings.redis.url)
    still = None if dry_run else strictest(rows, order.symbol or None)
    others = [row.symbol for row in rows if row.symbol and row.symbol != order.symbol]
    if ctx.output != "table":
        document = {
            "resumed": [
                {"name": each.name, "value": each.value, "restored": each.restored or None}
                for each in ([] if dry_run else taken)
            ],
            "symbol": order.symbol or None,
            "redis": where,
            "still_halted": [
                {"key": row.key, "value": row.value, "symbol": row.symbol or None}
                for row in rows
                if row.mode.level
            ],
        }
        sys.stdout.write(to_json(document, indent=ctx.output == "json") + "\n")
        return still is None
    word = "WOULD RESUME" if dry_run else "TAKEN BACK" if still else "RESUMED"
    parts = [f"{word} {order.symbol or 'all that halt stopped'} on {where}"]
    parts += [
        f"{each.name} was '{each.value}'"
        + (f", '{each.restored}' is put back" if each.restored else "")
        for each in taken
    ]
    if still is not None:
        parts.append(f"STILL HALTED by {halts.told(still, ctx.utc)}")
    if others:
        parts.append(f"halted for themselves: {', '.join(others)}")
    sys.stdout.write(escape(" · ".join(parts)) + "\n")
    return still is None
