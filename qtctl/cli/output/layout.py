"""Which columns a table has room for, and how wide each is. Pure arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass

from qtctl.cli.output.columns import Column

GAP = 2
"""Blanks between columns."""
_FOLDED = 16
"""A column that may fold keeps at least this much."""
_ID = 12
"""An id that goes on in the next line has at least this much in each."""


@dataclass(frozen=True)
class Fit:
    """`kept` are indices of columns, `widths` their widths in the same order."""

    kept: tuple[int, ...]
    widths: tuple[int, ...]


def fit(
    columns: Sequence[Column],
    natural: Sequence[int],
    limit: int,
    parts: Sequence[int] | None = None,
) -> Fit | None:
    """Fit columns of `natural` widths into `limit` cells: those that may fold give way, then the
    least important are left out, then, with `parts` (the longest piece of each column that stays
    whole), values go on in the next line where their column allows that. None where all that is not
    enough: the rest is never broken."""
    floor = [
        min(width, max(_FOLDED, column.width)) if column.fold else width
        for column, width in zip(columns, natural, strict=True)
    ]
    kept = list(range(len(columns)))
    while _total(floor, kept) > limit and any(columns[i].drop for i in kept):
        kept.remove(max(kept, key=lambda i: (columns[i].drop, i)))
    if _total(floor, kept) > limit and parts is not None:
        return _wrapped(columns, natural, floor, limit, kept, parts)
    width_left = limit - _total(floor, kept)
    if width_left < 0:
        return None
    widths = []
    for i in kept:
        more = min(natural[i] - floor[i], width_left)
        widths.append(floor[i] + more)
        width_left -= more
    return Fit(tuple(kept), tuple(widths))


def _wrapped(
    columns: Sequence[Column],
    natural: Sequence[int],
    folded: Sequence[int],
    limit: int,
    kept: Sequence[int],
    parts: Sequence[int],
) -> Fit | None:
    """The narrowest widths, and what is left of the line to ids first, then to words."""
    least = {"": folded, "words": parts, "id": [min(width, _ID) for width in natural]}
    widths = {i: min(folded[i], max(least[columns[i].wrap][i], 1)) for i in kept}
    width_left = limit - _total(widths, kept)
    if width_left < 0:
        return None
    for i in sorted(kept, key=lambda i: ("id", "words", "").index(columns[i].wrap)):
        # An id in as few lines as there is room for; what does not make it fewer helps others.
        lines = 1
        while columns[i].wrap == "id" and -(-natural[i] // lines) > widths[i] + width_left:
            lines += 1
        wanted = max(widths[i], -(-natural[i] // lines))
        more = min(wanted - widths[i], width_left)
        widths[i] += more
        width_left -= more
    return Fit(tuple(kept), tuple(widths[i] for i in kept))


def squeeze(
    columns: Sequence[Column],
    natural: Sequence[int],
    limit: int,
    parts: Sequence[int] | None = None,
) -> Fit:
    """Fit columns where rows can't take another form: at worst the important ones overflow."""
    important = tuple(i for i, column in enumerate(columns) if not column.drop)
    fitted = fit(columns, natural, limit, parts)
    return fitted or Fit(important, tuple(natural[i] for i in important))


def _total(widths: Sequence[int] | dict[int, int], kept: Sequence[int]) -> int:
    return sum(widths[i] for i in kept) + GAP * max(0, len(kept) - 1)
