"""Tables for a terminal (rich) and for a pipe (plain lines)."""

import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from qtctl.cli.framework.context import Context
from qtctl.cli.output.columns import Column, text
from qtctl.cli.output.layout import GAP, fit

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


_PLAIN = text("", "")
LONG = 1000
"""Rows above this are printed as a stream is: rich takes 1.5 ms to lay out a row of a table."""


def on_terminal(ctx: Context) -> bool:
    """Whether stdout is a terminal that can do more than print lines."""
    return sys.stdout.isatty() and ctx.environ.get("TERM", "") not in ("dumb", "unknown")


def terminal_width() -> int:
    """Cells of a line; 80 where the terminal does not say."""
    return shutil.get_terminal_size(fallback=(80, 24)).columns


def console(ctx: Context) -> "Console":
    """A rich console on stdout that takes nothing for markup and adds no highlights."""
    from rich.console import Console

    return Console(
        file=sys.stdout,
        width=terminal_width(),
        force_terminal=True,
        no_color=bool(ctx.environ.get("NO_COLOR")),
        markup=False,
        highlight=False,
        emoji=False,
    )


def print_table(ctx: Context, rows: Sequence[Any], columns: Sequence[Column]) -> None:
    """Rows below a header line; on a terminal too narrow for that, a card for each row."""
    cells = [[column.cell(row, ctx.utc) for column in columns] for row in rows]
    if not on_terminal(ctx):
        lines = [[column.title for column in columns], *cells]
        widths = line_widths(columns, lines)
        for line in lines:
            print_line(None, columns, widths, line, ())
        return
    # A title may be broken between its words.
    words = [max(column.title.split(" "), key=cells_of) for column in columns]
    fitted = fit(columns, line_widths(columns, [words, *cells]), terminal_width())
    if fitted is None:
        for index, row in enumerate(rows):
            if index:
                sys.stdout.write("\n")
            print_fields(ctx, row, columns)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    kept = [columns[i] for i in fitted.kept]
    # The box's own divider is one blank, the padding the other.
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        header_style="bold",
    )
    for column, width in zip(kept, fitted.widths, strict=True):
        side: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(Text(column.title), justify=side, overflow="fold", width=width)
    for row in rows:
        table.add_row(*(Text(c.cell(row, ctx.utc), c.style_of(row)) for c in kept))
    console(ctx).print(table)
    name_hidden(ctx, columns, kept)


def print_fields(
    ctx: Context, record: Any, columns: Sequence[Column], unbroken: bool = False
) -> None:
    """One object, a line for each column: its title, then its value."""
    titles = [column.title for column in columns]
    cells = [column.cell(record, ctx.utc) for column in columns]
    styles = [column.style_of(record) for column in columns]
    terminal = console(ctx) if on_terminal(ctx) else None
    if terminal is None or unbroken:
        widths = (max(map(cells_of, titles), default=0), 0)
        for title, cell, style in zip(titles, cells, styles, strict=True):
            print_line(terminal, (_PLAIN, _PLAIN), widths, (title, cell), ("bold", style))
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, GAP, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for title, cell, style in zip(titles, cells, styles, strict=True):
        grid.add_row(Text(title, "bold"), Text(cell, style))
    terminal.print(grid)


def print_title(ctx: Context, title: str) -> None:
    """A line above a part of a longer output."""
    if on_terminal(ctx):
        from rich.text import Text

        console(ctx).print(Text(title, "bold underline"))
    else:
        sys.stdout.write(f"{title}\n")


def name_hidden(ctx: Context, columns: Sequence[Column], kept: Sequence[Column]) -> None:
    """Name the columns that are not shown, so that nobody takes them for absent."""
    left_out = [column.title for column in columns if column not in kept]
    if left_out:
        ctx.say(f"Hidden columns: {', '.join(left_out)} (-o json has everything)")


def line_widths(columns: Sequence[Column], lines: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column of plain lines, headers included."""
    return [
        max(column.width, *(cells_of(line[i]) for line in lines))
        for i, column in enumerate(columns)
    ]


def print_line(
    terminal: "Console | None",
    columns: Sequence[Column],
    widths: Sequence[int],
    cells: Sequence[str],
    styles: Sequence[str],
) -> None:
    """One line of a stream; where it is longer than the terminal, the terminal wraps it."""
    if terminal is None:
        padded = (
            _pad(cell, width, right=column.right)
            for column, width, cell in zip(columns, widths, cells, strict=True)
        )
        sys.stdout.write((" " * GAP).join(padded).rstrip(" ") + "\n")
        return
    terminal.print(styled_line(columns, widths, cells, styles), soft_wrap=True)


def styled_line(
    columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str], styles: Sequence[str]
) -> "Text":
    """One line of aligned cells in their styles, without blanks at its end."""
    from rich.text import Text

    line = Text()
    for column, width, cell, style in zip(columns, widths, cells, styles, strict=True):
        line.append(_pad(cell, width, right=column.right), style)
        line.append(" " * GAP)
    line.rstrip()
    return line


def cells_of(shown: str) -> int:
    """Cells of a terminal that something shown takes; wide characters take two."""
    if shown.isascii():
        return len(shown)
    from rich.cells import cell_len

    return cell_len(shown)


def _pad(cell: str, width: int, right: bool = False) -> str:
    blanks = " " * (width - cells_of(cell))
    return blanks + cell if right else cell + blanks
