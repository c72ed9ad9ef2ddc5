"""A setting over a range of values: `governor.max_exec_per_hour=1:10:1`."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from qtctl.errors import ConfigError, UsageError
from qtctl.evidence.rules import REPLAYED
from qtctl.settings.catalog import by_path, checked
from qtctl.settings.sources import nearest, shown_name

MOST_POINTS = 200
_FORM = "KEY=FROM:TO:STEP, as governor.max_exec_per_hour=1:10:1"
_OF_PLANS = (
    "governor.open_actions", "governor.close_actions", "governor.require",
)  # fmt: skip


class Sweep(msgspec.Struct, frozen=True):
    """A setting by its path, and the values that it takes, ascending."""

    path: str
    values: Sequence[Any]


def replayable(path: str) -> str:
    """The path of a setting that a replay can change; a bare name is one of the governor's or of
    the allocation loop's. Errors: UsageError naming the nearest, or why not."""
    if path in REPLAYED:
        return path
    full = [each for each in REPLAYED if each.partition(".")[2] == path]
    if len(full) == 1:
        return full[0]
    if full:
        raise UsageError(f"{path} is a setting of both loops: {' or '.join(full)}")
    if path in by_path():
        why = "no verdict and no multiplier follows from it"
        if path in _OF_PLANS:
            why = "plans stay as they were in a replay"
        raise UsageError(f"{path} can't be replayed: {why}")
    listed = "'qtctl config show' lists all"
    raise UsageError(
        f"{shown_name(path)}: no such setting{nearest(path, REPLAYED) or f'; {listed}'}"
    )


def parse(text: str) -> Sweep:
    """What `--sweep` asks for. Errors: UsageError."""
    name, equals, span = text.partition("=")
    if not equals:
        raise UsageError(f"--sweep {text[:80]!r} is not {_FORM}")
    path = replayable(name.strip())
    parts = [_decimal(part) for part in span.split(":")]
    if len(parts) != 3 or None in parts:
        raise UsageError(f"--sweep {text[:80]!r} is not {_FORM}")
    low, high, step = (part or Decimal(0) for part in parts)
    if step <= 0 or high < low:
        raise UsageError(f"--sweep {text[:80]!r} has no values: FROM ≤ TO, and STEP over 0")
    points = int((high - low) / step) + 1
    if points > MOST_POINTS:
        raise UsageError(
            f"--sweep {path} has {points:,} values, at most {MOST_POINTS}: use a larger step"
        )
    field = by_path()[path]
    whole = field.type == "integer"
    try:
        values = [
            checked(field, _plain(low + i * step, whole), "--sweep", str(low + i * step))
            for i in range(points)
        ]
    except ConfigError as wrong:
        raise UsageError(str(wrong)) from None
    return Sweep(path, tuple(values))


def _decimal(text: str) -> Decimal | None:
    text = text.strip()
    if not text.isascii() or "_" in text or len(text) > 32:
        return None
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() and abs(found) < Decimal("1e15") else None


def _plain(value: Decimal, whole: bool) -> int | float:
    return int(value) if whole and value == int(value) else float(value)


def changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Other settings by their path. Errors: UsageError where a replay can't change one."""
    return {replayable(path): value for path, value in given.items()}
