"""Lines for a whole-screen view: text with styles, cut or filled up to a width."""

from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from typing import Any

from rich.console import Console
from rich.text import Text

from qtctl.cli.output import tables
from qtctl.cli.output.columns import Column
from qtctl.cli.output.layout import GAP, squeeze

MARGIN = 2 * GAP
"""Blanks between two blocks."""


def fitted(line: Text, width: int) -> Text:
    """Exactly `width` cells: cut with `…`, or filled up with blanks."""
    line.truncate(width, overflow="ellipsis", pad=True)
    return line


def ansi(line: Text, colour: bool) -> str:
    """As a terminal takes it; without colour bold and reverse stay."""
    terminal = _terminal(colour)
    with terminal.capture() as captured:
        terminal.print(line, end="", soft_wrap=True)
    return captured.get()


@cache
def _terminal(colour: bool) -> Console:
    return Console(force_terminal=True, color_system="standard", no_color=not colour)


def table(rows: Sequence[Any], columns: Sequence[Column], width: int, utc: bool) -> list[Text]:
    """A header and a line for each row; columns without room are left out, as in every table."""
    titles = [column.title for column in columns]
    lines = [titles, *([column.cell(row, utc) for column in columns] for row in rows)]
    fit = squeeze(columns, tables.line_widths(columns, lines), width)
    styles = [["bold"] * len(columns), *([c.style_of(row) for c in columns] for row in rows)]
    return [
        tables.styled_line(
            [columns[i] for i in fit.kept],
            fit.widths,
            [cells[i] for i in fit.kept],
            [style[i] for i in fit.kept],
        )
        for cells, style in zip(lines, styles, strict=True)
    ]


def beside(left: Sequence[Text], width: int, right: Sequence[Text]) -> list[Text]:
    """Two blocks side by side, the left one `width` cells wide."""
    return [
        Text.assemble(fitted(first or Text(), width), " " * MARGIN, second or Text())
        for first, second in zip_longest(left, right)
    ]
