"""The proposals of passes, made again from what each pass had read.

A row that is the same as in the pass before needs no judging while time alone can't change what
its score counts as: it grows stale, or a time that lay ahead is trusted at last.
"""

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

import msgspec

from qtctl.domain import numbers
from qtctl.domain.allocation import AllocationRules, multiplier_of
from qtctl.domain.passes import Columns
from qtctl.domain.readings import MAX_AHEAD_SEC, Unusable, counts_as, target_usd, that_counts
from qtctl.domain.reasons import EffReason
from qtctl.history.day_reader import PassRead

_NEVER = float("inf")
_NEAR_SEC = 0.002
"""So near a limit a row is judged in each pass: sums of floats must decide nothing here."""
NO_PROPOSAL = ("", "")
NEUTRAL = numbers.four(1.0)
"""The multiplier of a score that is not ok."""
Outcome = tuple[str, str]
"""Reason and multiplier as in a pass, both empty where no proposal is made."""
_OK = EffReason.OK.value


class Reading(msgspec.Struct, gc=False):
    """A row of a pass as numbers. base: the target in USD, None where it can't be used; fixed: what
    the score counts as whenever it is read, None where that depends on the time; then all of score,
    confidence and at least one of its two times are there."""

    base: float | None
    fixed: EffReason | None
    score: float
    confidence: float
    one: float | None
    other: float | None

    def counts_as(self, now: float, stale_sec: float, min_conf: float) -> EffReason:
        """What the score counts as at `now`, epoch seconds."""
        if self.fixed is not None:
            return self.fixed
        at = that_counts(self.one, self.other, now)
        assert at is not None, "a score without a time is fixed"
        return counts_as(self.confidence, now - at, stale_sec, min_conf)

    def changes_at(self, now: float, stale_sec: float) -> float:
        """When the passing of time alone may change what the score counts as."""
        found = _NEVER
        if self.fixed is not None:
            return found
        for at in (self.one, self.other):
            if at is None:
                continue
            for moment in (at + stale_sec - _NEAR_SEC, at - MAX_AHEAD_SEC - _NEAR_SEC):
                # Near the limit it is due again at once.
                if moment > now - 2 * _NEAR_SEC and moment < found:
                    found = moment
        return found


_NOT_READ = Reading(None, EffReason.MISSING, 0.0, 0.0, None, None)


def reading(columns: Columns, row: int) -> Reading:
    """A row, parsed; see domain.readings.assess."""
    base = target_usd({"target_usd": columns.target_usd[row]})
    usd = None if isinstance(base, Unusable) else base
    texts = columns.score[row], columns.confidence[row]
    times = columns.score_ts[row], columns.score_timestamp[row]
    score, confidence = map(numbers.ratio, texts)
    one, other = (numbers.epoch(text) if text else None for text in times)
    if score is not None and confidence is not None and (one is not None or other is not None):
        return Reading(usd, None, score, confidence, one, other)
    refused = columns.reason[row] == EffReason.UNUSABLE
    there = any(texts) or any(times) or refused
    fixed = EffReason.UNUSABLE if there else EffReason.MISSING
    return Reading(usd, fixed, 0.0, 0.0, None, None)


def outcome(found: Reading, now: float, rules: AllocationRules) -> Outcome:
    """What becomes of one row at `now`, epoch seconds."""
    if found.base is None:
        return NO_PROPOSAL
    reason = found.counts_as(now, rules.stale_sec, rules.min_conf)
    if reason is EffReason.OK:
        return _OK, numbers.four(multiplier_of(found.score, rules))
    return reason.value, NEUTRAL


class Readings:
    """The rows of the pass that was taken last, as numbers: parsed once for all that judge them."""

    def __init__(self) -> None:
        self.rows: list[Reading] = []

    def take(self, read: PassRead) -> None:
        """The next pass; none may be left out."""
        columns, rows = read.value.columns, self.rows
        count = len(columns)
        changed: Iterable[int] = read.changed
        if read.shifted or count < len(rows):
            rows[:], changed = [_NOT_READ] * count, range(count)
        else:
            rows += [_NOT_READ] * (count - len(rows))
        for row in changed:
            rows[row] = reading(columns, row)


class Due:
    """When rows must be judged again since time passed. now: of the pass that was taken last."""

    def __init__(self) -> None:
        self._due: list[float] = []
        self._queued: list[float] = []
        self._queue: list[tuple[float, int]] = []
        self._key: object = None
        self._now = _NEVER

    def wanted(self, read: PassRead, key: object) -> Sequence[int]:
        """The rows of a pass to judge: those that changed or are due, all where anything else did.
        key: what they are judged by."""
        count, now = len(read.value.columns), read.value.ts_ms / 1000
        anew = read.shifted or key != self._key or now < self._now or count < len(self._due)
        self._key, self._now = key, now
        if anew:
            self._due, self._queued, self._queue = [_NEVER] * count, [_NEVER] * count, []
            return range(count)
        more = count - len(self._due)
        self._due += [_NEVER] * more
        self._queued += [_NEVER] * more
        late = self._late(now)
        return sorted(late.union(read.changed)) if late else read.changed

    def _late(self, now: float) -> set[int]:
        queue, late = self._queue, set[int]()
        while queue and queue[0][0] <= now:
            at, row = heappop(queue)
            if self._queued[row] != at:
                continue
            self._queued[row] = _NEVER
            if self._due[row] <= now:
                late.add(row)
            else:
                self._enqueue(row, self._due[row])
        return late

    def judged(self, row: int, at: float) -> None:
        """A row was judged, and is due again then. It is queued once: most rows change long before
        their scores would grow stale."""
        self._due[row] = at
        if at < self._queued[row]:
            self._enqueue(row, at)

    def _enqueue(self, row: int, at: float) -> None:
        if at == _NEVER:
            return
        self._queued[row] = at
        heappush(self._queue, (at, row))
        if len(self._queue) > 8 * len(self._due) + 64:
            self._queue = [(at, row) for row, at in enumerate(self._queued) if at != _NEVER]
            heapify(self._queue)


class Rows:
    """The outcome of each row of the pass that was taken last."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.readings = Readings()
        self._due = Due()

    def take(self, read: PassRead, rules: AllocationRules | None) -> Sequence[int]:
        """The next pass; none may be left out. Judges what may have changed, and says which rows
        those were: none without rules, and then all rows of the next one."""
        self.readings.take(read)
        now, due = read.value.ts_ms / 1000, self._due
        wanted = due.wanted(read, rules)
        if rules is None:
            return ()
        rows, outcomes = self.readings.rows, self.outcomes
        if len(wanted) == len(rows):
            outcomes[:] = [NO_PROPOSAL] * len(rows)
        else:
            outcomes += [NO_PROPOSAL] * (len(rows) - len(outcomes))
        for row in wanted:
            found = rows[row]
            outcomes[row] = outcome(found, now, rules)
            due.judged(row, found.changes_at(now, rules.stale_sec))
        return wanted
