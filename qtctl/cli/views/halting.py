"""Halting: what is done, what is warned of, and the line or JSON about it."""

from typing import Any

import msgspec

from qtctl.cli.framework.context import Context
from qtctl.cli.output import emit_line
from qtctl.cli.output.format import count
from qtctl.cli.views import halts, nearest
from qtctl.cli.views.health import lateness, readiness
from qtctl.domain.names import ascii_upper
from qtctl.errors import QtctlError, RedisUnreachable, UsageError, WireError
from qtctl.settings import display_url
from qtctl.wire.client.store import Store
from qtctl.wire.control import halt as control
from qtctl.wire.control.halt import HaltRequest, Report
from qtctl.wire.control.kill_switch import KillKey, strictest
from qtctl.wire.queries import activity, services

BY_SYSTEMD = (
    "stop the governors on their hosts: systemctl stop quantum-governor.service "
    "(qtctl.service where one process runs both loops)"
)


def halt(
    ctx: Context,
    order: HaltRequest,
    everything: bool,
    *,
    force: bool = False,
    dry_run: bool = False,
) -> Report:
    """Halt as `qtctl halt` does, with all its checks and warnings, on a connection of its own.
    Errors: UsageError for a symbol that nothing knows, unless forced; RedisUnreachable saying how
    else to stop; WireError."""
    try:
        with ctx.store(notice=False) as store:
            known(store, order, force)
            report = stop(ctx, store, order, everything, dry_run)
            warn(ctx, order, everything, report)
    except RedisUnreachable as away:
        what = str(away).removesuffix(".")
        raise RedisUnreachable(f"{what}. While Redis is away, {BY_SYSTEMD}") from away
    return report


def is_certain(report: Report) -> bool:
    """True if the halt is enforced from the next plan on, and no permit of an open is left."""
    left = report.withdrawn.unknown or report.withdrawn.problems
    return bool(report.enforced) and not (report.unheard or left)


def stop(ctx: Context, store: Store, order: HaltRequest, everything: bool, dry_run: bool) -> Report:
    """Stop opens, or everything, and withdraw the permits of opens."""
    ctx.announce(f"halting {_stopped(order, everything)}", dry_run=dry_run, urgent=True)
    try:
        first = None if dry_run else control.stop(store, order, everything)
    except WireError as refused:
        # The same class: NOPERM, no memory, a replica that takes no writes.
        raise type(refused)(f"nothing is stopped: {refused}. Instead, {BY_SYSTEMD}") from refused
    try:
        report = control.follow_up(
            store, order, everything, first, lambda: services.running(store, "governor")
        )
    except QtctlError as problem:
        if first is None:
            raise
        stands = f"the stop stands ({store.keys.prefix}{first.name}='{first.value}')"
        again = "permits may still be open: run it again"
        raise type(problem)(f"{stands}, but {again}: {problem}") from problem
    # A record outlives a process that was killed: the ports on this host are asked.
    asked = {each.name: readiness(each) for each in report.governors if each not in report.late}
    silent = {name: detail for name, (state, detail) in asked.items() if state == "silent"}
    return msgspec.structs.replace(report, silent=silent)


def warn(ctx: Context, order: HaltRequest, everything: bool, report: Report) -> None:
    """What an operator must know beside the one line."""
    if (upper := ascii_upper(order.symbol)) != order.symbol:
        ctx.warn(
            f"only plans that spell it {order.symbol} are stopped: 'qtctl halt {upper}' stops "
            "every spelling"
        )
    for problem in report.problems:
        ctx.warn(f"the stop stands, but its record or event could not be written: {problem}")
    for problem in report.withdrawn.problems[:3]:
        ctx.warn(f"a permit could not be withdrawn: {problem}")
    for plan_id in report.withdrawn.unknown[:3]:
        ctx.warn(
            f"the permit of {plan_id} was not withdrawn: its decision is gone, so it may be an open"
        )
    for governor in report.unheard:
        ctx.warn(
            f"governor {governor.name} does not report which kill keys it reads: this may have "
            f"NO EFFECT on it; {BY_SYSTEMD}"
        )
    if report.late or report.silent:
        ctx.warn(
            "a governor that is late or does not answer may hang, or was killed: look with 'qtctl "
            "doctor' on its host; the first plan that it takes up meets the halt"
        )
    elif not report.enforced:
        ctx.warn(
            "no governor is running: nothing enforces this halt yet. Is this the right Redis? If "
            "so, start a governor: it obeys the halt from its first plan on. 'qtctl doctor' shows "
            "what is there"
        )
    if report.withdrawn.closes and _closes_stop(order, everything, report):
        ctx.warn(
            f"{count(report.withdrawn.closes, 'close permit')} NOT withdrawn: issued before the "
            "halt, they reduce risk, and the Apply Layer may still take them for up to "
            f"{_lifetime(report)}; --revoke withdraws them too"
        )


