"""Tables for a terminal and for a pipe (plain lines)."""

import shutil
import sys
from collections.abc import Callable, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.cli.output.columns import Column
from qtctl.cli.output.layout import GAP, Narrowed, fit
from qtctl.cli.output.wrapping import broken, cells_of, halved, least_width


def on_terminal(ctx: Context) -> bool:
    """Whether stdout is a terminal that can do more than print lines."""
    return sys.stdout.isatty() and ctx.environ.get("TERM", "") not in ("dumb", "unknown")


def terminal_width() -> int:
    """Cells of a line; 80 where the terminal does not say."""
    return shutil.get_terminal_size(fallback=(80, 24)).columns


def print_table(
    ctx: Context, rows: Sequence[Any], columns: Sequence[Column], *, wide: bool = False
) -> None:
    """Rows below a header line; on a terminal too narrow for that, a card for each row. wide: all
    columns in one line, however long."""
    cells = [[column.cell(row, ctx.utc) for column in columns] for row in rows]
    titles = [column.title for column in columns]
    if wide or not on_terminal(ctx):
        grid = Grid(ctx, columns, line_widths(columns, [titles, *cells]), wraps=False)
        grid.header(rule=on_terminal(ctx))
        for row, line in zip(rows, cells, strict=True):
            grid.row(row, line)
        return
    fitted = fit(columns, line_widths(columns, [titles, *cells]), terminal_width())
    if fitted is None or len(fitted.kept) < len(columns):
        # A title may be broken between its words.
        lines = [[max(title.split(" "), key=cells_of) for title in titles], *cells]
        widths = line_widths(columns, lines)
        fitted = fit(columns, widths, terminal_width(), narrowed(lines))
    if fitted is None:
        for index, row in enumerate(rows):
            if index:
                sys.stdout.write("\n")
            print_fields(ctx, row, columns)
        return
    kept = [columns[i] for i in fitted.kept]
    grid = Grid(ctx, kept, fitted.widths)
    grid.header(rule=True)
    for row, line in zip(rows, cells, strict=True):
        grid.row(row, [line[i] for i in fitted.kept])
    name_hidden(ctx, columns, kept)


class Grid:
    """Aligned lines of cells in their styles, without blanks at their ends. wraps: what is wider
    than a column that allows it goes on in the next line; else it pushes its line."""

    def __init__(
        self, ctx: Context, columns: Sequence[Column], widths: Sequence[int], *, wraps: bool = True
    ) -> None:
        self._columns = columns
        self._widths = widths
        self._wraps = wraps
        self._paint = painter(ctx)

    def header(self, *, rule: bool = False) -> None:
        """The titles, and a line below them."""
        titles = [column.title for column in self._columns]
        broken_ = zip(titles, self._widths, strict=True)
        self._write([broken(title, width) for title, width in broken_], ["bold"] * len(titles))
        if rule:
            encoding = (sys.stdout.encoding or "").lower()
            width = sum(self._widths) + GAP * (len(self._widths) - 1)
            sys.stdout.write(("─" if encoding.startswith("utf") else "-") * width + "\n")

    def row(self, row: Any, cells: Sequence[str]) -> None:
        """One row of which these are the cells."""
        lines = [
            _lines(column, cell, width) if self._wraps else [cell]
            for column, cell, width in zip(self._columns, cells, self._widths, strict=True)
        ]
        self._write(lines, [column.style_of(row) for column in self._columns])

    def _write(self, cells: Sequence[Sequence[str]], styles: Sequence[str]) -> None:
        for parts in zip_longest(*cells, fillvalue=""):
            line, blanks = "", ""
            for column, width, part, style in zip(
                self._columns, self._widths, parts, styles, strict=True
            ):
                padding = " " * (width - cells_of(part))
                before, behind = (padding, "") if column.right else ("", padding)
                blanks += before
                if part:
                    line += blanks + self._paint(part, style)
                    blanks = ""
                blanks += behind + " " * GAP
            sys.stdout.write(f"{line}\n")


def _lines(column: Column, cell: str, width: int) -> list[str]:
    if column.wrap == "id":
        return halved(cell, width)
    return broken(cell, width) if column.fold or column.wrap else [cell]


def painter(ctx: Context) -> Callable[[str, str], str]:
    """What puts a text into a style, as the terminal takes it; plain where stdout is none."""
    if not on_terminal(ctx):
        return lambda text, style: text
    from rich.color import ColorSystem
    from rich.style import Style

    no_color = bool(ctx.environ.get("NO_COLOR"))

    @cache
    def parsed(style: str) -> Style:
        found = Style.parse(style)
        return found.without_color if no_color else found

    def paint(text: str, style: str) -> str:
        return parsed(style).render(text, color_system=ColorSystem.STANDARD) if style else text

    return paint


def print_fields(
    ctx: Context, record: Any, columns: Sequence[Column], unbroken: bool = False
) -> None:
    """One object, a line for each column: its title, then its value."""
    paint = painter(ctx)
    first = max((cells_of(column.title) for column in columns), default=0)
    width = max(terminal_width() - first - GAP, 1)
    for column in columns:
        cell = column.cell(record, ctx.utc)
        lines = [cell] if unbroken or not on_terminal(ctx) else broken(cell, width)
        title = column.title
        for line in lines:
            blanks = " " * (first - cells_of(title) + GAP)
            shown = f"{paint(title, 'bold')}{blanks}{paint(line, column.style_of(record))}"
            sys.stdout.write(f"{shown.rstrip(' ')}\n")
            title = ""


def print_title(ctx: Context, title: str) -> None:
    """A line above a part of a longer output."""
    paint = painter(ctx)
    for part in broken(title, terminal_width()) if on_terminal(ctx) else [title]:
        sys.stdout.write(f"{paint(part, 'bold underline')}\n")


def name_hidden(ctx: Context, columns: Sequence[Column], kept: Sequence[Column]) -> None:
    """Name the columns that are not shown, so that nobody takes them for absent."""
    left_out = [column.title for column in columns if column not in kept]
    if left_out:
        where = "--wide shows them, -o json" if ctx.listing.offered else "-o json"
        ctx.say(f"Hidden columns: {', '.join(left_out)} ({where} has everything)")


def narrowed(lines: Sequence[Sequence[str]]) -> Narrowed:
    """How narrow each column of these lines can be, for `fit`."""
    return lambda column, most: least_width((line[column] for line in lines), most)


def line_widths(columns: Sequence[Column], lines: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column of plain lines, headers included."""
    return [
        max(column.width, *(cells_of(line[i]) for line in lines))
        for i, column in enumerate(columns)
    ]
