"""Quantiles by nearest rank: always a value that occurred, never one between two."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate


def quantile(values: Sequence[float], share: float) -> float | None:
    """The least value that at least this share of the values, sorted ascending, does not exceed;
    None for no values."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else None


def weighted(weights: Mapping[int, int], shares: Iterable[float]) -> list[int | None]:
    """The same where a value stands for as long as its weight says."""
    values = sorted(weights)
    reached = [*accumulate(weights[value] for value in values)]
    total = reached[-1] if reached else 0
    # A value that never stood is none, not even the least.
    return [
        values[bisect_left(reached, max(share * total, 1))] if total else None for share in shares
    ]
