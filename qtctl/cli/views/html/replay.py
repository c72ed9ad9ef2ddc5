"""The page of `qtctl replay`."""

from collections.abc import Iterator, Sequence
from typing import Any

from qtctl import svg
from qtctl.cli.output import format
from qtctl.cli.output.columns import Column, number, text
from qtctl.cli.views import replay as terminal
from qtctl.cli.views import replay_record
from qtctl.cli.views.html import about, page
from qtctl.cli.views.html.page import Mark
from qtctl.cli.views.html.words import amount, are, change, count, moment, share
from qtctl.evidence.replay import Curve, DecisionPoint, ProposalPoint, Replay
from qtctl.evidence.window import Window
from qtctl.settings.catalog import plain
from qtctl.svg import Line

KIND = "qtctl replay"
TITLE = "The same records, decided again"
WHAT = (
    "Every decision and every proposal of the window is decided again, from exactly what was known "
    "at the time. First by the settings that were in force: everything must come out as it was "
    "recorded, or this page would prove nothing. Then by the other settings that were asked for.",
    "“Alone” judges each decision on the counts that were recorded with it. “In sequence” lets "
    "each permit that is given or withheld change what comes after it: a permit more starts a "
    "cooldown. The difference between the two is the knock-on effect.",
)
CANT_TELL = (
    replay_record.NOT_MODELLED,
    "What would have been traded: a replay ends with the permit.",
    "The kill switch, the quarantine, ages, plans and scores stay as they were recorded.",
)


def replay_page(window: Window, found: Replay) -> str:
    """The whole page."""
    record = replay_record.as_record(replay_record.Found(window, found))
    parts = [
        about.warnings(synthetic=window.synthetic),
        _verdict(found),
        page.section(
            "words", "In plain words",
            page.heading("What this is"), *map(page.paragraph, WHAT),
            page.heading("What it says"), page.bullets(_says(window, found)),
            page.heading("What it can't tell"), page.bullets(_cant_tell(found)),
        ),
        page.section("basis", "What the figures rest on", _basis(window, found),
                     about.gaps(window.gaps)),
        *_parity(found),
        *(_curves(found.curves)),
        *_governor(record, found),
        *_allocation(record, found),
    ]  # fmt: skip
    return page.document(KIND, TITLE, about.span(window.since_ms, window.until_ms), parts)


def _verdict(found: Replay) -> str:
    if found.parity.share is None:
        return page.verdict("PARITY CAN'T BE TOLD", "warn")
    if found.parity.holds:
        return page.verdict("PARITY HOLDS", "good")
    return page.verdict("PARITY DOES NOT HOLD", "bad")


def _says(window: Window, found: Replay) -> Iterator[str]:
    parity = found.parity
    if parity.share is None:
        yield "Nothing in the window could be judged again: so nothing is known of parity."
        return
    judged = f"{count(parity.decisions, 'decision')} and {count(parity.proposals, 'proposal')}"
    if parity.differences:
        yield (
            f"Parity does not hold: {parity.differences:,} of {judged} came out otherwise than "
            "they were recorded. So nothing else was computed."
        )
        return
    yield f"Parity holds: {judged} came out as they were recorded, to the byte."
    alone, sequence = found.alone, found.in_sequence
    if alone is not None and sequence is not None:
        was, now = sequence.recorded_permits, sequence.permits
        yield (
            f"In sequence, {count(now.count, 'open')} would have got a permit, where {was.count:,} "
            f"did ({now.count - was.count:+,}); alone it would have been {alone.permits.count:,}."
        )
        yield (
            f"Those permits are worth {amount(now.notional_usd, 0, 'USD')}, where they were worth "
            f"{amount(was.notional_usd, 0, 'USD')}{_besides(now.unknown_notional)}."
        )
    proposed = found.proposed
    if proposed is not None:
        one, other = proposed.recorded.gross_usd, proposed.replayed.gross_usd
        relative = f" ({change(other / one - 1)})" if one else ""
        yield (
            f"{proposed.changed:,} of {count(proposed.proposals, 'proposal')} would have had "
            f"another reason or multiplier; on average {amount(other, 0, 'USD')} would have been "
            f"proposed in all, where it was {amount(one, 0, 'USD')}{relative}."
        )
    yield from (_curve_sentence(curve) for curve in found.curves)


