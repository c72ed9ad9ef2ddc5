"""Resuming: what is asked, what is undone and acknowledged, and the line or JSON about it."""

from collections.abc import Callable

import msgspec

from qtctl.cli.framework.context import Context
from qtctl.cli.output import emit_line, format
from qtctl.cli.views import halts
from qtctl.cli.views.health import lateness, readiness
from qtctl.errors import NotFoundError, RefusedError, WireError
from qtctl.settings import display_url
from qtctl.wire.client.store import Store
from qtctl.wire.control import clock_jump, forgotten, kill_switch
from qtctl.wire.control import halt as control
from qtctl.wire.control.forgotten import Emptied
from qtctl.wire.control.halt import HaltRequest, Resumed
from qtctl.wire.control.kill_switch import KillKey, strictest
from qtctl.wire.queries import services


def read_by_governors(store: Store, order: HaltRequest) -> HaltRequest:
    """The same order for the names that the running governors read."""
    names = control.names_read(services.running(store, "governor"), order.names)
    return msgspec.structs.replace(order, names=names)


def warn_of_late(ctx: Context, store: Store) -> None:
    """What resumes depends on governors that work."""
    now = store.now_ms() / 1000
    for it in services.running(store, "governor"):
        if it.is_late(now):
            ctx.warn(f"governor {it.name} is LATE: {lateness(it, now)}")
            continue
        state, why = readiness(it)
        if state == "silent":
            ctx.warn(f"governor {it.name} gives NO ANSWER: {why}")


def resume(
    ctx: Context,
    store: Store,
    order: HaltRequest,
    lost: Emptied | None,
    force: bool,
    *,
    dry_run: bool,
) -> tuple[list[Resumed], str]:
    """Undo what a halt has set, and acknowledge a loss of data (None for none): what was undone,
    and what could not be written beside it.

    Errors: RefusedError naming the key that is in the way, NotFoundError where nothing is."""
    done = control.resume(store, order, forced=force, dry_run=dry_run)
    if isinstance(done, control.Refused):
        own = done.key == store.keys.prefix + control.own_name(order.names)
        how = (
            "--force takes it back"
            if own
            else "whoever set it must take it back; then run this again"
        )
        raise RefusedError(
            f"{done.key}='{done.value}' is set, and not by qtctl halt: nothing resumes while "
            f"it is; {how}"
        )
    taken, problem = done
    if not taken and lost is None:
        what = f"{order.symbol} has no halt of its own" if order.symbol else "nothing is halted"
        rows = kill_switch.read(store, order.names)
        if any(row.by_clock for row in rows) and not order.symbol:
            what += "; opens are quarantined by a jump of the clock ('qtctl resume --clock')"
        alone = ", ".join(row.symbol for row in rows if row.symbol)
        only = f", but for {alone} ('qtctl resume SYMBOL')" if alone and not order.symbol else ""
        raise NotFoundError(f"{what} on {ctx.where()}{only}")
    if lost is not None and not dry_run:
        try:
            forgotten.acknowledge(
                store, order.who, order.why, order.events_maxlen, resumed=bool(taken)
            )
        except WireError as refused:
            if not taken:
                raise
            problem = problem or str(refused)
    return taken, problem


def question(ctx: Context, rows: list[KillKey], order: HaltRequest, lost: Emptied | None) -> str:
    """What would go on, and who has stopped it."""
    stops = [row for row in rows if row.mode.level and row.symbol == order.symbol]
    stopped = "; ".join(halts.describe(row, ctx.utc) for row in stops)
    of = f" {order.symbol}" if order.symbol else ""
    if lost is not None:
        loss = f"at {format.moment(lost.at, ctx.utc)} {lost.what}. Are positions compared?"
        if not stops:
            return f"{ctx.where()} {loss} Nothing is halted; acknowledge it?"
        stopped += f"; {loss.removesuffix('.')}"
        return f"{ctx.where()} {stopped} Resume?"
    return f"{ctx.where()} {stopped}. Resume{of}?"


def end_quarantine(
    ctx: Context, store: Store, order: HaltRequest, dry_run: bool, agree: Callable[[str], None]
) -> None:
    """Let opens pass again after a jump of the server's clock. Errors: NotFoundError without one,
    RefusedError where the operator does not agree."""
    jump = clock_jump.found(store)
    if jump is None:
        raise NotFoundError(f"no jump of the server's clock stops opens on {ctx.where()}")
    jumped = halts.describe_jump(store.keys.clock_jump, jump, ctx.utc)
    if not dry_run:
        agree(f"{ctx.where()} {jumped}. Let opens pass again?")
    ctx.announce("resuming the opens that a jump of the server's clock has stopped",
                 dry_run=dry_run)  # fmt: skip
    if not dry_run:
        clock_jump.lift(store, order.who, order.why, order.events_maxlen)
    warn_of_late(ctx, store)
    where = display_url(ctx.settings.redis.url)
    name = store.keys.clock_jump.removeprefix(store.keys.prefix)
    gone = [] if dry_run else [{"name": name, "value": jumped, "restored": None}]
    document = {"resumed": gone, "symbol": None, "redis": where, "acknowledged": None,
                "still_halted": []}  # fmt: skip
    word = "WOULD RESUME" if dry_run else "RESUMED"
    emit_line(ctx, document, f"{word} opens on {where} · {jumped}")


def report_resume(
    ctx: Context,
    rows: list[KillKey],
    order: HaltRequest,
    taken: list[Resumed],
    lost: Emptied | None,
    dry_run: bool,
) -> bool:
    """Print what was resumed and what is still stopped; True if nothing is."""
    where = display_url(ctx.settings.redis.url)
    still = None if dry_run else strictest(rows, order.symbol or None)
    others = [row.symbol for row in rows if row.symbol and row.symbol != order.symbol]
    document = {
        "resumed": [
            {"name": each.name, "value": each.value, "restored": each.restored or None}
            for each in ([] if dry_run else taken)
        ],
        "symbol": order.symbol or None,
        "redis": where,
        "acknowledged": None if lost is None or dry_run else lost.what,
        "still_halted": [
            {"key": row.key, "value": row.value, "symbol": row.symbol or None}
            for row in rows
            if row.mode.level
        ],
    }
    word = "WOULD RESUME" if dry_run else "RESUMED"
    parts = [f"{word} {order.symbol or 'all that halt stopped'} on {where}"]
    if not taken:
        parts = [f"{'WOULD ACKNOWLEDGE' if dry_run else 'ACKNOWLEDGED'} on {where}"]
        parts.append("nothing was halted")
    if lost is not None:
        parts.append(f"{lost.what}: {'would be' if dry_run else 'now'} acknowledged")
    parts += [
        f"{each.name} was '{each.value}'"
        + (f", '{each.restored}' is put back" if each.restored else "")
        for each in taken
    ]
    if still is not None:
        parts.append(f"STILL HALTED by {halts.describe(still, ctx.utc)}")
    if others:
        parts.append(f"symbols still halted: {', '.join(others)}")
    emit_line(ctx, document, " · ".join(parts))
    return still is None
