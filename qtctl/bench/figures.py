"""One figure: what was measured, beside what, its target, and what that proves.

The rule of the verdict, with its reasons: docs/performance.md#verdicts.
"""

import statistics
from collections.abc import Sequence
from enum import StrEnum
from math import comb
from typing import Any

import msgspec

SURE = 0.85
"""The share of all benches whose spread holds the true median, at least."""


class Outcome(StrEnum):
    """What the rounds prove about the target."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNSURE = "UNSURE"


class Spread(msgspec.Struct, frozen=True):
    """Between which two of its rounds the median of a figure lies (see `spread`)."""

    low: float
    high: float
    rounds: int


class Side(msgspec.Struct, frozen=True):
    """The rounds of one side of a ratio."""

    median: float
    mean: float
    least: float
    most: float
    rounds: int


class Figure(msgspec.Struct, frozen=True):
    """A measured value and its target, the most that it may be, or the least where `at_least`.
    unit: `x` for a ratio, else `ms`, `MB`. spread: of the value, None where it was measured once;
    measured and beside: the two sides of a ratio over all rounds, with their unit."""

    suite: str
    what: str
    value: float
    target: float
    unit: str = "x"
    at_least: bool = False
    spread: Spread | None = None
    measured: Side | None = None
    beside: Side | None = None
    measured_unit: str = "ms"
    note: str = ""

    @property
    def ok(self) -> bool:
        """True if the value meets the target, however sure that is."""
        return self._meets(self.value)

    @property
    def verdict(self) -> Outcome:
        """PASS or FAIL where both ends of the spread are on one side of the target, else UNSURE."""
        spread = self.spread or Spread(self.value, self.value, 1)
        low, high = self._meets(spread.low), self._meets(spread.high)
        if low != high:
            return Outcome.UNSURE
        return Outcome.PASS if low else Outcome.FAIL

    def _meets(self, value: float) -> bool:
        return value >= self.target if self.at_least else value <= self.target


def spread(values: Sequence[float]) -> Spread:
    """The two rounds, as far from the least as from the most, that have the true median between
    them in SURE of all benches; of those the closest. That takes four rounds: of fewer, all."""
    ordered, rounds = sorted(values), len(values)
    left_out, beyond = 0, 1
    # A round is above the true median as a coin shows heads.
    while left_out + 1 < rounds / 2:
        next_beyond = beyond + comb(rounds, left_out + 1)
        if 1 - 2 * next_beyond / 2**rounds < SURE:
            break
        left_out, beyond = left_out + 1, next_beyond
    return Spread(ordered[left_out], ordered[rounds - 1 - left_out], rounds)


def side(values: Sequence[float]) -> Side:
    """All rounds of one side."""
    return Side(
        statistics.median(values), statistics.fmean(values), min(values), max(values), len(values)
    )


def in_rounds(suite: str, what: str, values: Sequence[float], target: float, **more: Any) -> Figure:
    """The figure of one value measured in several rounds; more: further fields of it."""
    value = statistics.median(values)
    return Figure(suite, what, value, target, spread=spread(values), **more)


def compared(
    suite: str,
    what: str,
    ours: Sequence[float],
    base: Sequence[float],
    target: float,
    *,
    times_as_fast: bool = False,
    **more: Any,
) -> Figure:
    """The figure of one measurement beside another, round by round; more: further fields of it.
    times_as_fast: both are times, and their ratio is that of rates, at least the target."""
    found = ratios(base, ours) if times_as_fast else ratios(ours, base)
    more = {"at_least": times_as_fast, "measured": side(ours), "beside": side(base)} | more
    return in_rounds(suite, what, found, target, **more)


def ratios(ours: Sequence[float], beside: Sequence[float]) -> list[float]:
    """Round by round: within a round other load on the machine affects both, and between rounds it
    comes and goes."""
    return [mine / other for mine, other in zip(ours, beside, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which this many percent lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
