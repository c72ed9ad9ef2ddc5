"""Numbers, durations and names from the command line: each function returns the value, or raises
a `UsageError` that names the argument, what was given and what is allowed."""

import re
from collections.abc import Callable, Iterable

from qtctl.domain import names, numbers
from qtctl.errors import UsageError

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def number(text: str, name: str, lo: float | None = None, hi: float | None = None) -> float:
    """A finite decimal within lo..hi, both included."""
    value = numbers.number(text)
    if value is None:
        raise UsageError(f"{name} {text!r} is not a number{_allowed(lo, hi)}")
    if (lo is not None and value < lo) or (hi is not None and value > hi):
        raise UsageError(f"{name} {text!r} is out of range{_allowed(lo, hi)}")
    return value


def whole(text: str, name: str, lo: int | None = None, hi: int | None = None) -> int:
    """A whole number within lo..hi, both included."""
    if re.fullmatch(r"-?[0-9]{1,18}", text.strip(), re.ASCII) is None:
        raise UsageError(f"{name} {text!r} is not a whole number{_allowed(lo, hi)}")
    return int(number(text, name, lo, hi))


def duration(text: str, name: str, lo: float = 0.0, hi: float | None = None) -> float:
    """Seconds from `90`, `90s`, `5m`, `1.5h` or `2d`."""
    match = _DURATION.fullmatch(text.strip(), 0)
    allowed = _allowed(lo, hi, _span)
    if match is None or not text.isascii():
        example = "a duration as 90, 90s, 5m, 2h or 1d"
        raise UsageError(f"{name} {text!r} is not {example}{allowed}")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds < lo or (hi is not None and seconds > hi):
        raise UsageError(f"{name} {text!r} is out of range{allowed}")
    return seconds


def choice(text: str, name: str, allowed: Iterable[str]) -> str:
    """One of a few words."""
    words = tuple(allowed)
    if text not in words:
        raise UsageError(f"{name} {text!r} must be one of {', '.join(words)}")
    return text


def symbol(text: str, name: str = "SYMBOL") -> str:
    """A symbol as the Redis contract allows it."""
    return _checked(text, name, names.symbol_problem(text), ":")


def symbols(texts: Iterable[str] | None, name: str = "SYMBOL") -> tuple[str, ...]:
    """Symbols in the order given, each once; empty for none given."""
    return tuple(dict.fromkeys(symbol(text, name) for text in texts or ()))


def spellings(texts: Iterable[str] | None) -> set[str]:
    """Symbols in the form in which `ascii_upper` compares them; empty for none given."""
    return {names.ascii_upper(text) for text in symbols(texts)}


def plan_id(text: str, name: str = "ID") -> str:
    """A plan_id as the Redis contract allows it."""
    return _checked(text, name, names.plan_id_problem(text), "")


def _checked(text: str, name: str, problem: str | None, also: str) -> str:
    if problem is not None:
        form = f"1 to {names.MAX_CHARS} characters without blanks, {also}*?[]{{}}"
        raise UsageError(f"{name} {text!r} {problem}; allowed: {form}")
    return text


def _plain(value: float) -> str:
    """A bound as people write it: 1, 0.5, 1,000,000."""
    return f"{int(value):,}" if value == int(value) else f"{value:,}"


def _span(seconds: float) -> str:
    """A bound in the largest unit that leaves no remainder: 1d, 90s."""
    unit = next((u for u in "dhm" if seconds and seconds % _UNITS[u] == 0), "s")
    return f"{_plain(seconds / _UNITS[unit])}{unit}"


def _allowed(lo: float | None, hi: float | None, show: Callable[[float], str] = _plain) -> str:
    if lo is None or hi is None:
        bound = "" if hi is None else f"{show(hi)} or less"
        bound = bound if lo is None else f"{show(lo)} or more"
        return f"; allowed: {bound}" if bound else ""
    return f"; allowed: {show(lo)} to {show(hi)}"
