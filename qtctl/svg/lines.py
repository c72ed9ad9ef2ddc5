"""Lines over two axes, points that stand out, and a marked value."""

from collections.abc import Iterator, Sequence
from html import escape

import msgspec

from qtctl.svg.frame import HEIGHT as _HEIGHT
from qtctl.svg.frame import WIDTH, Axis, Mark, Place, Point, Span, axes, hatched, marked, n, whole

_NEAR_END = 210
"""Where a label would not fit to the right."""


class Line(msgspec.Struct, frozen=True):
    """A line through points; None is unknown, and breaks it. colour: c1 to c7, "" for the usual;
    dashed: so that two lines differ without colours; dots: each point is drawn as well."""

    points: Sequence[tuple[float, float | None]]
    colour: str = ""
    dashed: bool = False
    dots: bool = False


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
    lines: Sequence[Line],
    dots: Sequence[Dot] = (),
    *,
    unknown: Sequence[Span] = (),
    mark: Mark | None = None,
) -> str:
    """Lines, and the points that stand out. sentence: what it shows, for those who can't see it;
    unknown: spans of the x axis that nothing is known of."""
    place = Place(x, y)
    parts = [
        *axes(place),
        *hatched(place, unknown),
        *(part for line in lines for part in _line(place, line)),
        *marked(place, mark),
        *(_dot(place, each) for each in dots),
    ]
    return whole(title, sentence, _HEIGHT, parts)


def _line(place: Place, line: Line) -> Iterator[str]:
    style = " ".join(filter(None, ("line", line.colour and f"own {line.colour}",
                                   "dashed" * line.dashed)))  # fmt: skip
    for run in _runs(line.points):
        drawn = " ".join(f"{n(place.left(x))},{n(place.top(y))}" for x, y in run)
        if len(run) > 1:
            yield f"<polyline class='{style}' points='{drawn}'/>"
        if len(run) == 1 or line.dots:
            yield from (
                f"<circle class='point fill {line.colour or 'c1'}' cx='{n(place.left(x))}' "
                f"cy='{n(place.top(y))}' r='2.5'/>"
                for x, y in run
            )


def _runs(points: Sequence[tuple[float, float | None]]) -> Iterator[list[Point]]:
    """What hangs together between the unknown."""
    run: list[Point] = []
    for x, y in points:
        if y is not None:
            run.append((x, y))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _dot(place: Place, dot: Dot) -> str:
    x, y = place.left(dot.at[0]), place.top(dot.at[1])
    # Clear of a line that rises to the right.
    anchor, shift, down = ("end", -9, -9) if x > WIDTH - _NEAR_END else ("start", 9, 14)
    return (
        f"<g><title>{escape(dot.label)}</title><circle class='{dot.kind}' cx='{n(x)}' "
        f"cy='{n(y)}' r='5'/><text x='{n(x + shift)}' y='{n(y + down)}' text-anchor='{anchor}'>"
        f"{escape(dot.label)}</text></g>"
    )
