"""Numbers, durations, times and names from the command line: each function returns the value, or
raises a `UsageError` that names the argument, what was given and what is allowed."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

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


@dataclass(frozen=True, slots=True)
class When:
    """A time that was given as one, as an age, or as a time of day."""

    at: float | None = None
    """Epoch seconds."""
    ago_sec: float | None = None
    of_day: time | None = None
    utc: bool = True
    """Whether a time of day is UTC's, or local."""

    def on(self, now: float) -> float:
        """Epoch seconds at a now; a time of day is the last one that was not after it."""
        if self.at is not None:
            return self.at
        if self.of_day is None:
            return now - (self.ago_sec or 0.0)
        today = datetime.fromtimestamp(now, UTC)
        today = today if self.utc else today.astimezone()
        found = datetime.combine(today.date(), self.of_day, today.tzinfo if self.utc else None)
        if found.timestamp() > now:
            found -= timedelta(days=1)
        return found.timestamp()

    def end(self, now: float, begin: float | None) -> float:
        """The same for the end of a window that begins then; a time of day is the first one after
        the beginning where the last one is before it: at 10:10, from 10:00 until 10:30."""
        found = self.on(now)
        if self.of_day is not None and begin is not None and found < begin <= now:
            return self.on(now + timedelta(days=1).total_seconds())
        return found


_EPOCH_FROM = 1e8
"""Numbers from here on are epoch seconds (1973 and later), those below an age."""


def when(text: str, name: str, *, utc: bool = True) -> When:
    """A time: an age (90, 5m, 1h, 2d), a date, a date with a time, a time of day, or epoch
    seconds, ms, µs or ns. What has no offset is UTC, or local without `utc`."""
    given = text.strip(" ") if text.isascii() else ""
    number, age = numbers.number(given), _DURATION.fullmatch(given)
    if number is not None and number >= _EPOCH_FROM:
        return When(at=numbers.epoch(given))
    if age is not None:
        return When(ago_sec=float(age[1]) * _UNITS[age[2]])
    try:
        if number is None and re.fullmatch(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?Z?", given):
            digits = given.removesuffix("Z")
            of_day = time.fromisoformat(digits if digits[2] == ":" else f"0{digits}")
            return When(of_day=of_day, utc=utc or given.endswith("Z"))
        if number is None and len(given) <= 64:
            moment = datetime.fromisoformat(given)
            if moment.tzinfo is None and utc:
                moment = moment.replace(tzinfo=UTC)
            return When(at=moment.timestamp())
    except (ValueError, OverflowError, OSError):
        pass
    example = "an age as 90, 5m, 1h or 2d, or a time as 2026-01-28T10:00 or 10:00"
    raise UsageError(f"{name} {text!r} is not a time: {example}")


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
