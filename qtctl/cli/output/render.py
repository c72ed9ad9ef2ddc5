"""All output of data: a command hands over rows or a record, and knows no formats.

JSON has the rows as they are: mappings, dataclasses or structs with the field names of the wire.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.cli.output import tables
from qtctl.cli.output.columns import Column
from qtctl.cli.output.layout import squeeze
from qtctl.errors import UsageError
from qtctl.text import INVISIBLE


@dataclass(frozen=True, slots=True)
class Fields:
    """A part of an object's page: a line for each column. unbroken: long lines are left to the
    terminal to wrap, so that they can be copied; joined: without a blank line before them."""

    columns: Sequence[Column]
    title: str = ""
    unbroken: bool = False
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """A part of an object's page: a table."""

    rows: Sequence[Any]
    columns: Sequence[Column]
    title: str = ""


def emit(
    ctx: Context,
    rows: Iterable[Any],
    columns: Sequence[Column],
    *,
    empty: str = "",
    as_json: Callable[[Any], Any] | None = None,
) -> None:
    """Print a list of rows; `empty` is for stderr where a table has none, and `as_json` gives
    the JSON object of a row where that is not the row itself."""
    if ctx.output == "table":
        listed = list(rows)
        if len(listed) > tables.LONG:
            Stream(ctx, columns).write(listed)
        elif listed:
            tables.print_table(ctx, listed, columns)
        elif empty:
            ctx.say(empty)
        return
    lines = (to_json(as_json(row) if as_json else row) for row in rows)
    if ctx.output == "ndjson":
        sys.stdout.writelines(f"{line}\n" for line in lines)
        return
    lead = "["
    for line in lines:
        sys.stdout.write(f"{lead}\n{line}")
        lead = ","
    sys.stdout.write("[]\n" if lead == "[" else "\n]\n")


def emit_one(ctx: Context, record: Any, *parts: Fields | Rows, as_json: Any = None) -> None:
    """Print one object: JSON has `record` (or `as_json`), a page has the parts below each other."""
    if ctx.output != "table":
        line = to_json(record if as_json is None else as_json, indent=ctx.output == "json")
        sys.stdout.write(f"{line}\n")
        return
    first = True
    for part in parts:
        if isinstance(part, Rows) and not part.rows:
            continue
        if not first and not (isinstance(part, Fields) and part.joined):
            sys.stdout.write("\n")
        first = False
        if part.title:
            tables.print_title(ctx, part.title)
        if isinstance(part, Rows):
            tables.print_table(ctx, part.rows, part.columns)
        else:
            tables.print_fields(ctx, record, part.columns, part.unbroken)


def to_json(value: Any, *, indent: bool = False) -> str:
    """JSON of one value: non-ASCII as it is, all that could steer a terminal as `\\u…`; NaN and
    infinities, which JSON lacks, are null."""
    import msgspec

    try:
        raw = msgspec.json.encode(value)
    except UnicodeEncodeError:
        # A lone surrogate, from a bad byte in the environment or an argument.
        import json

        raw = json.dumps(msgspec.to_builtins(value)).encode()
    text = (msgspec.json.format(raw, indent=2) if indent else raw).decode()
    # Legal in JSON, but a terminal may act on it, and a person sees nothing of it. All of it stands
    # in strings, where \\u means the same.
    return INVISIBLE.sub(_unicode_escape, text)


def _unicode_escape(match: "re.Match[str]") -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


class Stream:
    """Rows as they come (`tail -f`): one header, then line by line, each batch flushed. The
    first batch sets the widths; a longer value later pushes its line, and nothing is cut."""

    def __init__(self, ctx: Context, columns: Sequence[Column]) -> None:
        if ctx.output == "json":
            raise UsageError("--output json can't follow, since a list has an end: use ndjson")
        self._ctx = ctx
        self._columns = tuple(columns)
        self._widths: Sequence[int] = ()
        self._terminal = tables.console(ctx) if tables.on_terminal(ctx) else None

    def write(self, rows: Iterable[Any]) -> None:
        """Print a batch, which may be empty."""
        listed = list(rows)
        if not listed:
            return
        if self._ctx.output == "ndjson":
            sys.stdout.writelines(f"{to_json(row)}\n" for row in listed)
        else:
            if not self._widths:
                self._begin(listed)
            for row in listed:
                self._line(self._cells(row), [column.style_of(row) for column in self._columns])
        sys.stdout.flush()

    def _begin(self, rows: Sequence[Any]) -> None:
        titles = [column.title for column in self._columns]
        natural = tables.line_widths(self._columns, [titles, *(self._cells(row) for row in rows)])
        self._widths = natural
        if self._terminal is not None:
            fitted = squeeze(self._columns, natural, tables.terminal_width())
            kept = tuple(self._columns[i] for i in fitted.kept)
            tables.name_hidden(self._ctx, self._columns, kept)
            self._columns, self._widths = kept, fitted.widths
        self._line([column.title for column in self._columns], ["bold"] * len(self._columns))

    def _cells(self, row: Any) -> list[str]:
        return [column.cell(row, self._ctx.utc) for column in self._columns]

    def _line(self, cells: Sequence[str], styles: Sequence[str]) -> None:
        tables.print_line(self._terminal, self._columns, self._widths, cells, styles)