def _besides(unknown: int) -> str:
    return f", beside {count(unknown, 'open')} of unknown worth" if unknown else ""


def _cant_tell(found: Replay) -> Iterator[str]:
    parity = found.parity
    for why, rows in parity.unproven.items():
        yield f"{count(rows, 'row')} can't be proven: {why}."
    if parity.uncounted:
        yield (
            f"{count(parity.uncounted, 'open')} had counts that the recorded permits do not "
            "account for (a gap, or before the history began): what is missing stays as recorded."
        )
    if found.alone is not None:
        for why, rows in found.alone.unknown.items():
            yield f"{count(rows, 'decision')} can't be judged alone: {why}."
    yield from CANT_TELL


def _basis(window: Window, found: Replay) -> str:
    parity = found.parity
    rows = [
        ("Window", about.span(window.since_ms, window.until_ms)),
        ("All records", f"{moment(window.first_ms)} to {moment(window.last_ms)}"),
        ("Gaps in the window", about.gaps_in_words(window.gaps)),
        ("Judged again", f"{count(parity.decisions, 'decision')}, "
                         f"{count(parity.proposals, 'proposal')}"),
        ("Could not be", f"{sum(parity.unproven.values()):,}"),
        ("Head of the chain", found.chain or "none: no day is sealed yet"),
        ("Rules in force at the end", parity.rules or "unknown: no passes"),
        ("Limits in force at the end", parity.limits or "unknown: no decisions"),
        *((f"Setting {path}", f"{_today(found.today.get(path))} → {plain(value)}")
          for path, value in found.changes.items()),
    ]  # fmt: skip
    if about.begins_late(window.since_ms, window.asked_ms) and window.asked_ms is not None:
        rows.insert(1, ("Asked from", f"{moment(window.asked_ms)}; what was before is unknown"))
    return page.facts("What this page rests on", rows)


def _today(value: Any) -> str:
    return "unknown" if value is None else plain(value)


def _parity(found: Replay) -> Iterator[str]:
    if found.parity.holds:
        return
    listed = found.parity.listed
    yield page.section(
        "parity", "What does not come out again",
        page.table(
            "Differences", listed, DIFFERENCES,
            f"{found.parity.differences:,} in all; the first {len(listed):,}.",
        ),
    )  # fmt: skip


# Curves -------------------------------------------------------------------------------------------


def _curves(curves: Sequence[Curve]) -> Iterator[str]:
    if not curves:
        return
    yield page.section(
        "curves", "A setting over a range",
        page.charts(*map(_curve, curves)),
        *(page.table(f"Values of {curve.setting}", curve.decisions or curve.proposals,
                     DECISION_POINTS if curve.decisions else PROPOSAL_POINTS)
          for curve in curves),
    )  # fmt: skip


def _curve_sentence(curve: Curve) -> str:
    points: Sequence[DecisionPoint | ProposalPoint] = curve.decisions or curve.proposals
    if not points:
        return f"{curve.setting} has no points."
    unit = "opens in sequence" if curve.decisions else "USD proposed on average"
    verb = "permits" if curve.decisions else "gives"
    today = next((each for each in points if each.today), None)
    ends = " to ".join(
        f"{_height(each):,.0f} (at {plain(each.value)})"
        for each in (min(points, key=_height), max(points, key=_height))
    )
    start = (
        f"What {curve.setting} is today is unknown"
        if today is None
        else f"{curve.setting} = {plain(today.value)}, as today, {verb} "
        f"{_height(today):,.0f} {unit}"
    )
    return f"{start}; over the values it goes from {ends}."


def _height(point: DecisionPoint | ProposalPoint) -> float:
    return point.permits if isinstance(point, DecisionPoint) else point.gross_usd


