"""Proposals as recorded beside the same under other settings: reasons, multipliers, and exposure.

A row counts once for each pass that it is in, so that a symbol's share is one of time.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

import msgspec

from qtctl.domain import numbers
from qtctl.domain.allocation import AllocationRules
from qtctl.domain.reasons import EffReason
from qtctl.evidence.proposals import Rows
from qtctl.evidence.quantiles import weighted
from qtctl.evidence.rules import Changes, RulesBook, changed
from qtctl.history.day_reader import PassRead

QUANTILES = (0.1, 0.5, 0.9)
_E4 = 10_000
"""A multiplier has four decimals."""
NONE = "none"
"""For a symbol without a proposal, in place of a reason."""


class Side(msgspec.Struct, frozen=True):
    """Figures of the recorded or the replayed proposals. p10, p50, p90: of the multiplier, None
    where there are no proposals; clamped: the share at min_mult or max_mult; gross_usd: Σ proposed,
    on average of the passes; turnover_usd: Σ |change of a proposal| over the window."""

    p10: float | None
    p50: float | None
    p90: float | None
    mean: float | None
    clamped: float | None
    gross_usd: float
    turnover_usd: float


class Proposed(msgspec.Struct, frozen=True):
    """Both sides. proposals: symbols times passes; changed: those with another reason or
    multiplier; unknown: those whose rules are not in the history; live_gross_usd: Σ of the live
    targets, on average; reasons: by recorded and replayed reason."""

    proposals: int
    passes: int
    changed: int
    unknown: int
    live_gross_usd: float
    recorded: Side
    replayed: Side
    reasons: Mapping[tuple[str, str], int]


_Key = tuple[str, str, bool, str, str, bool]
"""Reason and multiplier, and whether that is at a clamp, as recorded and as replayed."""
_NO_KEY: _Key = ("", "", False, "", "", False)


class _Row(msgspec.Struct, gc=False):
    """A row as it is now: since which pass, both sides, and in USD what is live, recorded and
    replayed."""

    since: int = 0
    key: _Key = _NO_KEY
    amounts: tuple[float, float, float] = (0.0, 0.0, 0.0)


class ProposedTally:
    """Takes the passes of a window, in their order."""

    def __init__(self, book: RulesBook, changes: Changes) -> None:
        self._book, self._changes = book, changes
        self._replay = Rows()
        self._factor = cache(lambda text: numbers.number(text) or 0.0)
        self._ends: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._symbols: Sequence[str] = ()
        self._rows: list[_Row] = []
        self._weights: Counter[_Key] = Counter()
        self._passes = self._unknown = 0
        # live, recorded, replayed: now, and added up over the passes.
        self._now, self._sums = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
        self._turnover = [0.0, 0.0]
        self._digest = ""

    def add(self, read: PassRead) -> None:
        """One pass."""
        value = read.value
        own = self._book.allocation(value.rules)
        rules = None if own is None else changed(own, "allocation", self._changes)
        wanted = self._replay.take(read, rules)
        if own is None or rules is None:
            self._unknown += len(value.columns)
            self._digest = ""
            return
        if read.shifted or value.rules != self._digest or len(value.columns) < len(self._rows):
            self._begin_anew(read)
            wanted = range(len(value.columns))
            self._ends = _ends(own), _ends(rules)
        self._digest = value.rules
        self._symbols = value.columns.symbol
        while len(self._rows) < len(self._symbols):
            self._rows.append(_Row(self._passes))
        for row in wanted:
            self._row(read, row)
        self._passes += 1
        for place, amount in enumerate(self._now):
            self._sums[place] += amount

    def result(self) -> Proposed:
        """The figures."""
        weights = Counter(self._weights)
        for row in self._rows:
            weights[row.key] += self._passes - row.since
        weights = Counter({key: n for key, n in weights.items() if n and key != _NO_KEY})
        reasons: Counter[tuple[str, str]] = Counter()
        for key, n in weights.items():
            reasons[key[0] or NONE, key[3] or NONE] += n
        passes = max(self._passes, 1)
        live, recorded, replayed = (round(total / passes, 2) for total in self._sums)
        return Proposed(
            proposals=weights.total(),
            passes=self._passes,
            changed=sum(n for key, n in weights.items() if key[:2] != key[3:5]),
            unknown=self._unknown,
            live_gross_usd=live,
            recorded=_side(weights, 0, recorded, self._turnover[0]),
            replayed=_side(weights, 3, replayed, self._turnover[1]),
            reasons=reasons,
        )

    def _row(self, read: PassRead, row: int) -> None:
        columns, state = read.value.columns, self._rows[row]
        reason, mult = columns.reason[row], columns.multiplier[row]
        again, other = self._replay.outcomes[row]
        own_ends, ends = self._ends
        usd = (self._replay.readings.rows[row].base if reason else None) or 0.0
        key = (
            reason, mult, reason == EffReason.OK and mult in own_ends,
            again, other, again == EffReason.OK and other in ends,
        )  # fmt: skip
        if key == state.key and usd == state.amounts[0]:
            return
        before, after = state.amounts, (usd, usd * self._factor(mult), usd * self._factor(other))
        for place in range(3):
            self._now[place] += after[place] - before[place]
        if self._passes and state.key != _NO_KEY:
            self._turnover[0] += abs(after[1] - before[1])
            self._turnover[1] += abs(after[2] - before[2])
        self._weights[state.key] += self._passes - state.since
        state.since, state.key, state.amounts = self._passes, key, after

    def _begin_anew(self, read: PassRead) -> None:
        """Symbols stand in other rows: what is kept by row goes with its symbol."""
        known = dict(zip(self._symbols, self._rows, strict=False))
        symbols = read.value.columns.symbol
        stayed = set(symbols)
        for symbol, row in known.items():
            if symbol not in stayed:
                self._weights[row.key] += self._passes - row.since
                for place, amount in enumerate(row.amounts):
                    self._now[place] -= amount
        self._rows = [known.get(symbol) or _Row(self._passes) for symbol in symbols]


def _ends(rules: AllocationRules) -> tuple[str, ...]:
    return numbers.four(rules.min_mult), numbers.four(rules.max_mult)


def _side(weights: Mapping[_Key, int], at: int, gross: float, turnover: float) -> Side:
    found: Counter[int] = Counter()
    clamped = 0
    for key, n in weights.items():
        value = numbers.number(str(key[at + 1]))
        if value is not None:
            found[round(value * _E4)] += n
            clamped += n if key[at + 2] else 0
    total = found.total()
    p10, p50, p90 = (None if each is None else each / _E4 for each in weighted(found, QUANTILES))
    mean = sum(value * n for value, n in found.items()) / total / _E4 if total else None
    return Side(
        p10, p50, p90, None if mean is None else round(mean, 6), clamped / total if total else None,
        gross, round(turnover, 2),
    )  # fmt: skip
