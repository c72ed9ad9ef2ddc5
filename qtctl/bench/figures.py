"""One figure: what was measured, beside what, and its target."""

import statistics
from collections.abc import Sequence
from typing import Any

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """Several rounds of one measurement."""

    median: float
    mean: float
    least: float
    most: float
    rounds: int


class Figure(msgspec.Struct, frozen=True):
    """A measured value and its target, the most that it may be, or the least where `at_least`.
    unit: `x` for a ratio, else `ms`, `MB`. measured and beside: the two sides of a ratio over all
    rounds, with their unit."""

    suite: str
    what: str
    value: float
    target: float
    unit: str = "x"
    at_least: bool = False
    measured: Spread | None = None
    beside: Spread | None = None
    measured_unit: str = "ms"
    note: str = ""

    @property
    def ok(self) -> bool:
        """True if the target was met."""
        return self.value >= self.target if self.at_least else self.value <= self.target


def spread(values: Sequence[float]) -> Spread:
    """The median of some rounds and their spread."""
    return Spread(
        statistics.median(values), statistics.fmean(values), min(values), max(values), len(values)
    )


def compared(
    suite: str, what: str, ours: Sequence[float], base: Sequence[float], target: float, **more: Any
) -> Figure:
    """The figure of one measurement beside another; more: further fields of it."""
    value = ratio(ours, base)
    return Figure(suite, what, value, target, measured=spread(ours), beside=spread(base), **more)


def ratio(ours: Sequence[float], beside: Sequence[float]) -> float:
    """The median of the ratios round by round: within a round other load on the machine affects
    both, and between rounds it comes and goes."""
    return statistics.median(mine / other for mine, other in zip(ours, beside, strict=True))


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which this many percent lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
