"""`qtctl halt`: stops opens at once, or everything. Never asks."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.safety import DryRun, Reason
from qtctl.cli.output.render import to_json
from qtctl.cli.views import halts
from qtctl.errors import QtctlError, RedisUnreachable, WireError
from qtctl.text import escape

if TYPE_CHECKING:
    from qtctl.wire.client.store import Store
    from qtctl.wire.control.halt import HaltRequest, Report
    from qtctl.wire.control.kill_switch import KillKey

app = new_app("halt")

BY_SYSTEMD = (
    "stop the governors on their hosts: systemctl stop quantum-governor.service "
    "(qtctl.service where one process runs both loops)"
)


@command(app)
def halt(
    ctx: Context,
    symbol: Annotated[str | None, typer.Argument(help="Stop this one only.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Stop closes too.")] = False,
    reason: Reason = "",
    dry_run: DryRun = False,
    unasked: Annotated[bool, typer.Option("--yes", "--no-input", hidden=True)] = False,
) -> None:
    """Stop opens at once; closes still pass. Never asks. `qtctl resume` takes it back.

    Takes effect on the very next plan, and takes back the permits of opens that nobody has taken
    yet. Ends with 1 where no governor lives on this Redis that would obey it, or where a permit
    could not be taken back: opens may go on then.

    Examples:
        qtctl halt
        qtctl halt --reason "exchange is down"
        qtctl halt --all
        qtctl halt BTCUSDT
        qtctl halt --dry-run
    """
    order = halts.request(ctx, symbol, reason)
    try:
        with ctx.store(notice=False) as store:
            report = _halted(ctx, store, order, everything, dry_run)
            _warn(ctx, store, order, report)
    except RedisUnreachable as away:
        raise RedisUnreachable(f"{away}. Where Redis is away, {BY_SYSTEMD}") from away
    _tell(ctx, order, everything, dry_run, report)
    withdrawn = report.withdrawn
    if not report.governors or report.unheard or withdrawn.unknown or withdrawn.problems:
        raise typer.Exit(1)


def _halted(
    ctx: Context, store: "Store", order: "HaltRequest", everything: bool, dry_run: bool
) -> "Report":
    from qtctl.wire.control import halt
    from qtctl.wire.queries import services

    of = f" of {order.symbol}" if order.symbol else ""
    ctx.say(f"{ctx.where()} halt {'opens and closes' if everything else 'opens'}{of}")
    try:
        first = None if dry_run else halt.stop(store, order, everything)
    except WireError as refused:
        # The same class: NOPERM, no memory, a replica that takes no writes.
        raise type(refused)(f"nothing is stopped: {refused}. Else {BY_SYSTEMD}") from refused
    try:
        return halt.follow_up(
            store, order, everything, first, lambda: services.running(store, "governor")
        )
    except QtctlError as problem:
        if first is None:
            raise
        stands = f"the stop stands ({store.keys.prefix}{first.name}='{first.value}')"
        again = "permits may be open still: run it again"
        raise type(problem)(f"{stands}, but {again}: {problem}") from problem


def _warn(ctx: Context, store: "Store", order: "HaltRequest", report: "Report") -> None:
    """What an operator must know beside the one line."""
    from qtctl.wire.control.halt import is_known

    for problem in report.problems:
        ctx.warn(f"the stop stands, but its record or event could not be written: {problem}")
    for problem in report.withdrawn.problems[:3]:
        ctx.warn(f"a permit could not be taken back: {problem}")
    for plan_id in report.withdrawn.unknown[:3]:
        ctx.warn(f"the permit of {plan_id} is left: its decision is gone, it may be an open")
    for governor in report.unheard:
        ctx.warn(
            f"governor {governor.name} does not tell which kill keys it reads: this may have NO "
            f"EFFECT on it; {BY_SYSTEMD}"
        )
    if order.symbol and not is_known(store, order.symbol):
        ctx.warn(f"{order.symbol} has no target, no score and no open here: is that its name?")


def _tell(
    ctx: Context, order: "HaltRequest", everything: bool, dry_run: bool, report: "Report"
) -> None:
    """What was done and where: one line, or one JSON object."""
    import sys

    from qtctl.settings import display_url
    from qtctl.wire.control.kill_switch import strictest

    where = display_url(ctx.settings.redis.url)
    row = strictest(report.rows, order.symbol or None)
    closes_stop = everything or (row is not None and row.mode.level > 1)
    if ctx.output == "table":
        did = "WOULD HALT" if dry_run else "HALTED"
        of = f" of {order.symbol}" if order.symbol else ""
        parts = [f"{did} {'opens and closes' if closes_stop else 'opens'}{of} on {where}"]
        parts += _said(ctx, row, closes_stop, dry_run, report)
        sys.stdout.write(escape(" · ".join(parts)) + "\n")
        return
    record = row.record if row is not None else None
    document: dict[str, Any] = {
        "halted": None if dry_run else "all" if closes_stop else "opens",
        "symbol": order.symbol or None,
        "redis": where,
        "key": row.key if row else None,
        "value": row.value if row else None,
        "who": record.who if record else None,
        "why": record.why if record else None,
        "since": record.since if record else None,
        "before": record.before if record else None,
        "withdrawn": report.withdrawn.opens,
        "closes_left": report.withdrawn.closes,
        "unknown_left": list(report.withdrawn.unknown),
        "governors": [governor.name for governor in report.governors],
    }
    sys.stdout.write(to_json(document, indent=ctx.output == "json") + "\n")


def _said(
    ctx: Context, row: "KillKey | None", closes_stop: bool, dry_run: bool, report: "Report"
) -> list[str]:
    """The parts of the line behind what and where."""
    withdrawn = report.withdrawn
    would = "to withdraw" if dry_run else "withdrawn"
    parts = [f"{_count(withdrawn.opens, 'permit')} {would}"]
    if not closes_stop:
        parts.append("closes still pass (--all stops them)")
    elif withdrawn.closes:
        parts.append(f"{_count(withdrawn.closes, 'permit')} of closes left")
    # A stop that was there before: whose it is decides who can take it back.
    if row is not None and (dry_run or report.again or row.record is None):
        parts.append(f"stopped by {halts.told(row, ctx.utc)}")
    return parts + _governors(report)


def _governors(report: "Report") -> list[str]:
    """Who enforces it."""
    from qtctl.cli.views.health import lateness

    if not report.governors:
        return ["no governor is running: nothing enforces this halt yet"]
    late = [it for it in report.governors if it.is_late(report.now)]
    alive = len(report.governors) - len(late)
    parts = [f"{_count(alive, 'governor')} alive"] if alive else []
    return parts + [f"governor {it.name} is LATE: {lateness(it, report.now)}" for it in late]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
