"""Trend lines of one line: a cell for each value."""

from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
UNKNOWN = " "


def bars(values: Sequence[float | None]) -> str:
    """A cell for each: the lowest bar is 0, any more than that is higher, a blank is unknown."""
    most = max((value for value in values if value is not None), default=0)
    return "".join(_bar(value, most) for value in values)


def _bar(value: float | None, most: float) -> str:
    if value is None:
        return UNKNOWN
    if value <= 0:
        return _BARS[0]
    return _BARS[min(len(_BARS) - 1, 1 + int(value / most * (len(_BARS) - 2)))]
