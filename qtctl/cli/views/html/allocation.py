"""The allocation loop in a report: charts, tables, and the sentences that they prove."""

from collections.abc import Callable, Iterator, Sequence

from qtctl import svg
from qtctl.cli.output import format
from qtctl.cli.output.columns import number, text
from qtctl.cli.output.format import count
from qtctl.cli.views.html import page
from qtctl.cli.views.html.page import Mark
from qtctl.cli.views.html.words import amount, change, moment, share
from qtctl.cli.views.report import percents, share_of
from qtctl.evidence.report import Allocation, Report, SymbolFigures
from qtctl.evidence.track import Largest
from qtctl.evidence.window import lost, of_stream
from qtctl.svg import Axis, Bar, Line, Part, Span

WORST = 20
PASSES = "allocation.pass"
REASONS = {
    "ok": ("c1", "ok: the score counts"),
    "low_conf": ("c4", "low_conf: too little confidence in it"),
    "stale_eff": ("c2", "stale_eff: too old"),
    "missing_eff": ("c5", "missing_eff: there is none"),
    "redis_error": ("c7", "redis_error: it can't be read"),
    "none": ("c0", "none: no proposal"),
}
"""Colour and meaning of each."""
_OTHER = ("c0", "")


def parts(found: Report) -> Iterator[str]:
    """The section of a report."""
    own = found.allocation
    if own is None:
        yield page.paragraph("No pass is recorded in the window: nothing is known of this loop.")
        return
    yield page.charts(
        _reasons(found, own), _distribution(own), _flips(found.symbols), _exposure(found)
    )
    yield page.facts("How large the changes would be", _changes(own))


# Time in each reason ------------------------------------------------------------------------------


def _reasons(found: Report, own: Allocation) -> str:
    worst = sorted(found.symbols, key=lambda one: (one.reasons.get("ok", 0.0), one.symbol))
    bars = [_reason_bar("all symbols", own.reasons)]
    bars += [_reason_bar(one.symbol, one.reasons) for one in worst[:WORST]]
    least = worst[0]
    sentence = (
        f"The score counted for {share(own.reasons.get('ok', 0.0))} of the time; least for "
        f"{least.symbol}, {share(least.reasons.get('ok', 0.0))}."
    )
    shown = [reason for reason in REASONS if reason in own.reasons]
    x = Axis("share of observed time, %", 0, 1, [(n / 4, f"{25 * n}") for n in range(5)])
    return page.figure(
        sentence,
        svg.rows("Time in each reason", sentence, x, bars),
        [Mark(REASONS[reason][1], REASONS[reason][0]) for reason in shown],
        f"Of {own.symbol_hours:,.1f} symbol-hours that passes cover. {_which(found, 'least ok')}",
    )


def _reason_bar(name: str, reasons: dict[str, float]) -> Bar:
    order = {reason: place for place, reason in enumerate(REASONS)}
    found = sorted(reasons.items(), key=lambda each: order.get(each[0], len(order)))
    return Bar(
        [Part(part, REASONS.get(reason, _OTHER)[0], f"{name}: {reason} {share(part)}")
         for reason, part in found],
        name=name,
    )  # fmt: skip


def _which(found: Report, what: str) -> str:
    there = len(found.symbols)
    if there <= WORST:
        return ""
    return f"The {WORST} with the {what} of {there:,} symbols; the last table has all."


# The multiplier -----------------------------------------------------------------------------------


def multiplier_sentence(own: Allocation) -> str:
    """How the multiplier lay."""
    found = own.multiplier
    clamps = "an unknown share" if found.at_clamps is None else share(found.at_clamps)
    return (
        f"While the score counted, the multiplier was {amount(found.p50, 3)} or less for at least "
        f"half of the time, and from {amount(found.p10, 3)} to {amount(found.p90, 3)} for at least "
        f"four fifths of it; at a clamp for {clamps}."
    )


