"""Numbers and times as the wire has them.

Source: docs/rules.md#numbers-and-times.
"""

import math
import re
from datetime import UTC, datetime

# No `+`, no underscores, no hex, no nan. Blanks around it are trimmed. No two runs of digits may
# meet without something between them: a megabyte of digits and an `x` would then take hours.
_NUMBER = re.compile(
    r"[ \t\r\n]*-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t\r\n]*"
).fullmatch
_FINITE = math.isfinite
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""A time above the first is divided by the second: nanoseconds, microseconds, milliseconds.
1e11 s is the year 5138, and 1e11 ms was in 1973."""


def number(text: str) -> float | None:
    """The number that a text stands for, or None. -0 is 0."""
    if _NUMBER(text) is None:
        return None
    value = float(text)
    return value + 0.0 if _FINITE(value) else None


def whole(text: str) -> int:
    """A whole number as Redis reports one; 0 for anything else."""
    return int(text) if text.isdecimal() else 0


def ratio(text: str) -> float | None:
    """A number within 0..1, or None."""
    value = number(text)
    return value if value is not None and 0.0 <= value <= 1.0 else None


def epoch(text: str) -> float | None:
    """Seconds since the epoch from seconds, ms (over 1e11), µs (over 1e14), ns (over 1e17) or ISO
    8601, or None. ISO 8601 without an offset is UTC."""
    value = number(text)
    if value is not None:
        for above, parts in _UNITS:
            if value > above:
                return value / parts
        return value
    text = text.strip(" \t\r\n")
    if not text.isascii() or len(text) > 64:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def usd(value: float) -> str:
    """USD on the wire."""
    return f"{value + 0.0:.2f}"


def four(value: float) -> str:
    """A multiplier, score or factor on the wire."""
    return f"{value:.4f}"


def confidence(value: float) -> str:
    """A confidence on the wire."""
    return repr(round(value, 4))


def millis(seconds: float) -> str:
    """A time or an age with milliseconds."""
    return f"{seconds:.3f}"
