"""Lines for a whole-screen view: text with styles, cut or filled up to a width."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.text import Span, Text

from qtctl.cli.live.selection import Window
from qtctl.cli.output import Fields, Rows, tables
from qtctl.cli.output.columns import Column
from qtctl.cli.output.layout import GAP, squeeze
from qtctl.text import escape

MARGIN = 2 * GAP
"""Blanks between two blocks."""
MARK, NO_MARK = "> ", "  "
_LEAST_VALUE = 20
"""A value beside its title gets at least so many cells, or stands below it."""


def fitted(line: Text, width: int) -> Text:
    """Exactly `width` cells: cut with `…`, or filled up with blanks."""
    line.truncate(width, overflow="ellipsis", pad=True)
    return line


def ansi(line: Text, colour: bool) -> str:
    """As a terminal takes it; without colour bold, dim and reverse stay."""
    whole = [Span(0, len(line.plain), line.style)] if line.style else []
    return _ansi(line.plain, (*whole, *line.spans), colour)


@lru_cache(maxsize=2048)
def _ansi(plain: str, spans: tuple[Span, ...], colour: bool) -> str:
    """Most lines of a screen are as they were."""
    out = []
    for part in Text(plain, spans=list(spans), end="").render(_terminal()):
        look = part.style or Style.null()
        look = look if colour else look.without_color
        out.append(look.render(part.text, color_system=ColorSystem.STANDARD))
    return "".join(out)


@cache
def _terminal() -> Console:
    return Console(force_terminal=True)


def wrapped(text: str, width: int, style: str = "") -> list[Text]:
    """Text from anywhere, escaped, broken between its words where that is possible."""
    lines = Text(escape(text), style).wrap(_terminal(), max(1, width))
    return [*lines] or [Text()]


def table(
    rows: Sequence[Any], columns: Sequence[Column], width: int, utc: bool, *, folded: bool = False
) -> list[Text]:
    """A header and a line for each row; columns without room are left out, as in every table.
    folded: prose is broken over lines, else it is cut."""
    titles = [column.title for column in columns]
    lines = [titles, *([column.cell(row, utc) for column in columns] for row in rows)]
    fit = squeeze(columns, tables.line_widths(columns, lines), width)
    kept = [columns[i] for i in fit.kept]
    styles = [["bold"] * len(kept), *([c.style_of(row) for c in kept] for row in rows)]
    out = []
    for cells, style in zip(lines, styles, strict=True):
        parts = [
            _broken(cells[i], wide, folded) for i, wide in zip(fit.kept, fit.widths, strict=True)
        ]
        for line in zip_longest(*parts, fillvalue=""):
            out.append(_aligned(kept, fit.widths, line, style))
    return out


def _aligned(
    columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str], styles: Sequence[str]
) -> Text:
    """One line of cells in their styles, without blanks at its end."""
    line = Text()
    for column, width, cell, style in zip(columns, widths, cells, styles, strict=True):
        blanks = " " * (width - cell_len(cell))
        line.append(blanks + cell if column.right else cell + blanks, style)
        line.append(" " * GAP)
    line.rstrip()
    return line


def _broken(cell: str, width: int, folded: bool) -> list[str]:
    """A cell in lines of at most that width."""
    if cell_len(cell) <= width:
        return [cell]
    if folded:
        return [line.plain.rstrip() for line in wrapped(cell, width)]
    return [fitted(Text(cell), width).plain]


def listed(
    shown: Window, columns: Sequence[Column], sorted_by: Column | None, arrow: str,
    width: int, utc: bool,
) -> list[Text]:  # fmt: skip
    """The table of a list: `>` and reverse video mark the selected row, an arrow the column that it
    is sorted by."""
    by = None if sorted_by is None else sorted_by.title
    titled = [
        replace(each, title=f"{each.title} {arrow}") if each.title == by else each
        for each in columns
    ]
    lines = table(shown.rows, titled, width - len(MARK), utc)
    out = []
    for place, line in enumerate(lines, -1):
        is_selected = place == shown.selected
        line = fitted(Text.assemble(MARK if is_selected else NO_MARK, line), width)
        # One bar: in reverse video a green word would be a green block.
        out.append(Text(line.plain, "reverse") if is_selected else line)
    return out


def fields(record: Any, columns: Sequence[Column], width: int, utc: bool) -> list[Text]:
    """A line or more for each column: its title, then its value."""
    titles = max((cell_len(column.title) for column in columns), default=0) + GAP
    below = width - titles < _LEAST_VALUE
    lines = []
    for column in columns:
        value, style = column.cell(record, utc), column.style_of(record)
        if below:
            lines += [Text(column.title, "bold"), *wrapped(value, width, style)]
            continue
        for place, part in enumerate(wrapped(value, width - titles, style)):
            title = Text("" if place else column.title, "bold")
            lines.append(Text.assemble(fitted(title, titles), part))
    return lines


def page(record: Any, parts: Sequence[Fields | Rows], width: int, utc: bool) -> list[Text]:
    """The parts of an object's page below each other, as the commands print them."""
    lines: list[Text] = []
    for part in parts:
        if isinstance(part, Rows) and not part.rows:
            continue
        if lines:
            lines.append(Text())
        if part.title:
            lines.append(Text(part.title, "bold underline"))
        if isinstance(part, Rows):
            lines += table(part.rows, part.columns, width, utc, folded=True)
        else:
            lines += fields(record, part.columns, width, utc)
    return lines


def beside(left: Sequence[Text], width: int, right: Sequence[Text]) -> list[Text]:
    """Two blocks side by side, the left one `width` cells wide."""
    return [
        Text.assemble(fitted(first or Text(), width), " " * MARGIN, second or Text())
        for first, second in zip_longest(left, right)
    ]


def labelled(title: str, value: str, style: str = "", width: int = 13) -> Text:
    """A bold title and a value from anywhere, escaped."""
    return Text.assemble((f"{escape(title):<{width}}", "bold"), (escape(value), style))


def dimmed(lines: Sequence[Text]) -> list[Text]:
    """What is old."""
    for line in lines:
        line.stylize("dim")
    return list(lines)
