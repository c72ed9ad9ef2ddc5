"""Quantiles by nearest rank: always a value that occurred, never one between two."""

import math
from collections.abc import Iterable, Mapping, Sequence


def quantile(values: Sequence[float], share: float) -> float | None:
    """The least value that at least this share of the values, sorted ascending, does not exceed;
    None for no values."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else None


def weighted(weights: Mapping[int, int], shares: Iterable[float]) -> list[int | None]:
    """The same where a value stands for as long as its weight says."""
    total, wanted = sum(weights.values()), list(shares)
    found: list[int | None] = [None] * len(wanted)
    if total <= 0:
        return found
    reached, order = 0, sorted(range(len(wanted)), key=wanted.__getitem__)
    values = iter(sorted(weights.items()))
    value = 0
    for place in order:
        while reached < wanted[place] * total or reached == 0:
            value, weight = next(values)
            reached += weight
        found[place] = value
    return found