def _distribution(own: Allocation) -> str:
    bins = own.distribution
    if not bins:
        return page.paragraph("No score counted in the window: the multiplier has no distribution.")
    sentence = multiplier_sentence(own)
    x = svg.amount_axis("multiplier (1 changes nothing)", bins[0].low, bins[-1].high)
    y = svg.amount_axis("share of time, %", 0, 100 * max(each.share for each in bins), ticks=4)
    bars = [
        Bar(
            [Part(100 * each.share, "c1", f"{each.low:g} to {each.high:g}: {share(each.share)}")],
            (each.low, each.high),
        )
        for each in bins
    ]
    return page.figure(
        sentence,
        svg.columns("Distribution of the multiplier", sentence, x, y, bars),
        note=f"Of the time in which the score was ok. A step is {bins[0].high - bins[0].low:.4g}.",
    )


# Flips --------------------------------------------------------------------------------------------


def flips_sentence(symbols: Sequence[SymbolFigures]) -> str:
    """Who changed sides how often."""
    flipping = [one for one in symbols if one.flips]
    if not flipping:
        return "No proposal changed sides between larger and smaller than the target."
    worst = flipping[0]
    return (
        f"{len(flipping):,} of {count(len(symbols), 'symbol')} changed sides between larger and "
        f"smaller than the target; {worst.symbol} the most often, "
        f"{amount(worst.flips_per_hour, 2)} times an hour."
    )


def _flips(symbols: Sequence[SymbolFigures]) -> str:
    sentence = flips_sentence(symbols)
    shown = [one for one in symbols if one.flips][:WORST]
    if not shown:
        return page.figure(sentence, "", note="Outside ± 0.02 of 1.")
    most = max(one.flips_per_hour or 0.0 for one in shown)
    x = svg.amount_axis("flips per hour of observed time", 0, 1.12 * most, ticks=4)
    bars = [
        Bar(
            [Part(one.flips_per_hour or 0.0, "c1", f"{one.symbol}: {one.flips:,} flips in "
                  f"{format.span(one.observed_ms / 1000)}")],
            name=one.symbol, figure=amount(one.flips_per_hour, 2),
        )
        for one in shown
    ]  # fmt: skip
    more = sum(1 for one in symbols if one.flips) - len(shown)
    rest = f" {more:,} more symbols changed sides no more often: the last table has all." * (
        more > 0
    )
    return page.figure(
        sentence,
        svg.rows("Flips per symbol, the most first", sentence, x, bars),
        note=f"A flip: from over 1.02 to under 0.98, or back. Each symbol for itself, since a mean "
        f"hides the worst.{rest}",
    )


# Exposure -----------------------------------------------------------------------------------------


def unknown_spans(found: Report, stream: str) -> list[Span]:
    """Where entries of a stream may be missing."""
    window = found.window
    gaps = lost(window.gaps, window.since_ms, window.until_ms)
    return [(gap.from_ms, gap.to_ms) for gap in gaps if of_stream(gap, stream)]


def part_ends(found: Report) -> list[int]:
    """Where each part of the window ends."""
    return [*(part.from_ms for part in found.parts[1:]), found.window.until_ms]


