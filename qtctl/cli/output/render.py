"""All output of data: a command hands over rows or a record, and knows no formats.

JSON has the rows as they are: mappings, dataclasses or structs with the field names of the wire.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.cli.framework.prose import fitted
from qtctl.cli.output import csv, tables
from qtctl.cli.output.columns import Column
from qtctl.cli.output.layout import squeeze
from qtctl.cli.output.listed import Listed, as_listed
from qtctl.errors import UsageError
from qtctl.text import INVISIBLE, escape


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
    columns: Sequence[Column] | Listed,
    *,
    empty: str = "",
    as_json: Callable[[Any], Any] | None = None,
) -> None:
    """Print a list of rows: those that the options of lists ask for, read no further than that.
    `empty` is for stderr where a table has none, and `as_json` gives the JSON object of a row where
    that is not the row itself."""
    listed = as_listed(columns)
    selection = listed.select(rows, ctx.listing)
    shown = listed.shown(ctx.listing)
    if ctx.output == "table":
        found = list(selection.rows)
        if found:
            tables.print_table(ctx, found, shown, wide=ctx.listing.wide)
        elif empty:
            ctx.say(empty)
    elif ctx.output == "csv":
        csv.Writer(shown).write(selection.rows)
    else:
        picked = shown if ctx.listing.columns else ()
        _print_json(ctx, (to_record(ctx, row, picked, as_json) for row in selection.rows))
    if selection.more and ctx.listing.default_limit:
        limit = ctx.listing.limit or 0
        ctx.say(f"The first {limit:,}; there are more: -n {limit * 5} or -n all shows them.")


def _print_json(ctx: Context, records: Iterable[Any]) -> None:
    lines = map(to_json, records)
    if ctx.output == "ndjson":
        sys.stdout.writelines(f"{line}\n" for line in lines)
        return
    lead = "["
    for line in lines:
        sys.stdout.write(f"{lead}\n{line}")
        lead = ","
    sys.stdout.write("[]\n" if lead == "[" else "\n]\n")


def to_record(
    ctx: Context,
    row: Any,
    picked: Sequence[Column] = (),
    as_json: Callable[[Any], Any] | None = None,
) -> Any:
    """What JSON has of a row; of picked columns their raw values only."""
    record = as_json(row) if as_json else row
    if picked:
        known = record if isinstance(record, Mapping) else {}
        record = {it.name: known[it.name] if it.name in known else it.value(row) for it in picked}
    if not ctx.numbers:
        return record
    from qtctl.cli.output.wire_numbers import as_numbers

    return as_numbers(record)


def emit_one(ctx: Context, record: Any, *parts: Fields | Rows, as_json: Any = None) -> None:
    """Print one object: JSON has `record` (or `as_json`), a page has the parts below each other."""
    if ctx.output != "table":
        whole = to_record(ctx, record if as_json is None else as_json)
        line = to_json(whole, indent=ctx.output == "json")
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


def emit_line(ctx: Context, record: Any, line: str) -> None:
    """Print what was done: JSON has `record`, else it is the line, which is escaped here."""
    if ctx.output == "table":
        sys.stdout.write(f"{fitted(escape(line), sys.stdout)}\n")
    else:
        emit_one(ctx, record)


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
    return re.sub(INVISIBLE, _unicode_escape, text)


def _unicode_escape(match: "re.Match[str]") -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


class Stream:
    """Rows as they come (`tail -f`): one header, then line by line, each batch flushed. The
    first batch sets the widths; a longer value later goes on in the next line on a terminal, if its
    column allows that, and else pushes its line: nothing is cut."""

    def __init__(self, ctx: Context, columns: Sequence[Column] | Listed) -> None:
        if ctx.output == "json":
            raise UsageError("--output json can't follow, since a list has an end: use ndjson")
        self._ctx = ctx
        self._listed = as_listed(columns)
        self._wanted = self._listed.matches(ctx.listing)
        self._columns = self._listed.shown(ctx.listing)
        self._csv = csv.Writer(self._columns)
        self._grid: tables.Grid | None = None

    def write(self, rows: Iterable[Any]) -> None:
        """Print those of a batch that are wanted."""
        found = list(filter(self._wanted, rows))
        if not found:
            return
        if self._ctx.output == "ndjson":
            picked = self._columns if self._ctx.listing.columns else ()
            _print_json(self._ctx, (to_record(self._ctx, row, picked) for row in found))
        elif self._ctx.output == "csv":
            self._csv.write(found)
        else:
            self._print(found)
        sys.stdout.flush()

    def _print(self, rows: Sequence[Any]) -> None:
        if self._grid is None:
            self._grid = self._begin(rows)
        for row in rows:
            self._grid.row(row, self._cells(row))

    def _begin(self, rows: Sequence[Any]) -> tables.Grid:
        titles = [column.title for column in self._columns]
        lines = [titles, *(self._cells(row) for row in rows)]
        widths: Sequence[int] = tables.line_widths(self._columns, lines)
        wraps = tables.on_terminal(self._ctx) and not self._ctx.listing.wide
        if wraps:
            narrowed = tables.narrowed(lines)
            fitted = squeeze(self._columns, widths, tables.terminal_width(), narrowed)
            kept = tuple(self._columns[i] for i in fitted.kept)
            tables.name_hidden(self._ctx, self._columns, kept)
            self._columns, widths = kept, fitted.widths
        grid = tables.Grid(self._ctx, self._columns, widths, wraps=wraps)
        grid.header()
        return grid

    def _cells(self, row: Any) -> list[str]:
        return [column.cell(row, self._ctx.utc) for column in self._columns]
