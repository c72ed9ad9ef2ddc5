"""Figures in sentences. What is not known is called unknown, and never 0."""

from collections.abc import Sequence

from qtctl.cli.output import format

UNKNOWN = "unknown"


def share(value: float | None, places: int = 1) -> str:
    """`98.5 %`; a share that is neither none nor all is never rounded to that."""
    if value is None:
        return UNKNOWN
    shown = 100 * value
    least = 10.0**-places
    if 0 < abs(shown) < least / 2:
        return f"under {least:.{places}f} %"
    if 100 - least / 2 < shown < 100:
        return f"over {100 - least:.{places}f} %"
    return f"{shown:,.{places}f} %"


def change(value: float | None, places: int = 1) -> str:
    """`+1.7 %`."""
    return UNKNOWN if value is None else f"{100 * value + 0.0:+,.{places}f} %"


def amount(value: float | None, places: int = 0, unit: str = "") -> str:
    """`1,234 USD`."""
    if value is None:
        return UNKNOWN
    return f"{format.fixed(value, places)} {unit}".strip()


def seconds(value: float | None) -> str:
    """A wait: `0.2 s`, `12 min`; below a second in ms."""
    if value is None:
        return UNKNOWN
    return f"{1000 * value:,.0f} ms" if 0 < value < 0.95 else format.span(value)


def moment(at_ms: float) -> str:
    """A time in UTC."""
    return format.moment(at_ms / 1000)


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def are(number: int) -> str:
    """is, are."""
    return "is" if number == 1 else "are"
