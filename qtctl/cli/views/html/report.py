"""The page of `qtctl report`."""

from collections.abc import Iterator

from qtctl.cli.output.format import count
from qtctl.cli.views.html import about, allocation, governor, page
from qtctl.cli.views.html.words import amount, are, change, listed, moment, seconds, share
from qtctl.evidence.report import Allocation, Report
from qtctl.evidence.window import lost

KIND = "qtctl report"
TITLE = "What both loops did"
WHAT = (
    "Two loops work on the trading control plane. The allocation loop reads the target of each "
    "symbol (in USD) and an efficiency score, and proposes a target that is larger or smaller: "
    "target × multiplier. It runs in shadow: proposals are written down, and nothing trades on "
    "them. The governor is live: it decides for each plan whether it gets a permit.",
    "This page shows what both did in the window, from what was recorded as it happened.",
)
CANT_TELL = (
    "What upstream would have done if the proposals had been in force, or if other plans had got "
    "their permits: a plan that was blocked may have been sent again, and is then counted again.",
    "Whether a permit was taken or an order filled: the records end with the permit.",
    "What moved and came back between two passes.",
)


def report_page(found: Report) -> str:
    """The whole page."""
    window = found.window
    sections = [
        about.words(WHAT, _says(found), _cant_tell(found)),
        page.section(
            "basis", "Basis", "What the figures rest on",
            about.facts(window), about.gaps(window.gaps), about.changes(found.changes),
        ),
        page.section(
            "allocation", "Allocation loop", "The allocation loop, in shadow",
            *allocation.parts(found),
        ),
        page.section("governor", "Governor", "The governor", *governor.parts(found)),
        page.section("symbols", "All symbols", "All symbols", allocation.all_symbols(found)),
    ]  # fmt: skip
    head = [about.warnings(synthetic=window.synthetic)]
    lead = about.span(window.since_ms, window.until_ms)
    strip = about.strip(window.gaps, window.chain, window.rules, window.limits, *_of(found))
    return page.document(KIND, TITLE, lead, head, sections, strip=strip)


def _of(found: Report) -> Iterator[str]:
    own = found.allocation
    if own is not None:
        yield count(own.symbols, "symbol")
        yield f"{own.coverage.made:,} of {count(own.coverage.due, 'pass', 'passes')} due"
    yield count(found.governor.plans, "plan")


def _says(found: Report) -> Iterator[str]:
    if found.allocation is None:
        yield "No pass of the allocation loop is recorded in the window."
    else:
        yield from _shadow_says(found, found.allocation)
    yield from _governor_says(found)


def _shadow_says(found: Report, own: Allocation) -> Iterator[str]:
    cover = own.coverage
    yield (
        f"The allocation loop made {cover.made:,} of {count(cover.due, 'pass', 'passes')} that "
        f"{'was' if cover.due == 1 else 'were'} due, {share(cover.share, 2)}; "
        f"{cover.not_made:,} were not made, and of {cover.unknown:,} it is unknown."
    )
    ok = own.reasons.get("ok", 0.0)
    yield (
        f"The score counted for {share(ok)} of the time, over "
        f"{count(own.symbols, 'symbol')}. For the rest the proposal equals the "
        "target, or there is none."
    )
    if own.multiplier.p50 is not None:
        yield allocation.multiplier_sentence(own)
    gross = own.gross
    if gross.largest is not None:
        yield (
            f"In force, the proposals would have changed gross exposure by {share(gross.p50)} or "
            f"less in at least half of the passes, and by {share(gross.p99)} or less in at least "
            f"99 of 100; the largest change was {change(gross.largest.value)}, at "
            f"{moment(gross.largest.at_ms)}."
        )
    yield allocation.flips_sentence(found.symbols)


def _governor_says(found: Report) -> Iterator[str]:
    own = found.governor
    if not own.plans:
        yield "No plan is recorded in the window."
        return
    yield governor.verdict_sentence(own)
    if own.downsizes.downsized:
        yield (
            f"{own.downsizes.downsized:,} of {count(own.downsizes.opens, 'permitted open')} came "
            f"with a hint to downsize; together they would have taken off "
            f"{amount(own.downsizes.off_usd, 0, 'USD')}."
        )
    if own.refused:
        yield (
            f"ATTENTION: {count(len(own.refused), 'close')} of {own.closes:,} "
            f"{'was' if len(own.refused) == 1 else 'were'} refused though nothing had stopped "
            "everything. There should be none; each is listed below."
        )
    else:
        yield (
            f"None of the {count(own.closes, 'close')} was refused, other than by a full stop, as "
            "a duplicate or as a conflict."
        )
    waited = own.latency
    if waited.known:
        yield (
            f"At least half of the plans waited {seconds(waited.p50_sec)} or less until they were "
            f"judged, and at least 99 of 100 {seconds(waited.p99_sec)} or less."
        )


def _cant_tell(found: Report) -> Iterator[str]:
    window = found.window
    missing = lost(window.gaps, window.since_ms, window.until_ms)
    if missing:
        yield (
            f"What happened in {count(len(missing), 'gap')} of the history: "
            f"{'it' if len(missing) == 1 else 'they'} {are(len(missing))} hatched in the charts, "
            "and nothing is assumed for them."
        )
    if about.begins_late(window.since_ms, window.asked_ms):
        yield "What was before the history begins, which is later than was asked for."
    unknown = _unknown(found)
    if unknown:
        yield f"Unknown in this window: {listed(unknown)}."
    yield from CANT_TELL


def _unknown(found: Report) -> list[str]:
    own, waited = found.allocation, found.governor.latency
    parts = []
    if own is not None and own.coverage.unknown:
        parts.append(f"{count(own.coverage.unknown, 'pass', 'passes')}")
    if own is not None and own.multiplier.at_clamps is None:
        parts.append("the time at a clamp")
    if waited.unknown:
        parts.append(f"the queue age of {count(waited.unknown, 'plan')}")
    prices = sum(price.unknown for price in found.governor.prices)
    if prices:
        parts.append(f"how long {count(prices, 'blocked open')} would have waited")
    worth = sum(row.plans - row.known for row in found.governor.verdicts)
    if worth:
        parts.append(f"the notional of {count(worth, 'plan')}")
    return parts