def report_halt(
    ctx: Context, order: HaltRequest, everything: bool, dry_run: bool, report: Report
) -> None:
    """What was done and where: one line, or one JSON object."""
    row = strictest(report.rows, order.symbol or None)
    closes_stop = _closes_stop(order, everything, report)
    record = row.record if row is not None else None
    document: dict[str, Any] = {
        "halted": None if dry_run else "all" if closes_stop else "opens",
        "symbol": order.symbol or None,
        "redis": display_url(ctx.settings.redis.url),
        "key": row.key if row else None,
        "value": row.value if row else None,
        "who": record.who if record else None,
        "why": record.why if record else None,
        "since": record.since if record else None,
        "before": record.before if record else None,
        "withdrawn": report.withdrawn.opens,
        "closes_withdrawn": report.withdrawn.revoked,
        "closes_left": report.withdrawn.closes,
        "unknown_left": list(report.withdrawn.unknown),
        "governors": [governor.name for governor in report.governors],
        "late": [*(governor.name for governor in report.late), *report.silent],
    }
    emit_line(ctx, document, halt_line(ctx, order, everything, dry_run, report))


def halt_line(
    ctx: Context, order: HaltRequest, everything: bool, dry_run: bool, report: Report
) -> str:
    """What was done, where, and what follows."""
    row = strictest(report.rows, order.symbol or None)
    closes_stop = _closes_stop(order, everything, report)
    did = "WOULD HALT" if dry_run else "HALTED"
    what = f"{did} {_stopped(order, closes_stop)} on {display_url(ctx.settings.redis.url)}"
    return " · ".join([what, *_effects(ctx, row, closes_stop, dry_run, report)])


def _stopped(order: HaltRequest, closes_too: bool) -> str:
    of = f" of {order.symbol}" if order.symbol else ""
    return f"{'opens and closes' if closes_too else 'opens'}{of}"


def _effects(
    ctx: Context, row: KillKey | None, closes_stop: bool, dry_run: bool, report: Report
) -> list[str]:
    """The parts of the line behind what and where."""
    withdrawn = report.withdrawn
    would = "to withdraw" if dry_run else "withdrawn"
    parts = [f"{count(withdrawn.opens, 'permit')} {would}"]
    if withdrawn.revoked:
        parts.append(f"{count(withdrawn.revoked, 'close permit')} {would}")
    if not closes_stop:
        parts.append("closes still pass (--all stops them)")
    elif withdrawn.closes:
        parts.append(
            f"{count(withdrawn.closes, 'close permit')} NOT withdrawn (takeable for up to "
            f"{_lifetime(report)})"
        )
    # A stop that was there before: whose it is decides who can take it back.
    if row is not None and (dry_run or report.again or row.record is None):
        parts.append(f"stopped by {halts.describe(row, ctx.utc)}")
    return parts + _governors(report)


def _governors(report: Report) -> list[str]:
    """Who enforces it."""
    if not report.governors:
        return ["no governor is running: nothing enforces this halt yet"]
    late = [f"governor {it.name} is LATE: {lateness(it, report.now)}" for it in report.late]
    late += [f"governor {name} gives NO ANSWER: {why}" for name, why in report.silent.items()]
    alive = len(report.governors) - len(late)
    if not alive:
        return [*late, "no governor is working: nothing enforces this halt yet"]
    return [f"{count(alive, 'governor')} alive", *late]


def _closes_stop(order: HaltRequest, everything: bool, report: Report) -> bool:
    row = strictest(report.rows, order.symbol or None)
    return everything or (row is not None and row.mode.level > 1)


def _lifetime(report: Report) -> str:
    """How long a permit lives, at most, by the records of the governors."""
    found = [it.settings.get("permit_ttl_sec") for it in report.governors]
    return f"{max([60, *(each for each in found if isinstance(each, int))])} s"


def known(store: Store, order: HaltRequest, force: bool) -> None:
    """Refuses a symbol that nothing knows: a halt of a name that is misspelt stops nothing.

    Errors: UsageError with the nearest that is known.
    """
    if not order.symbol or force or activity.is_known(store, order.symbol):
        return
    found = nearest.nearest(store, order.symbol)
    near = f"; the nearest that is known is {found}" if found else ""
    raise UsageError(
        f"nothing here knows {order.symbol}: it has no target, no score, no recent plan, permit or "
        f"decision{near}. Nothing is halted; --force halts it anyway"
    )
