"""What a check found: how bad it is, what it is, why it matters, and the command that fixes it."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Level(StrEnum):
    """How bad it is, the worst first. `unknown`: the check could not be carried out."""

    WRONG = "wrong"
    WARNING = "warning"
    UNKNOWN = "unknown"
    OK = "ok"


class Finding(msgspec.Struct, frozen=True):
    """One line of the report. check: `redis.eviction`; the runner fills it in. command: what fixes
    it, or shows more where no single command can; "" where there is none."""

    check: str
    level: Level
    what: str
    why: str = ""
    command: str = ""


def ok(what: str) -> Finding:
    """All is well, and this is what was seen."""
    return Finding("", Level.OK, what)


def warning(what: str, why: str, command: str = "") -> Finding:
    """It works, and something about it should be fixed."""
    return Finding("", Level.WARNING, what, why, command)


def wrong(what: str, why: str, command: str = "") -> Finding:
    """It does not do what it is for, or is about to cost money."""
    return Finding("", Level.WRONG, what, why, command)


def unknown(what: str, why: str = "", command: str = "") -> Finding:
    """It can't be determined."""
    return Finding("", Level.UNKNOWN, what, why, command)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """The same, those that are wrong first; else in their order."""
    order = list(Level)
    return sorted(findings, key=lambda it: order.index(it.level))


def some(names: Iterable[str], most: int = 3) -> str:
    """A few of many names: `a, b, c and 7 more`."""
    listed = list(names)
    shown = ", ".join(listed[:most])
    return shown if len(listed) <= most else f"{shown} and {len(listed) - most:,} more"
