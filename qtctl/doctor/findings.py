"""What a check found: how bad it is, what it is, why it matters, and the command that fixes it."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import partial

import msgspec


class Level(StrEnum):
    """How bad it is, the worst first."""

    WRONG = "wrong"
    """It does not do what it is for, or is about to cost money."""
    WARNING = "warning"
    """It works, and something about it should be fixed."""
    UNKNOWN = "unknown"
    """The check could not be carried out."""
    OK = "ok"


class Finding(msgspec.Struct, frozen=True):
    """One line of the report. check: `redis.eviction`, filled in by the runner. command: what fixes
    it, or shows more where no single command can; "" where there is none."""

    check: str
    level: Level
    what: str
    why: str = ""
    command: str = ""


Findings = Iterator[Finding]
wrong = partial(Finding, "", Level.WRONG)
warning = partial(Finding, "", Level.WARNING)
unknown = partial(Finding, "", Level.UNKNOWN)
ok = partial(Finding, "", Level.OK)


def some(names: Iterable[str], most: int = 3) -> str:
    """A few of many names: `a, b, c and 7 more`."""
    listed = list(names)
    shown = ", ".join(listed[:most])
    return shown if len(listed) <= most else f"{shown} and {len(listed) - most:,} more"


def span(seconds: float) -> str:
    """`45 s`, `12 min`, `6 h` or `2.5 d`."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:,.0f} {name}"
    return f"{seconds / 86_400:,.1f} d"