def _curve(curve: Curve) -> str:
    points: Sequence[DecisionPoint | ProposalPoint] = curve.decisions or curve.proposals
    sentence = _curve_sentence(curve)
    if not points:
        return ""
    lines = [Line([(float(each.value), _height(each)) for each in points], "c1", dots=True)]
    legend = [Mark("in sequence" if curve.decisions else "proposed", "c1", "line")]
    if curve.decisions:
        alone = [(float(each.value), float(each.alone_permits)) for each in curve.decisions]
        lines.insert(0, Line(alone, "c2", dashed=True))
        legend.append(Mark("alone", "c2", "line dashed"))
    heights = [y for line in lines for _, y in line.points if y is not None]
    y = svg.amount_axis(
        "opens permitted" if curve.decisions else "gross proposed, USD",
        min(heights), max(heights),
    )  # fmt: skip
    x = svg.amount_axis(curve.setting, float(points[0].value), float(points[-1].value))
    today = next((each for each in points if each.today), None)
    mark = None if today is None else svg.Mark(float(today.value), f"today {plain(today.value)}")
    zero = "" if y.low <= 0 else "The vertical axis does not begin at 0."
    return page.figure(
        sentence, svg.chart(f"Curve of {curve.setting}", sentence, x, y, lines, mark=mark), legend,
        zero,
    )  # fmt: skip


def _point(title: str, key: str, places: int = 0) -> Column:
    return number(title, key, places=places)


VALUE = (
    Column("value", "value", lambda value, utc: plain(value), right=True),
    text("", lambda point: "← today" if point.today else " ", named="today"),
)
DECISION_POINTS = (
    *VALUE,
    _point("opens alone", "alone_permits"),
    _point("opens in sequence", "permits"),
    _point("notional, USD", "notional_usd", 2),
    _point("downsized", "downsizes"),
    _point("unknown alone", "unknown"),
)
PROPOSAL_POINTS = (
    *VALUE,
    _point("mean multiplier", "mean", 4),
    Column("at the clamps", "clamped", lambda value, utc: share(value, 2), right=True),
    Column("ok", "ok", lambda value, utc: share(value, 2), right=True),
    _point("gross, USD", "gross_usd", 2),
)


# The governor and the allocation loop -------------------------------------------------------------


def _governor(record: dict[str, Any], found: Replay) -> Iterator[str]:
    own = record["governor"]
    if own is None:
        return
    yield page.section(
        "governor", "The governor under the other settings",
        page.table(
            "Opens, closes and hints", own["figures"], terminal.FIGURES,
            f"Of {count(own['decisions'], 'decision')}. Knock-on: in sequence less alone.",
        ),
        page.table(
            "Recorded × replayed", own["verdicts"], terminal.VERDICTS,
            "First what changes. “ok” is a permit.",
        ),
        page.table(
            "Decisions that change most", found.largest, CHANGES,
            "Closes whose verdict changes first, then opens by USD × change of the factor.",
        ),
    )  # fmt: skip


def _allocation(record: dict[str, Any], found: Replay) -> Iterator[str]:
    own = record["allocation"]
    if own is None:
        return
    unknown = f"; {own['unknown']:,} {are(own['unknown'])} unknown" if own["unknown"] else ""
    yield page.section(
        "allocation", "The allocation loop under the other settings",
        page.table(
            "Proposals", own["figures"], terminal.PROPOSED,
            f"Of {count(own['proposals'], 'proposal')} in {count(own['passes'], 'pass', 'passes')}"
            f"{unknown}.",
        ),
        page.table("Recorded × replayed reasons", own["reasons"], terminal.REASONS),
    )  # fmt: skip


CHANGES = (
    text("time (UTC)", lambda row: moment(row.at_ms), named="at_ms"),
    *terminal.CHANGES[1:-1],
    Column("factor", "factor", lambda value, utc: format.fixed(value, 4), right=True),
)
DIFFERENCES = (
    text("time (UTC)", lambda row: moment(row.at_ms), named="at_ms"), *terminal.DIFFERENCES[1:],
)  # fmt: skip
