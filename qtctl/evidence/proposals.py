"""The proposals of passes, made again from what each pass had read.

A row that is the same as in the pass before needs no judging while time alone can't change what
its score counts as: it grows stale, or a time that lay ahead is trusted at last.
"""

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

from qtctl.domain import numbers
from qtctl.domain.allocation import AllocationRules, multiplier
from qtctl.domain.passes import Columns
from qtctl.domain.readings import MAX_AHEAD_SEC, Unusable, assess, target_usd
from qtctl.history.day_reader import PassRead

_NEVER = float("inf")
_NEAR_SEC = 0.002
"""So near a limit a row is judged in each pass: sums of floats must decide nothing here."""
NO_PROPOSAL = ("", "")
Outcome = tuple[str, str]
"""Reason and multiplier as in a pass, both empty where no proposal is made."""


def outcome(columns: Columns, row: int, now: float, rules: AllocationRules) -> Outcome:
    """What becomes of one row at `now`, epoch seconds."""
    if isinstance(target_usd({"target_usd": columns.target_usd[row]}), Unusable):
        return NO_PROPOSAL
    efficiency = assess(columns.efficiency(row), now, rules.stale_sec, rules.min_conf)
    return efficiency.reason.value, numbers.four(multiplier(efficiency, rules))


class Rows:
    """The outcome of each row of the pass that was taken last."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self._due: list[float] = []
        self._queue: list[tuple[float, int]] = []
        self._rules: AllocationRules | None = None
        self._now = _NEVER

    def take(self, read: PassRead, rules: AllocationRules) -> Iterable[int]:
        """The next pass: judges what may have changed, and says which rows those were."""
        columns, now = read.value.columns, read.value.ts_ms / 1000
        count = len(columns)
        if read.shifted or rules != self._rules or now < self._now or count < len(self._due):
            wanted: Sequence[int] = range(count)
            self.outcomes = [NO_PROPOSAL] * count
            self._due = [_NEVER] * count
            self._queue = []
        else:
            more = count - len(self._due)
            self.outcomes += [NO_PROPOSAL] * more
            self._due += [_NEVER] * more
            wanted = self._with_due(read.changed, now)
        self._rules, self._now = rules, now
        outcomes, due, queue = self.outcomes, self._due, self._queue
        for row in wanted:
            outcomes[row] = outcome(columns, row, now, rules)
            at = _changes_at(columns, row, now, rules.stale_sec)
            if at != due[row]:
                due[row] = at
                if at != _NEVER:
                    heappush(queue, (at, row))
        self._tidy()
        return wanted

    def _with_due(self, changed: Sequence[int], now: float) -> Sequence[int]:
        queue, late = self._queue, set[int]()
        while queue and queue[0][0] <= now:
            at, row = heappop(queue)
            if self._due[row] == at:
                self._due[row] = _NEVER
                late.add(row)
        return sorted(late.union(changed)) if late else changed

    def _tidy(self) -> None:
        if len(self._queue) > 8 * len(self._due) + 64:
            self._queue = [(at, row) for row, at in enumerate(self._due) if at != _NEVER]
            heapify(self._queue)


def _changes_at(columns: Columns, row: int, now: float, stale_sec: float) -> float:
    """When the passing of time alone may change what the score of a row counts as."""
    found = _NEVER
    for text in (columns.score_ts[row], columns.score_timestamp[row]):
        at = numbers.epoch(text) if text else None
        if at is None:
            continue
        for moment in (at + stale_sec - _NEAR_SEC, at - MAX_AHEAD_SEC - _NEAR_SEC):
            # Near the limit it is due again at once.
            if moment > now - 2 * _NEAR_SEC and moment < found:
                found = moment
    return found
