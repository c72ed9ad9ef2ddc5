"""The governor in a report: charts, tables, and the sentences that they prove."""

from collections import Counter
from collections.abc import Iterator, Sequence

from qtctl import svg
from qtctl.cli.output import format
from qtctl.cli.output.columns import Column, number, text, word
from qtctl.cli.output.format import count
from qtctl.cli.views import report
from qtctl.cli.views.html import page
from qtctl.cli.views.html.about import AT
from qtctl.cli.views.html.allocation import merged, part_ends, unknown_spans
from qtctl.cli.views.html.page import Mark
from qtctl.cli.views.html.words import amount, moment, seconds, share
from qtctl.domain.gates import GATES
from qtctl.domain.reasons import Reason
from qtctl.evidence.gate_price import Price
from qtctl.evidence.governing import Governor
from qtctl.evidence.report import Report
from qtctl.svg import Bar, Part

DECISIONS = "governor.decisions"
COLOURS = ("c2", "c4", "c5", "c3", "c7")
"""Of the gates that hold the most; permits are c1, all other gates c0."""
MOST_REFUSED = 50


def gate_of(reason: str) -> str:
    """The name of the gate that gives a reason; `no gate` for a permit."""
    if reason == Reason.OK:
        return "no gate"
    return next((gate.name for gate in GATES if gate.reason == reason), reason)


def parts(found: Report) -> Iterator[str]:
    """The section of a report."""
    own = found.governor
    if not own.plans:
        yield page.paragraph("No plan is recorded in the window: nothing is known of this loop.")
        return
    yield page.charts(_over_time(found), _price(own.prices))
    yield page.table(
        "Plans by gate", own.verdicts, VERDICTS,
        f"Of {count(own.plans, 'plan')}, duplicates and conflicts too. USD: of the plans whose "
        "notional is known.",
    )  # fmt: skip
    yield page.table(
        "How long until a blocked open would have passed", own.prices, PRICES,
        "Never: no waiting would have helped, since the plan itself is too large, too risky or too "
        "old.",
    )  # fmt: skip
    yield page.table(
        "Closes refused though nothing stopped everything", own.refused[:MOST_REFUSED], REFUSED,
        f"{len(own.refused):,} in all. There should be none.",
    )  # fmt: skip
    yield page.facts("More about the plans", _facts(own))


def _held(own: Governor) -> Counter[str]:
    held: Counter[str] = Counter()
    for row in own.verdicts:
        if row.reason != Reason.OK:
            held[row.reason] += row.plans
    return held


def verdict_sentence(own: Governor) -> str:
    """How many passed, and which gate held the most."""
    whole = (
        f"{own.permitted:,} of {count(own.plans, 'plan')} got a permit "
        f"({share(own.permitted / own.plans)})"
    )
    held = _held(own).most_common(1)
    if not held:
        return f"{whole}; no gate held any."
    reason, plans = held[0]
    return f"{whole}; the gate that held the most, {gate_of(reason)}, held {plans:,}."


def _over_time(found: Report) -> str:
    own = found.governor
    sentence = verdict_sentence(own)
    named = [reason for reason, _ in _held(own).most_common(len(COLOURS))]
    colours = dict(zip(named, COLOURS, strict=False))
    ends = part_ends(found)
    bars = []
    for part, end in zip(found.parts, ends, strict=True):
        pieces = [Part(part.permitted, "c1", f"{moment(part.from_ms)}: {part.permitted:,} permits")]
        pieces += [
            Part(part.reasons.get(reason, 0), colour, f"{moment(part.from_ms)}: "
                 f"{gate_of(reason)} held {part.reasons.get(reason, 0):,}")
            for reason, colour in colours.items()
        ]  # fmt: skip
        other = sum(n for reason, n in part.reasons.items() if reason not in colours)
        pieces.append(Part(other, "c0", f"{moment(part.from_ms)}: other gates held {other:,}"))
        bars.append(Bar(pieces, (part.from_ms, end)))
    most = max(part.permitted + part.blocked for part in found.parts)
    width = format.span((ends[0] - found.parts[0].from_ms) / 1000)
    unknown = merged(unknown_spans(found, DECISIONS))
    legend = [Mark("permitted", "c1")]
    legend += [Mark(gate_of(reason), colour) for reason, colour in colours.items()]
    if len(_held(own)) > len(colours):
        legend.append(Mark("other gates", "c0"))
    return page.figure(
        sentence,
        svg.columns(
            "Verdicts by gate over time", sentence,
            svg.time_axis(found.window.since_ms, found.window.until_ms),
            svg.amount_axis(f"plans per {width}", 0, most, ticks=4), bars, unknown,
        ),
        [*legend, *([page.UNKNOWN] if unknown else [])],
        "A column has what is recorded; where it is hatched, plans may be missing." * bool(unknown),
    )  # fmt: skip


