"""Which columns a table has room for, and how wide each is. Pure arithmetic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qtctl.cli.output.columns import Column

GAP = 2
"""Blanks between columns."""
_FOLDED = 16
"""A column that may fold keeps at least this much."""
_ID = 12
"""An id that goes on in the next line has at least this much in each."""
_LINES = 8
"""Lines of one row, at most."""


@dataclass(frozen=True)
class Fit:
    """`kept` are indices of columns, `widths` their widths in the same order."""

    kept: tuple[int, ...]
    widths: tuple[int, ...]


Narrowed = Callable[[int, int], int]
"""From the index of a column that wraps words, and a number of lines, to the least width at which
each of its values takes so many lines at most."""


def fit(
    columns: Sequence[Column],
    natural: Sequence[int],
    limit: int,
    narrowed: Narrowed | None = None,
) -> Fit | None:
    """Fit columns of `natural` widths into `limit` cells: those that may fold give way, then the
    least important are left out, then, with `narrowed`, values go on in the next line where their
    column allows that. None where all that is not enough: the rest is never broken."""
    floor = [
        min(width, max(_FOLDED, column.width)) if column.fold else width
        for column, width in zip(columns, natural, strict=True)
    ]
    kept = list(range(len(columns)))
    while _total(floor, kept) > limit and any(columns[i].drop for i in kept):
        kept.remove(max(kept, key=lambda i: (columns[i].drop, i)))
    for lines in range(2, _LINES + 1):
        if narrowed is None or _total(floor, kept) <= limit:
            break
        for i in kept:
            if columns[i].wrap == "id":
                floor[i] = max(min(natural[i], _ID), -(-natural[i] // lines))
            elif columns[i].wrap == "words":
                floor[i] = min(floor[i], max(narrowed(i, lines), 1))
    width_left = limit - _total(floor, kept)
    if width_left < 0:
        return None
    widths = []
    for i in kept:
        more = min(natural[i] - floor[i], width_left) if columns[i].fold else 0
        widths.append(floor[i] + more)
        width_left -= more
    return Fit(tuple(kept), tuple(widths))


def squeeze(
    columns: Sequence[Column],
    natural: Sequence[int],
    limit: int,
    narrowed: Narrowed | None = None,
) -> Fit:
    """Fit columns where rows can't take another form: at worst the important ones overflow."""
    important = tuple(i for i, column in enumerate(columns) if not column.drop)
    fitted = fit(columns, natural, limit, narrowed)
    return fitted or Fit(important, tuple(natural[i] for i in important))


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[i] for i in kept) + GAP * max(0, len(kept) - 1)