def _exposure(found: Report) -> str:
    made = [part for part in found.parts if part.passes]
    passes = sum(part.passes for part in made)
    if not passes:
        return ""
    live, proposed = (sum(getattr(part, name) for part in made) / passes
                      for name in ("live", "proposed"))  # fmt: skip
    beside = f" ({change(proposed / live - 1)})" if live > 0 else ""
    sentence = (
        f"On average of {count(passes, 'pass', 'passes')}, {amount(proposed, 0, 'USD')} were "
        f"proposed beside {amount(live, 0, 'USD')} live{beside}."
    )
    ends = part_ends(found)
    middles = [(part.from_ms + end) / 2 for part, end in zip(found.parts, ends, strict=True)]
    lines = [
        Line(
            [(at, getattr(part, name) / part.passes if part.passes else None)
             for at, part in zip(middles, found.parts, strict=True)],
            colour, dashed,
        )
        for name, colour, dashed in (("proposed", "c1", False), ("live", "c2", True))
    ]  # fmt: skip
    values = [y for line in lines for _, y in line.points if y is not None]
    y_axis = svg.amount_axis("gross exposure, USD", *svg.widened(min(values), max(values)))
    blanks = [
        (part.from_ms, end) for part, end in zip(found.parts, ends, strict=True) if not part.passes
    ]
    unknown = merged([*unknown_spans(found, PASSES), *blanks])
    legend = [Mark("proposed", "c1", "line"), Mark("live", "c2", "line dashed")]
    each = format.span((ends[0] - found.parts[0].from_ms) / 1000)
    zero = "" if y_axis.low <= 0 else " The axis does not begin at 0."
    return page.figure(
        sentence,
        svg.chart(
            "Gross exposure, proposed beside live", sentence,
            svg.time_axis(found.window.since_ms, found.window.until_ms), y_axis, lines,
            unknown=unknown,
        ),
        [*legend, *([page.UNKNOWN] if unknown else [])],
        f"Σ of all symbols, on average of the passes in each {each}.{zero}",
    )  # fmt: skip


def merged(spans: Sequence[Span]) -> list[Span]:
    """The same without overlaps."""
    found: list[Span] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


# Tables -------------------------------------------------------------------------------------------


def _changes(own: Allocation) -> dict[str, str]:
    gross = own.gross
    return {
        "Gross exposure, without sign": f"P50 {share(gross.p50)}, P95 {share(gross.p95)}, P99 "
        f"{share(gross.p99)} of {count(gross.passes, 'pass', 'passes')}; {gross.without:,} more "
        "had no live exposure",
        "Largest of all": _largest(gross.largest, change),
        "Largest of one symbol, USD": _largest(own.largest_usd, _usd),
        "Largest of one symbol, %": _largest(own.largest_share, change),
        "Largest step from one pass to the next": _largest(own.largest_step, share),
        "Turnover proposed": amount(own.turnover_usd_per_hour, 0, "USD per hour"),
        "Turnover live": amount(own.live_turnover_usd_per_hour, 0, "USD per hour"),
        "Flips per symbol-hour, all symbols": amount(own.flips_per_symbol_hour, 3),
    }


def _usd(value: float) -> str:
    return f"{format.fixed(value, 2, True)} USD"


def _largest(found: Largest | None, show: Callable[[float], str]) -> str:
    if found is None:
        return "none"
    return ", ".join(filter(None, (show(found.value), found.symbol, moment(found.at_ms))))


SYMBOLS = (
    text("symbol", "symbol", wrap="id"),
    number("flips per h", "flips_per_hour", places=3),
    number("ok, %", share_of("ok"), places=1),
    number("stale, %", share_of("stale_eff"), places=1),
    number("multiplier P10", lambda row: row.multiplier.p10, places=3),
    number("P50", lambda row: row.multiplier.p50, places=3),
    number("P90", lambda row: row.multiplier.p90, places=3),
    number("at a clamp, %", lambda row: percents(row.multiplier.at_clamps), places=1),
    number("turnover, USD/h", "turnover_usd_per_hour", places=0),
    number("live, USD/h", "live_turnover_usd_per_hour", places=0),
)


def all_symbols(found: Report) -> str:
    """Each symbol in a line: the first WORST at once, the others where they are asked for."""
    if not found.symbols:
        return page.paragraph("No symbol is recorded in the window.")
    note = "Most flips first; “-” is unknown. docs/evidence.md has each formula."
    first = page.table("Symbols", found.symbols[:WORST], SYMBOLS, note)
    rest = found.symbols[WORST:]
    return first + page.folded(
        f"The other {count(len(rest), 'symbol')}", page.table("The other symbols", rest, SYMBOLS)
    )
