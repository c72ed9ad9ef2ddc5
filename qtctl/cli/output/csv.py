"""CSV: a header with the names of the columns, then a line a row with the values as JSON has them.

Quoted as RFC 4180 says; lines end with a newline alone, as other tools in a pipe expect. A text
that a spreadsheet would take for a formula (it begins with `=`, `+`, `-` or `@`, and is no number)
gets a `'` in front, since some of it comes from others; JSON has it as it is.
"""

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from qtctl.cli.output.columns import Column
from qtctl.domain import numbers
from qtctl.text import escape

_FORMULA = ("=", "+", "-", "@")


class Writer:
    """Rows as they come; the header stands before the first, and also where there is none."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._began = False

    def write(self, rows: Iterable[Any]) -> None:
        """Print a batch, which may be empty."""
        if not self._began:
            self._began = True
            sys.stdout.write(_line(cell(column.name) for column in self._columns))
        for row in rows:
            sys.stdout.write(_line(cell(column.value(row)) for column in self._columns))


def cell(value: Any) -> str:
    """One value on one line: nothing for None, `true`, a list as JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if not isinstance(value, str):
        import msgspec

        value = msgspec.json.encode(value).decode()
    shown = escape(value)
    risky = shown.startswith(_FORMULA) and numbers.number(shown) is None
    return f"'{shown}" if risky else shown


def _line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(list(cells))
    return out.getvalue()
