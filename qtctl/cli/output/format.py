"""Values as people read them: money, changes, ages, times.

Each function takes a number, or a text that stands for one, and returns one line without control
characters: `-` for None and empty, and what is not of the kind expected as it is, escaped.
"""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from qtctl.domain import numbers
from qtctl.text import escape

ABSENT = "-"


def text(value: Any) -> str:
    """Any value; booleans as yes and no, sequences with commas."""
    if value is None or value == "":
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(text(item) for item in value) or ABSENT
    return escape(str(value))


def size_hint(action: Any) -> str:
    """What a score makes of a permit's size: `DOWNSIZE`, or `full size` for NONE."""
    return "full size" if action == "NONE" else text(action)


def as_number(value: Any) -> float | None:
    """The number that a value is or stands for, or None."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    return numbers.number(value) if isinstance(value, str) else None


def fixed(value: Any, places: int, sign: bool = False) -> str:
    """A number with thousands and a fixed count of decimals; `sign` for changes, except zero."""
    number = as_number(value)
    if number is None:
        return text(value)
    number = round(number, places) + 0.0  # no -0.00
    return f"{number:{'+' if sign and number else ''},.{places}f}"


def count(number: int, what: str, plural: str = "") -> str:
    """`1 permit`, `2,000 passes`; plural: where that is not with an s."""
    return f"{number:,} {what if number == 1 else plural or f'{what}s'}"


money = partial(fixed, places=2)
"""USD: `12,345.60`."""
percent = partial(fixed, places=1, sign=True)
"""A change in percent, its unit in the header: `-12.5`."""


def span(value: Any) -> str:
    """Seconds as `0.4 s`, `12 s`, `3 min`, `2.1 h` or `4.5 d`; negative ones keep their sign."""
    seconds = as_number(value)
    if seconds is None:
        return text(value)
    size = abs(seconds)
    if 0.05 <= size < 0.95:
        return f"{round(seconds, 1):.1f} s"
    for limit, unit, name, places in _SPANS:
        if size < limit:
            # Less than a tenth is 0 s, as the ages in whole seconds beside it: neither 0.0 nor -0.
            return f"{round(seconds / unit, places) + 0.0:,.{places}f} {name}"
    return f"{seconds / 86400:,.1f} d"


_SPANS = ((99.5, 1.0, "s", 0), (99.5 * 60, 60.0, "min", 0), (36 * 3600.0, 3600.0, "h", 1))


def ttl(value: Any) -> str:
    """Seconds left of a key; Redis's -1, a key that never expires, is `never`."""
    return "never" if as_number(value) == -1 else span(value)


def moment(value: Any, utc: bool = True) -> str:
    """Epoch seconds (or a wire time) as `2026-01-28 00:00:00Z`, or with the local offset."""
    seconds = numbers.epoch(value) if isinstance(value, str) else as_number(value)
    if seconds is None:
        return text(value)
    try:
        at = datetime.fromtimestamp(seconds, UTC)
        at = at if utc else at.astimezone()
    except (ValueError, OverflowError, OSError):
        return text(value)
    shown = at.isoformat(" ", "seconds")
    return shown.removesuffix("+00:00") + "Z" if utc else shown


def recent(value: Any, now: float, utc: bool = True) -> str:
    """A moment of today without its date: `00:00:00Z`; of another day as `moment`."""
    shown, today = moment(value, utc), moment(now, utc)
    date, blank, time = shown.partition(" ")
    return time if blank and date == today.partition(" ")[0] else shown
