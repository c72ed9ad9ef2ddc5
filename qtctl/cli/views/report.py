"""The page of `qtctl report`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import starmap
from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.cli.output import Fields, Rows, format
from qtctl.cli.output.columns import Column, age, line, money, number, plan_id, recent, text, word
from qtctl.cli.output.sparks import bars
from qtctl.cli.output.tables import on_terminal
from qtctl.cli.views.evidence_window import describe
from qtctl.evidence.governing import Governor
from qtctl.evidence.report import Allocation, Multipliers, Report
from qtctl.evidence.shadow import Part
from qtctl.evidence.track import Largest
from qtctl.evidence.window import Window

_line = partial(line, width=12)


def page(ctx: Context, report: Report, window: Window, limit: int) -> Iterator[Fields | Rows]:
    """The parts of the page; limit: so many symbols at most."""
    yield Fields(_window(ctx, report, window))
    found = report.allocation
    if found is None:
        yield Fields([_line("allocation", "no passes in the window")])
    else:
        yield Fields(_allocation(ctx, found), "Allocation, in shadow")
    if on_terminal(ctx):
        yield Fields(_trends(report.parts), "Trends, oldest first")
        if found is not None and found.distribution:
            yield Fields([_distribution(found)], joined=True)
    shown, there = min(limit, len(report.symbols)), len(report.symbols)
    title = f"Symbols, most flips first ({shown:,} of {there:,}; --limit N shows more)"
    yield Rows(report.symbols[:limit], SYMBOLS, title)
    yield Fields(_governor(report.governor), "Governor")
    yield Rows(report.governor.verdicts, VERDICTS, "Plans by gate")
    yield Rows(report.governor.prices, PRICES, "How long until a blocked open would have passed")
    yield Rows(report.governor.refused, REFUSED, "Closes refused though nothing stopped everything")


def _window(ctx: Context, report: Report, window: Window) -> list[Column]:
    titles = ("window", "", "", "", "")
    lines = [
        _line(title, words)
        for title, words in zip(titles, describe(ctx, window, report.window.gaps), strict=False)
    ]
    if report.window.late:
        late = f"{report.window.late:,} came after their day was sealed"
        lines.append(_line("", f"passes: {late}, and are counted as made only"))
    if report.window.unknown_rules:
        lines.append(_line("", "rules of some passes are unknown: 10 s is taken as the interval"))
    changes = [
        f"{format.moment(each.at_ms / 1000, ctx.utc)} {each.what}" for each in report.changes[-3:]
    ]
    if changes:
        more = f" ({len(report.changes)} in all)" if len(report.changes) > len(changes) else ""
        lines.append(_line("changes", "; ".join(changes) + more))
    return lines


def _allocation(ctx: Context, found: Allocation) -> list[Column]:
    cover, gross = found.coverage, found.gross
    proposed, live = (
        format.fixed(each, 0)
        for each in (found.turnover_usd_per_hour, found.live_turnover_usd_per_hour)
    )
    lines = {
        "coverage": f"{percent(cover.share, 2)} of {cover.due:,} passes due: {cover.made:,} made, "
        f"{cover.not_made:,} not made, {cover.unknown:,} unknown",
        "symbols": f"{found.symbols:,}, observed for {found.symbol_hours:,.1f} symbol-hours",
        "reasons": _reasons(found.reasons),
        "multiplier": _multiplier(found.multiplier),
        "flips": f"{found.flips:,}: {format.fixed(found.flips_per_symbol_hour, 3)} per symbol-hour",
        "turnover": f"{proposed} USD/h proposed, {live} USD/h live",
        "gross": f"change P50 {percent(gross.p50)}, P95 {percent(gross.p95)}, "
        f"P99 {percent(gross.p99)} of {gross.passes:,} passes; largest "
        f"{_largest(ctx, gross.largest, _signed)}",
        "largest": f"in USD {_largest(ctx, found.largest_usd, _usd)}",
        "change": f"in % {_largest(ctx, found.largest_share, _signed)}",
        "": f"in one step {_largest(ctx, found.largest_step, percent)}",
    }
    return list(starmap(_line, lines.items()))


def _trends(parts: Sequence[Part]) -> list[Column]:
    """A cell for each part of the window; a blank where there was no pass."""
    live = [part.live / part.passes if part.passes else None for part in parts]
    change = [abs(part.proposed / part.live - 1) if part.live > 0 else None for part in parts]
    rows: tuple[tuple[str, Sequence[float | None], str], ...] = (
        ("ok", [part.ok / part.rows if part.rows else None for part in parts], "share"),
        ("live", live, "USD"),
        ("gross change", change, "share"),
        ("permits", [part.permitted for part in parts], "plans"),
        ("blocks", [part.blocked for part in parts], "plans"),
    )
    return [_line(name, f"{bars(values)}  {_most(values, unit)}") for name, values, unit in rows]


def _distribution(found: Allocation) -> Column:
    """How long each multiplier stood, from the least to the most."""
    steps = found.distribution
    ends = f"{steps[0].low:g} to {steps[-1].high:g}"
    return _line("multiplier", f"{bars([each.share for each in steps])}  {ends}, by time")


def _most(values: Sequence[float | None], unit: str) -> str:
    most = max((each for each in values if each is not None), default=None)
    return f"to {percent(most)}" if unit == "share" else f"to {format.fixed(most, 0)} {unit}"


def _governor(found: Governor) -> list[Column]:
    sizes, waited = found.downsizes, found.latency
    rejected = "" if found.rejected is None else f"; {found.rejected:,} not readable"
    off = (
        "the notional of none is known"
        if sizes.off_usd is None
        else f"{format.money(sizes.off_usd)} of {format.money(sizes.usd)} USD, for the "
        f"{sizes.known:,} of known notional"
    )
    opens = f"{sizes.downsized:,} of {format.count(sizes.opens, 'permitted open')}"
    lines = {
        "plans": f"{found.plans:,}: {found.permitted:,} permitted, {found.blocked:,} blocked, "
        f"{found.withdrawn:,} withdrawn{rejected}",
        "downsizes": opens,
        "would cut": off if sizes.downsized else format.ABSENT,
        "closes": f"{found.closes:,}, of these refused other than by a full stop, a duplicate or a "
        f"conflict: {len(found.refused):,}",
        "queued": f"P50 {_ms(waited.p50_sec)}, P99 {_ms(waited.p99_sec)}, longest "
        f"{_ms(waited.max_sec)} of {waited.known:,}; {waited.unknown:,} unknown",
    }
    styles = {"closes": "red"} if found.refused else {}
    return [_line(title, words, styles.get(title, "")) for title, words in lines.items()]


def share_of(reason: str) -> Callable[[Any], float]:
    """The share of the time that a symbol had a reason, in %."""
    return lambda row: 100 * row.reasons.get(reason, 0.0)


def percents(share: float | None) -> float | None:
    """A share as a number for a column in %."""
    return None if share is None else 100 * share


SYMBOLS = (
    text("symbol", "symbol"),
    number("flips/h", "flips_per_hour", places=3),
    number("ok %", share_of("ok"), places=1),
    number("stale %", share_of("stale_eff"), places=1),
    number("P10", lambda row: row.multiplier.p10, places=3),
    number("P50", lambda row: row.multiplier.p50, places=3),
    number("P90", lambda row: row.multiplier.p90, places=3),
    number("clamp %", lambda row: percents(row.multiplier.at_clamps), places=1),
    number("USD/h", "turnover_usd_per_hour", places=0, drop=1),
    number("live USD/h", "live_turnover_usd_per_hour", places=0, drop=2),
)
VERDICTS = (
    word("reason", "reason"),
    text("kind", "kind"),
    number("plans", "plans"),
    number("with notional", "known"),
    money("USD", "usd"),
)
PRICES = (
    word(
        "gate",
        lambda row: f"{row.reason}{' (at most)' * (row.at_most and row.waits > 0)}",
        named="reason",
    ),
    age("P50", "p50_sec"),
    age("P95", "p95_sec"),
    number("waits", "waits"),
    number("never", "never"),
    number("unknown", "unknown"),
)
REFUSED = (
    recent("time", lambda row: row.at_ms / 1000, named="at_ms"),
    text("symbol", "symbol"),
    plan_id("plan_id", "plan_id"),
    word("reason", "reason"),
)


def percent(share: float | None, places: int = 1) -> str:
    """A share as `98.5 %`."""
    return format.ABSENT if share is None else f"{100 * share:.{places}f} %"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %"


def _usd(amount: float) -> str:
    return f"{format.fixed(amount, 2, True)}"


def _ms(seconds: float | None) -> str:
    return format.ABSENT if seconds is None else f"{1000 * seconds:,.0f} ms"


def _reasons(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{reason} {percent(share)}" for reason, share in shares.items()) or "-"


def _multiplier(found: Multipliers) -> str:
    values = (format.fixed(each, 3) for each in (found.p10, found.p50, found.p90))
    shown = ", ".join(f"P{n} {each}" for n, each in zip((10, 50, 90), values, strict=True))
    return f"{shown}; at a clamp {percent(found.at_clamps)} of the time; where the score was ok"


def _largest(ctx: Context, found: Largest | None, shown: Callable[[float], str]) -> str:
    if found is None:
        return format.ABSENT
    at = format.moment(found.at_ms / 1000, ctx.utc)
    return " ".join(filter(None, (shown(found.value), found.symbol, at)))
