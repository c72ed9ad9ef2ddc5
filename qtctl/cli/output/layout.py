"""Which columns a table has room for, and how wide each is. Pure arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass

from qtctl.cli.output.columns import Column

GAP = 2
"""Blanks between columns."""
_FOLDED = 16
"""A column that may fold keeps at least this much."""


@dataclass(frozen=True)
class Fit:
    """`kept` are indices of columns, `widths` their widths in the same order."""

    kept: tuple[int, ...]
    widths: tuple[int, ...]


def fit(columns: Sequence[Column], natural: Sequence[int], limit: int) -> Fit | None:
    """Fit columns of `natural` widths into `limit` cells: those that may fold give way, then the
    least important are left out. None where that is not enough: the rest is never broken."""
    floor = [
        min(width, max(_FOLDED, column.width)) if column.fold else width
        for column, width in zip(columns, natural, strict=True)
    ]
    kept = list(range(len(columns)))
    while _total(floor, kept) > limit and any(columns[i].drop for i in kept):
        kept.remove(max(kept, key=lambda i: (columns[i].drop, i)))
    width_left = limit - _total(floor, kept)
    if width_left < 0:
        return None
    widths = []
    for i in kept:
        more = min(natural[i] - floor[i], width_left)
        widths.append(floor[i] + more)
        width_left -= more
    return Fit(tuple(kept), tuple(widths))


def squeeze(columns: Sequence[Column], natural: Sequence[int], limit: int) -> Fit:
    """Fit columns where rows can't take another form: at worst the important ones overflow."""
    important = tuple(i for i, column in enumerate(columns) if not column.drop)
    return fit(columns, natural, limit) or Fit(important, tuple(natural[i] for i in important))


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[i] for i in kept) + GAP * max(0, len(kept) - 1)
