"""Charts as plain SVG: no script, nothing fetched, readable on a screen and in print.

Colours come from the page: `currentColor` for axes and text, and the classes of STYLE for what is
drawn. Each chart has a title and a sentence for those who can't see it.
"""

from collections.abc import Sequence
from html import escape

import msgspec

Point = tuple[float, float]
WIDTH, HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 44
STYLE = """
svg.chart { width: 100%; max-width: 44rem; height: auto; font: 12px system-ui, sans-serif; }
svg.chart text { fill: currentColor; }
svg.chart .axis { stroke: currentColor; opacity: .45; }
svg.chart .grid { stroke: currentColor; opacity: .13; }
svg.chart .line { fill: none; stroke: #1f6fb2; stroke-width: 2; stroke-linejoin: round; }
svg.chart .good { fill: #1a7f45; } svg.chart .bad { fill: #c4362c; }
"""


class Axis(msgspec.Struct, frozen=True):
    """One axis: what it shows with its unit, its ends, and where it is labelled (value, label)."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]] = ()


class Dot(msgspec.Struct, frozen=True):
    """A point that stands out. kind: good or bad; label: shown beside it, and when pointed at."""

    at: Point
    label: str
    kind: str = "good"


def chart(
    title: str,
    sentence: str,
    x: Axis,
    y: Axis,
    points: Sequence[Point],
    dots: Sequence[Dot] = (),
) -> str:
    """A line through points, and the points that stand out. sentence: what it shows, for those who
    can't see it."""
    place = _Place(x, y)
    parts = [
        *_axes(place),
        _line(place, points),
        *(_dot(place, each) for each in dots),
    ]
    return _svg(title, sentence, WIDTH, HEIGHT, parts)


class _Place(msgspec.Struct, frozen=True):
    """Where a value lies on the picture; what lies outside the axes lies on their end."""

    x: Axis
    y: Axis

    def left(self, value: float) -> float:
        return _LEFT + _share(self.x, value) * (WIDTH - _LEFT - _RIGHT)

    def top(self, value: float) -> float:
        return HEIGHT - _BOTTOM - _share(self.y, value) * (HEIGHT - _TOP - _BOTTOM)


def _share(axis: Axis, value: float) -> float:
    span = axis.high - axis.low
    return min(1.0, max(0.0, (value - axis.low) / span if span else 0.5))


def _axes(place: _Place) -> list[str]:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = [
        f"<path class='axis' d='M{_LEFT} {_TOP}V{bottom}H{right}' fill='none'/>",
        f"<text x='{(_LEFT + right) / 2}' y='{HEIGHT - 8}' text-anchor='middle'>"
        f"{escape(place.x.title)}</text>",
        f"<text transform='translate(14 {(_TOP + bottom) / 2}) rotate(-90)' text-anchor='middle'>"
        f"{escape(place.y.title)}</text>",
    ]
    for value, label in place.x.ticks:
        left = _n(place.left(value))
        parts.append(f"<path class='grid' d='M{left} {_TOP}V{bottom}'/>")
        parts.append(
            f"<text x='{left}' y='{bottom + 16}' text-anchor='middle'>{escape(label)}</text>"
        )
    for value, label in place.y.ticks:
        top = place.top(value)
        parts.append(f"<path class='grid' d='M{_LEFT} {_n(top)}H{right}'/>")
        parts.append(
            f"<text x='{_LEFT - 6}' y='{_n(top + 4)}' text-anchor='end'>{escape(label)}</text>"
        )
    return parts


def _line(place: _Place, points: Sequence[Point]) -> str:
    drawn = " ".join(f"{_n(place.left(x))},{_n(place.top(y))}" for x, y in points)
    return f"<polyline class='line' points='{drawn}'/>"


def _dot(place: _Place, dot: Dot) -> str:
    x, y = place.left(dot.at[0]), place.top(dot.at[1])
    near_end = x > WIDTH - 150
    # Clear of a line that rises to the right.
    anchor, shift, down = ("end", -9, -9) if near_end else ("start", 9, 14)
    return (
        f"<g><title>{escape(dot.label)}</title><circle class='{dot.kind}' cx='{_n(x)}' "
        f"cy='{_n(y)}' r='5'/><text x='{_n(x + shift)}' y='{_n(y + down)}' text-anchor='{anchor}'>"
        f"{escape(dot.label)}</text></g>"
    )


def _svg(title: str, sentence: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f"<svg class='chart' viewBox='0 0 {width} {height}' role='img'>"
        f"<title>{escape(title)}</title><desc>{escape(sentence)}</desc>{''.join(parts)}</svg>"
    )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
