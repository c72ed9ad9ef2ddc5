"""Bars: columns over an axis, stacked or not, and rows with a name and a figure each."""

from collections.abc import Iterator, Sequence
from html import escape

import msgspec

from qtctl.svg.frame import BOTTOM, TOP, Axis, Place, Span, axes, hatched, n, whole
from qtctl.svg.frame import HEIGHT as _HEIGHT

_ROW, _BAR = 22, 14
_NAMES = 132
"""So wide is the room for the names of rows."""
MOST_LETTERS = 15
"""Of a name; all of it is shown when pointed at."""


class Part(msgspec.Struct, frozen=True):
    """A part of a bar: how long it is, its colour (c0 to c7), and what is shown when pointed at."""

    size: float
    colour: str = "c1"
    label: str = ""


class Bar(msgspec.Struct, frozen=True):
    """A bar. span: from where to where on the x axis a column stands; name, figure: what is written
    before and behind a row."""

    parts: Sequence[Part]
    span: Span = (0.0, 0.0)
    name: str = ""
    figure: str = ""


def columns(
    title: str, sentence: str, x: Axis, y: Axis, bars: Sequence[Bar],
    unknown: Sequence[Span] = (),
) -> str:  # fmt: skip
    """Columns, their parts on top of each other."""
    place = Place(x, y)
    parts = [*axes(place), *hatched(place, unknown)]
    for bar in bars:
        left, right = place.left(bar.span[0]), place.left(bar.span[1])
        width, reached = max(right - left - 1, 0.8), 0.0
        for part in bar.parts:
            low, high = place.top(reached), place.top(reached + part.size)
            reached += part.size
            parts.append(_rect(part, left + 0.5, high, width, low - high))
    return whole(title, sentence, _HEIGHT, parts)


def rows(title: str, sentence: str, x: Axis, bars: Sequence[Bar]) -> str:
    """A row for each bar, its parts behind each other."""
    height = TOP + _ROW * len(bars) + BOTTOM
    place = Place(x, Axis("", 0, 1), _NAMES, height)
    parts = [*axes(place)]
    for number, bar in enumerate(bars):
        parts += _row(place, bar, TOP + _ROW * number)
    return whole(title, sentence, height, parts)


def _row(place: Place, bar: Bar, top: float) -> Iterator[str]:
    middle = n(top + _ROW / 2 + 4)
    short = bar.name if len(bar.name) <= MOST_LETTERS else f"{bar.name[: MOST_LETTERS - 1]}…"
    yield (
        f"<text x='{_NAMES - 8}' y='{middle}' text-anchor='end'>{escape(short)}"
        f"<title>{escape(bar.name)}</title></text>"
    )
    reached = 0.0
    for part in bar.parts:
        left, right = place.left(reached), place.left(reached + part.size)
        reached += part.size
        yield _rect(part, left, top + (_ROW - _BAR) / 2, right - left, _BAR)
    if bar.figure:
        yield (f"<text x='{n(place.left(reached) + 5)}' y='{middle}'>{escape(bar.figure)}</text>")


def _rect(part: Part, left: float, top: float, width: float, height: float) -> str:
    if width <= 0 or height <= 0:
        return ""
    shown = f"><title>{escape(part.label)}</title></rect>" if part.label else "/>"
    return (
        f"<rect class='fill {part.colour}' x='{n(left)}' y='{n(top)}' width='{n(width)}' "
        f"height='{n(height)}'{shown}"
    )
