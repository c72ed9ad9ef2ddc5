"""The frame of a chart: its size, its axes with their labels, where a value lies, and the hatching
of what is unknown."""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape

import msgspec

Point = tuple[float, float]
Span = tuple[float, float]
"""From one value of an axis to another."""
WIDTH, HEIGHT = 560, 260
LEFT, RIGHT, TOP, BOTTOM = 84, 18, 16, 46
_HATCH = 7
_HOUR = 3600.0
_TIME_STEPS = [60, 300, 600, 900, 1800, _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR,
               *(days * 24 * _HOUR for days in (1, 2, 7, 14, 30, 60, 120, 365))]  # fmt: skip


class Axis(msgspec.Struct, frozen=True):
    """One axis: what it shows with its unit, its ends, and where it is labelled (value, label)."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]] = ()


class Mark(msgspec.Struct, frozen=True):
    """A value of the x axis that is marked from top to bottom, and what it is."""

    at: float
    label: str


def amount_axis(title: str, low: float, high: float, unit: str = "", ticks: int = 5) -> Axis:
    """An axis with round numbers that holds low and high; unit: behind each of them."""
    if high <= low:
        low, high = (low - abs(low) / 10, high + abs(high) / 10) if low else (0.0, 1.0)
    rough = (high - low) / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    places = max(0, -math.floor(math.log10(step) + 1e-9), _decimals(step))
    values = [each * step for each in range(first, last + 1)]
    labels = [(value, f"{_amount(value, step, places)}{unit}") for value in values]
    return Axis(title, values[0], values[-1], labels)


def widened(low: float, high: float) -> Span:
    """At least 2 % of the value apart, so that next to nothing does not look like much."""
    least = 0.02 * max(abs(low), abs(high))
    more = max(0.0, least - (high - low)) / 2
    return low - more, high + more


def _decimals(step: float) -> int:
    return next((n for n in range(9) if abs(step * 10**n - round(step * 10**n)) < 1e-6), 9)


def _amount(value: float, step: float, places: int) -> str:
    for size, name, least in ((1e9, "G", 1e7), (1e6, "M", 1e4), (1e3, "k", 100)):
        if step >= least and abs(value) >= size:
            return f"{value / size:.{_decimals(step / size)}f} {name}"
    return f"{value + 0.0:,.{places}f}"


def time_axis(low_ms: float, high_ms: float, ticks: int = 6) -> Axis:
    """A time axis in UTC, epoch ms, labelled at round times."""
    low, high = low_ms / 1000, high_ms / 1000
    step = next((each for each in _TIME_STEPS if (high - low) / each <= ticks), _TIME_STEPS[-1])
    first = math.ceil(low / step)
    times = [each * step for each in range(first, math.floor(high / step) + 1)]
    days = {datetime.fromtimestamp(low, UTC).date(), datetime.fromtimestamp(high, UTC).date()}
    labels = [(at * 1000, _time_label(at)) for at in times]
    named = " to ".join(f"{day:%d %b %Y}".lstrip("0") for day in sorted(days))
    return Axis(f"time, UTC ({named})", low_ms, high_ms, labels)


def _time_label(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    if moment.hour or moment.minute:
        return f"{moment:%H:%M}"
    return f"{moment:%d %b}".lstrip("0")


class Place(msgspec.Struct, frozen=True):
    """Where a value lies on the picture; what lies outside the axes lies on their end."""

    x: Axis
    y: Axis
    left_end: int = LEFT
    height: int = HEIGHT

    def left(self, value: float) -> float:
        """From the left edge."""
        return self.left_end + _share(self.x, value) * (WIDTH - self.left_end - RIGHT)

    def top(self, value: float) -> float:
        """From the upper edge."""
        return self.bottom - _share(self.y, value) * (self.bottom - TOP)

    @property
    def bottom(self) -> int:
        """Where the x axis is."""
        return self.height - BOTTOM


def _share(axis: Axis, value: float) -> float:
    span = axis.high - axis.low
    return min(1.0, max(0.0, (value - axis.low) / span if span else 0.5))


def axes(place: Place) -> Iterator[str]:
    """Both axes with their titles, ticks and grid."""
    bottom, right, left_end = place.bottom, WIDTH - RIGHT, place.left_end
    yield f"<path class='axis' d='M{left_end} {TOP}V{bottom}H{right}'/>"
    yield text((left_end + right) / 2, place.height - 6, place.x.title)
    if place.y.title:
        yield (
            f"<text transform='translate(14 {n((TOP + bottom) / 2)}) rotate(-90)' "
            f"text-anchor='middle'>{escape(place.y.title)}</text>"
        )
    for value, label in place.x.ticks:
        left = place.left(value)
        yield f"<path class='grid' d='M{n(left)} {TOP}V{bottom}'/>"
        yield text(left, bottom + 18, label)
    for value, label in place.y.ticks:
        top = place.top(value)
        yield f"<path class='grid' d='M{left_end} {n(top)}H{right}'/>"
        yield text(left_end - 6, top + 4, label, "end")


def hatched(place: Place, spans: Sequence[Span]) -> Iterator[str]:
    """What is unknown, hatched from top to bottom: lines of its own, since a pattern would need an
    id that is unique in the page."""
    for low, high in spans:
        left, right = place.left(low), max(place.left(high), place.left(low) + 2)
        yield (
            f"<path class='unknown' d='{_stripes(left, right, TOP, place.bottom)}'>"
            "<title>unknown</title></path>"
        )


def _stripes(left: float, right: float, top: float, bottom: float) -> str:
    """Lines at 45° across a rectangle, and its sides."""
    drawn = [f"M{n(left)} {n(top)}V{n(bottom)}M{n(right)} {n(top)}V{n(bottom)}"]
    # The line with the constant c has the points x + y = c.
    constant = math.ceil((left + top) / _HATCH) * _HATCH
    while constant < right + bottom:
        begin = max(left, constant - bottom)
        end = min(right, constant - top)
        if end > begin:
            drawn.append(f"M{n(begin)} {n(constant - begin)}L{n(end)} {n(constant - end)}")
        constant += _HATCH
    return "".join(drawn)


def marked(place: Place, mark: Mark | None) -> Iterator[str]:
    """The line of a mark, and its label on the side with more room."""
    if mark is None:
        return
    left = place.left(mark.at)
    more = left < (place.left_end + WIDTH - RIGHT) / 2
    anchor, shift = ("start", 6) if more else ("end", -6)
    yield f"<path class='mark' d='M{n(left)} {TOP - 8}V{place.bottom}'/>"
    yield text(left + shift, TOP - 3, mark.label, anchor)


def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    """Words at a point, which is their middle, `start` or `end`."""
    return f"<text x='{n(x)}' y='{n(y)}' text-anchor='{anchor}'>{escape(words)}</text>"


def whole(title: str, sentence: str, height: int, parts: Sequence[str]) -> str:
    """The picture."""
    return (
        f"<svg class='chart' viewBox='0 0 {WIDTH} {height}' "
        f"role='img'><title>{escape(title)}</title><desc>{escape(sentence)}</desc>"
        f"{''.join(parts)}</svg>"
    )


def n(value: float) -> str:
    """A coordinate."""
    return f"{value:.1f}".removesuffix(".0")