def _price(prices: Sequence[Price]) -> str:
    known = [each for each in prices if each.p50_sec is not None and each.p95_sec is not None]
    if not known:
        return page.figure(
            "No open was held by a gate of which it is known how long a wait would have helped.", ""
        )
    dearest = max(known, key=lambda each: (each.p95_sec or 0.0, each.reason))
    sentence = (
        f"An open held by {gate_of(dearest.reason)} would have had to wait "
        f"{seconds(dearest.p50_sec)} or less in at least half of the cases, and over "
        f"{seconds(dearest.p95_sec)} in one of twenty at most; by that, no gate costs more."
    )
    most = max(each.p95_sec or 0.0 for each in known)
    unit, size = ("min", 60.0) if most > 300 else ("s", 1.0)
    x = svg.amount_axis(f"wait, {unit}", 0, 1.25 * most / size, ticks=4)
    bars = [_price_bar(each, size) for each in known]
    return page.figure(
        sentence,
        svg.rows("The price of a gate", sentence, x, bars),
        [Mark("half waited no longer (P50)", "c1"), Mark("nineteen of twenty (P95)", "c6")],
        "How long the same plan, sent again and again, would have had to wait. Plans that no wait "
        "would have helped, and those of which it is unknown, stand in the table.",
    )


def _price_bar(price: Price, size: float) -> Bar:
    p50, p95 = price.p50_sec or 0.0, price.p95_sec or 0.0
    shown = f"{seconds(price.p50_sec)}; {seconds(price.p95_sec)}"
    label = f"{price.reason}: P50 {seconds(price.p50_sec)}, P95 {seconds(price.p95_sec)}"
    return Bar(
        [Part(p50 / size, "c1", label), Part((p95 - p50) / size, "c6", label)],
        name=gate_of(price.reason), figure=f"{'≤ ' * price.at_most}{shown}",
    )  # fmt: skip


def _facts(own: Governor) -> dict[str, str]:
    sizes, waited = own.downsizes, own.latency
    opens = count(sizes.opens, "permitted open")
    hints = f"none of {opens}"
    if sizes.downsized:
        hints = (
            f"{sizes.downsized:,} of {opens}; would take off {amount(sizes.off_usd, 2)} of "
            f"{amount(sizes.usd, 2, 'USD')}, of the {sizes.known:,} with a known notional"
        )
    rejected = "not counted for some symbols only" if own.rejected is None else f"{own.rejected:,}"
    return {
        "Not readable, beside them": rejected,
        "Permits withdrawn": f"{own.withdrawn:,}",
        "Hints to downsize": hints,
        "Closes": f"{own.closes:,}; refused without a full stop: {len(own.refused):,}",
        "Time in the queue": f"P50 {seconds(waited.p50_sec)}, P99 {seconds(waited.p99_sec)}, "
        f"longest {seconds(waited.max_sec)} of {waited.known:,}; {waited.unknown:,} unknown",
    }


def _wait(title: str, key: str) -> Column:
    return Column(
        title, key, lambda value, utc: "-" if value is None else seconds(value), right=True
    )


VERDICTS = (
    text("gate", lambda row: gate_of(row.reason), named="gate"),
    *report.VERDICTS[:3],
    number("with known notional", "known"),
    number("notional, USD", "usd", places=2),
)
PRICES = (
    text("gate", lambda row: gate_of(row.reason), named="gate"),
    word("reason", "reason"),
    _wait("P50", "p50_sec"),
    _wait("P95", "p95_sec"),
    text("", lambda row: "at most" if row.at_most and row.waits else " ", named="at_most"),
    number("known waits", "waits"),
    *report.PRICES[4:],
)
REFUSED = (
    AT,
    text("symbol", "symbol", wrap="id"),
    *report.REFUSED[2:],
)
