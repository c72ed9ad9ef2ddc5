"""A setting of the allocation loop over a range of values, in one reading of the passes.

What each score counts as is judged once for all values that agree on it, and each score's
multiplier once per value, however long and for however many symbols it stood.
"""

from collections.abc import Sequence

import msgspec

from qtctl.domain import numbers
from qtctl.domain.allocation import AllocationRules, multiplier_of
from qtctl.domain.reasons import EffReason
from qtctl.evidence.proposals import NEUTRAL, Due, Reading, Readings
from qtctl.evidence.rules import Changes, RulesBook, changed
from qtctl.history.day_reader import PassRead

_MOST_SCORES = 20_000
"""So many different scores are kept until their multipliers are made."""


class Swept(msgspec.Struct):
    """What a value gives. multipliers: Σ of the multipliers; proposals, ok, clamped: how many there
    were, with reason ok, at min_mult or max_mult; usd: Σ proposed; all over symbols and passes."""

    proposals: int = 0
    ok: int = 0
    clamped: int = 0
    multipliers: float = 0.0
    usd: float = 0.0

    @property
    def mean(self) -> float | None:
        """The mean multiplier; None where there are no proposals."""
        return round(self.multipliers / self.proposals, 6) if self.proposals else None

    def share(self, count: int) -> float | None:
        """Of the proposals."""
        return count / self.proposals if self.proposals else None

    def add(self, count: int, base_usd: float, text: str, *, ok: bool, at_clamp: bool) -> None:
        """So many proposals with this multiplier, and Σ of their bases."""
        value = float(text)
        self.proposals += count
        self.multipliers += value * count
        self.usd += value * base_usd
        if ok:
            self.ok += count
            self.clamped += count if at_clamp else 0


class _Group:
    """Values under which each score counts as the same."""

    def __init__(self, places: Sequence[int], rules: Sequence[AllocationRules]) -> None:
        self.places, self.rules = places, rules
        self._due = Due()
        self._since: list[int] = []
        self._state: list[tuple[float, float] | None] = []
        # By score, -1 for one that is not ok: for how many passes, and Σ of the bases.
        self.scores: dict[float, list[float]] = {}

    def take(self, read: PassRead, number: int, rows: Sequence[Reading]) -> None:
        """The next pass."""
        now, rules, due = read.value.ts_ms / 1000, self.rules[0], self._due
        stale_sec, min_conf = rules.stale_sec, rules.min_conf
        state, since = self._state, self._since
        if read.shifted or len(rows) < len(state):
            self.close(number)
        more = len(rows) - len(state)
        state += [None] * more
        since += [number] * more
        for row in due.wanted(read, None):
            found = rows[row]
            due.judged(row, found.changes_at(now, stale_sec))
            if found.base is None:
                new = None
            elif found.counts_as(now, stale_sec, min_conf) is EffReason.OK:
                new = (found.score, found.base)
            else:
                new = (-1.0, found.base)
            if new != state[row]:
                self._add(row, number)
                state[row] = new

    def _add(self, row: int, number: int) -> None:
        """What a row was up to this pass."""
        old, passes = self._state[row], number - self._since[row]
        self._since[row] = number
        if old is None or not passes:
            return
        score, base = old
        sums = self.scores.get(score)
        if sums is None:
            self.scores[score] = [passes, passes * base]
        else:
            sums[0] += passes
            sums[1] += passes * base

    def close(self, number: int) -> None:
        """No row goes on as it was."""
        for row in range(len(self._state)):
            self._add(row, number)
        self._state.clear()
        self._since.clear()


class Sweeping:
    """Takes the passes of a window, in their order, under several changes at once."""

    def __init__(self, book: RulesBook, wanted: Sequence[Changes]) -> None:
        self._book, self._wanted = book, wanted
        self._readings = Readings()
        self._groups: list[_Group] = []
        self._own: AllocationRules | None = None
        self._found = [Swept() for _ in wanted]
        self.passes = 0

    def add(self, read: PassRead) -> None:
        """One pass."""
        self._readings.take(read)
        own = self._book.allocation(read.value.rules)
        if own is None or own != self._own:
            self._end()
            self._own = own
            self._groups = [] if own is None else self._grouped(own)
        for group in self._groups:
            group.take(read, self.passes, self._readings.rows)
            if len(group.scores) > _MOST_SCORES:
                self._evaluate(group)
        self.passes += own is not None

    def result(self) -> list[Swept]:
        """What each of the changes gives."""
        self._end()
        self._groups = []
        return self._found

    def _grouped(self, own: AllocationRules) -> list[_Group]:
        found: dict[tuple[float, float], list[tuple[int, AllocationRules]]] = {}
        for place, changes in enumerate(self._wanted):
            rules = changed(own, "allocation", changes)
            found.setdefault((rules.stale_sec, rules.min_conf), []).append((place, rules))
        return [
            _Group([place for place, _ in each], [rules for _, rules in each])
            for each in found.values()
        ]

    def _end(self) -> None:
        for group in self._groups:
            group.close(self.passes)
            self._evaluate(group)

    def _evaluate(self, group: _Group) -> None:
        """The multipliers of the scores so far, under each value."""
        without = group.scores.pop(-1.0, None)
        for place, rules in zip(group.places, group.rules, strict=True):
            total = self._found[place]
            ends = (numbers.four(rules.min_mult), numbers.four(rules.max_mult))
            if without is not None:
                total.add(int(without[0]), without[1], NEUTRAL, ok=False, at_clamp=False)
            for score, (count, usd) in group.scores.items():
                text = numbers.four(multiplier_of(score, rules))
                total.add(int(count), usd, text, ok=True, at_clamp=text in ends)
        group.scores.clear()
