"""Breaking what is too long for its column over several lines. Nothing is cut: the lines put
together, with the blanks that stood where they were broken, are the whole."""

import re
from collections.abc import Iterable, Iterator

_PIECES = re.compile(r"\S+(?:\s+|$)|\s+")
_LOOKED_AT = 50
"""Values of a column that its width is tried with, the longest: it decides how it looks only."""
_PARTS = re.compile(r".+?(?:_+|$)")


def cells_of(shown: str) -> int:
    """Cells of a terminal that something shown takes; wide characters take two."""
    if shown.isascii():
        return len(shown)
    from rich.cells import cell_len

    return cell_len(shown)


def broken(shown: str, width: int) -> list[str]:
    """Lines of at most `width` cells: broken behind blanks, else behind `_`, else anywhere."""
    if cells_of(shown) <= width:
        return [shown]
    lines = [""]
    for piece in _pieces(shown, width):
        if cells_of(lines[-1] + piece.rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def halved(shown: str, width: int) -> list[str]:
    """Lines of at most `width` cells, as few as possible and about as long as each other."""
    cells = cells_of(shown)
    if cells <= width:
        return [shown]
    count = -(-cells // width)
    for parts in range(count, cells + 1):
        lines = list(_runs(shown, -(-cells // parts)))
        if all(cells_of(line) <= width for line in lines):
            return lines
    return list(_runs(shown, width))


def least_width(cells: Iterable[str], lines: int) -> int:
    """The least width at which `broken` makes each of these at most so many lines, without ever
    breaking a word that has no `_`."""
    longest = sorted(set(cells), key=cells_of)[-_LOOKED_AT:]
    widest = cells_of(longest[-1]) if longest else 0
    width = max((_longest_part(cell) for cell in longest), default=0)
    while width < widest and any(len(broken(cell, width)) > lines for cell in longest):
        width += 1
    return width


def _longest_part(shown: str) -> int:
    return max(
        (cells_of(part) for piece in _PIECES.findall(shown) for part in _parts(piece.rstrip())),
        default=0,
    )


def _pieces(shown: str, width: int) -> Iterator[str]:
    for piece in _PIECES.findall(shown):
        if cells_of(piece.rstrip()) <= width:
            yield piece
            continue
        for part in _parts(piece):
            if cells_of(part.rstrip()) <= width:
                yield part
            else:
                yield from _runs(part, width)


def _parts(piece: str) -> list[str]:
    return _PARTS.findall(piece)


def _runs(shown: str, width: int) -> Iterator[str]:
    """Pieces of at most `width` cells, or of one character that is wider."""
    line = ""
    for char in shown:
        if line and cells_of(line + char) > width:
            yield line
            line = ""
        line += char
    if line:
        yield line
