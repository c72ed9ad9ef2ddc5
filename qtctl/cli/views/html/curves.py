"""Curves over the values of a setting, with the one of today marked."""

from collections.abc import Iterator, Sequence
from typing import Any

from qtctl import svg
from qtctl.cli.output.columns import Column, number, text
from qtctl.cli.views.html import page
from qtctl.cli.views.html.page import Mark
from qtctl.cli.views.html.words import listed, share
from qtctl.evidence.replay import Curve, DecisionPoint, ProposalPoint, Replay
from qtctl.settings import catalog
from qtctl.svg import Line


def plain(value: Any) -> str:
    """A setting as people write it: 60 for 60.0."""
    return f"{value:.10g}" if isinstance(value, float) else catalog.plain(value)


def parts(found: Replay) -> Iterator[page.Section]:
    """The section of a replay."""
    curves = found.curves
    if not curves:
        return
    others = [f"{path} = {plain(value)}" for path, value in found.changes.items()]
    under = f"Other settings: as recorded{', but ' * bool(others)}{listed(others)}."
    yield page.section(
        "curves", "Curves", "A setting over a range",
        page.paragraph(under, style="small"),
        page.charts(*map(_curve, curves)),
        *(page.table(f"Values of {curve.setting}", curve.decisions or curve.proposals,
                     DECISION_POINTS if curve.decisions else PROPOSAL_POINTS)
          for curve in curves),
    )  # fmt: skip


def sentence_of(curve: Curve) -> str:
    """What a curve shows."""
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
    return f"{start}; the values give {ends}."


def _height(point: DecisionPoint | ProposalPoint) -> float:
    return point.permits if isinstance(point, DecisionPoint) else point.gross_usd


def _curve(curve: Curve) -> str:
    points: Sequence[DecisionPoint | ProposalPoint] = curve.decisions or curve.proposals
    sentence = sentence_of(curve)
    if not points:
        return ""
    lines = [Line([(float(each.value), _height(each)) for each in points], "c1", dots=True)]
    legend = [Mark("in sequence" if curve.decisions else "proposed", "c1", "line")]
    if curve.decisions:
        alone = [(float(each.value), float(each.alone_permits)) for each in curve.decisions]
        lines.insert(0, Line(alone, "c2", dashed=True))
        legend.append(Mark("alone", "c2", "line dashed"))
    heights = [y for line in lines for _, y in line.points if y is not None]
    y = (
        svg.amount_axis("opens permitted", 0, max(heights))
        if curve.decisions
        else svg.amount_axis("gross proposed, USD", *svg.widened(min(heights), max(heights)))
    )
    x = svg.amount_axis(curve.setting, float(points[0].value), float(points[-1].value))
    today = next((each for each in points if each.today), None)
    mark = None if today is None else svg.Mark(float(today.value), f"today {plain(today.value)}")
    zero = "The vertical axis does not begin at 0." * (y.low > 0)
    return page.figure(
        sentence, svg.chart(f"Curve of {curve.setting}", sentence, x, y, lines, mark=mark), legend,
        zero,
    )  # fmt: skip


VALUE = (
    Column("value", "value", lambda value, utc: plain(value), right=True),
    text("", lambda point: "← today" if point.today else " ", named="today"),
)
DECISION_POINTS = (
    *VALUE,
    number("opens alone", "alone_permits"),
    number("opens in sequence", "permits"),
    number("notional, USD", "notional_usd", 2),
    number("downsized", "downsizes"),
    number("unknown alone", "unknown"),
)
PROPOSAL_POINTS = (
    *VALUE,
    number("mean multiplier", "mean", 4),
    Column("at the clamps", "clamped", lambda value, utc: share(value, 2), right=True),
    Column("ok", "ok", lambda value, utc: share(value, 2), right=True),
    number("gross, USD", "gross_usd", 2),
)
