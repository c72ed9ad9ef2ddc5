"""Which window evidence is about: its ends by the history's own clock, what is missing in it, and
how often passes were due.

A window never reaches beyond the records: "the last 48 h" end with the newest record, so that a
copy gives the same on any day, and what lies before the oldest one is unknown, not idle.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from qtctl.errors import NotFoundError
from qtctl.history.reader import History
from qtctl.history.rows import Gap

HOLE_PASSES = 3
"""Where the next pass comes later than so many intervals, the time between is not known; a pass
stands for the time until the next one, and before a hole for one interval."""
_LOST = ("trimmed", "emptied", "restored", "pass_numbers", "day_missing", "day_damaged",
         "unreadable", "group_reset")  # fmt: skip
"""Gaps in which something may have happened that the history lacks. The other kinds say that what
is there must not be taken for one run."""


class Window(msgspec.Struct, frozen=True):
    """A window of the history, half open, epoch ms.

    asked_ms: where it was asked to begin, if that is before the first record. first_ms, last_ms:
    the times of the first and the last record of the whole history. gaps: those that reach into the
    window. synthetic: the history was made by `qtctl simulate`.
    """

    since_ms: int
    until_ms: int
    asked_ms: int | None
    first_ms: int
    last_ms: int
    gaps: Sequence[Gap]
    synthetic: bool

    @property
    def hours(self) -> float:
        """How long it is."""
        return (self.until_ms - self.since_ms) / 3_600_000


def lost(gaps: Iterable[Gap], since_ms: int, until_ms: int) -> list[Gap]:
    """The gaps in which records are missing, cut to a window."""
    return [
        msgspec.structs.replace(
            gap, from_ms=max(gap.from_ms, since_ms), to_ms=min(gap.to_ms, until_ms)
        )
        for gap in gaps
        if gap.kind in _LOST or (gap.kind == "loop_restarted" and gap.count)
    ]


class Change(msgspec.Struct, frozen=True, order=True):
    """From then on something else was in force: another version, other rules or limits."""

    at_ms: int
    what: str


def end_ms(history: History) -> int:
    """The moment after the newest record: the now of a history. Errors: NotFoundError."""
    return _span(history)[1] + 1


def choose(history: History, since_ms: int | None, until_ms: int | None) -> Window:
    """The window between two times; None is the first or the last record. Errors: NotFoundError
    where nothing is recorded, or nothing in it but gaps."""
    first, last = _span(history)
    low = first if since_ms is None else max(since_ms, first)
    high = last + 1 if until_ms is None else min(until_ms, last + 1)
    gaps = history.gaps(since_ms, until_ms)
    if low >= high or not _has_rows(history, low, high):
        what = "nothing was recorded in that window"
        if gaps:
            what = f"that window has no records, only {_named(gaps)}"
        raise NotFoundError(f"{what}: 'qtctl history' lists the days there are")
    asked = since_ms if since_ms is not None and since_ms < first else None
    return Window(low, high, asked, first, last, gaps, history.synthetic())


def _span(history: History) -> tuple[int, int]:
    span = history.span()
    if span is None:
        raise NotFoundError(
            f"nothing is recorded in {history.folder}: 'qtctl serve recorder' writes there"
        )
    return span


def _has_rows(history: History, low: int, high: int) -> bool:
    return any(
        next(iter(rows), None) is not None
        for rows in (history.passes(low, high), history.decisions(low, high))
    )


def _named(gaps: Sequence[Gap]) -> str:
    kinds = dict.fromkeys(gap.kind for gap in gaps)
    return f"{len(gaps)} gap{'' if len(gaps) == 1 else 's'} ({', '.join(kinds)})"


def interval_ms(history: History, digest: str) -> int | None:
    """How often passes were due under the rules with that digest; None where that is unknown."""
    raw = history.document("rules", digest)
    if raw is None:
        return None
    try:
        found = msgspec.json.decode(raw, type=dict[str, object]).get("interval_sec")
    except msgspec.DecodeError:
        return None
    known = isinstance(found, (int, float)) and not isinstance(found, bool) and found > 0
    return round(found * 1000) if known and isinstance(found, (int, float)) else None


class Coverage(msgspec.Struct, frozen=True):
    """Passes: due, made, not_made, and unknown (in gaps of the history)."""

    due: int
    made: int
    not_made: int
    unknown: int

    @property
    def share(self) -> float | None:
        """Made of those due; None where none was."""
        return self.made / self.due if self.due else None

    @property
    def at_most(self) -> float | None:
        """The same if every unknown one was made."""
        return (self.made + self.unknown) / self.due if self.due else None


def coverage(passes: Iterable[tuple[int, int]], window: Window) -> Coverage:
    """Of what was due in a window. passes: when each was made and how often they were due then, ms,
    in any order. What is not among them may lie in a gap: then nobody knows whether it was made."""
    made = sorted(passes)
    if not made:
        return Coverage(0, 0, 0, 0)
    all_lost = lost(window.gaps, window.since_ms, window.until_ms)
    gaps = [gap for gap in all_lost if of_stream(gap, "allocation.pass")]
    missing = unknown = 0
    for (at, interval), (then, _) in pairwise(made):
        absent = max(0, round((then - at) / interval) - 1)
        missing += absent
        unknown += min(absent, _unknown(gaps, at, then, interval))
    edges = [
        (window.since_ms, made[0][0], made[0][1]),
        (made[-1][0], window.until_ms - 1, made[-1][1]),
    ]
    for low, high, interval in edges:
        # A pass may have been decided just before the window and written just in it, and the
        # next one is due within an interval, give or take what a loop is early or late.
        absent = max(0, (high - low - interval // 10) // interval)
        missing += absent
        unknown += min(absent, _unknown(gaps, low, high, interval))
    return Coverage(len(made) + missing, len(made), missing - unknown, unknown)


def of_stream(gap: Gap, stream: str) -> bool:
    """True if entries of that stream, by the end of its name, may be missing."""
    return not gap.stream or gap.stream.endswith(stream)


def _unknown(gaps: Sequence[Gap], low: int, high: int, interval: int) -> int:
    """How many passes between two times a gap may have swallowed."""
    counted = [gap for gap in gaps if gap.from_ms < high and gap.to_ms > low]
    most = sum(gap.count for gap in counted if gap.count is not None)
    by_time = round(_inside(counted, low, high) / interval)
    return by_time if any(gap.count is None for gap in counted) else min(by_time, most)


def _inside(gaps: Sequence[Gap], low: int, high: int) -> int:
    """How much of a time lies in gaps, ms; gaps that overlap count once."""
    total, until = 0, low
    for gap in sorted(gaps, key=lambda each: each.from_ms):
        begin, end = max(gap.from_ms, until), min(gap.to_ms, high)
        if end > begin:
            total, until = total + end - begin, end
    return total
