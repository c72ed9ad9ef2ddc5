"""Decisions of a history, the latest first, read no further than they are asked for."""

from collections.abc import Collection, Iterator, Mapping
from heapq import merge

from qtctl.history.day_reader import DayReader, window
from qtctl.history.decisions import Decision
from qtctl.history.ids import DAY_MS, SEQ_BITS, day_start_ms, first_at
from qtctl.history.reader import History, Ms

Only = Mapping[str, Collection[str]]
_FEW, _MANY = 500, 5_000
_FIRST_MS = 60_000


def decisions(
    history: History,
    since_ms: Ms = None,
    until_ms: Ms = None,
    symbols: Collection[str] = (),
    only: Only | None = None,
) -> Iterator[Decision]:
    """As `History.decisions`, the other way round. only: words that fields of the profile may
    have (verdict, reason, kind, …)."""
    low, high = window(since_ms, until_ms)
    late: list[Decision] = []
    for day in history.readers(since_ms, newest_first=True):
        start = first_at(day_start_ms(day.day))
        # What came late stands in a later file: it waits for its own day.
        if low < start:
            late += day.decisions(low, min(high, start), symbols, only=only)
            late.sort(key=_id, reverse=True)
        own = [each for each in late if each.number >= start]
        late = late[len(own) :]
        read = _backwards(day, max(low, start), high, symbols, only)
        yield from merge(own, read, key=_id, reverse=True)
    yield from late


def _id(decision: Decision) -> int:
    return decision.number


def _backwards(
    day: DayReader, low: int, high: int, symbols: Collection[str], only: Only | None
) -> Iterator[Decision]:
    """A day by parts from its end; each is as long as the one before it suggests."""
    newest = day.newest("decisions", high)
    last = first_at(day_start_ms(day.day) + DAY_MS) if newest is None else newest + 1
    end, span = min(high, last), _FIRST_MS
    while end > low:
        begin = max(low, end - (span << SEQ_BITS))
        found = list(day.decisions(begin, end, symbols, only=only))
        yield from reversed(found)
        end = begin
        if len(found) < _FEW:
            span *= 2
        elif len(found) > _MANY:
            span = max(1, span // 4)
