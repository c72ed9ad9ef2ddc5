"""A history to plant faults in: all its rows in memory, to be changed, written anew and sealed."""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from qtctl.domain import numbers
from qtctl.domain.allocation import AllocationRules, multiplier
from qtctl.domain.passes import COLUMNS, Columns
from qtctl.domain.readings import assess
from qtctl.history.rows import (
    Batch,
    Document,
    Entry,
    Gap,
    HaltRow,
    PassEntry,
    ServerRow,
    ServiceRow,
)
from qtctl.history.store import Store

Change = Callable[[int, dict[str, str], float], None]
"""Changes a row, by column; the number of its pass from 0 on, and the pass's time in seconds."""


class Rows(msgspec.Struct):
    """The rows of a whole history."""

    passes: list[PassEntry]
    decisions: list[Entry]
    events: list[Entry]
    services: list[ServiceRow]
    servers: list[ServerRow]
    halts: list[HaltRow]
    gaps: list[Gap]
    documents: list[Document]

    def copy(self) -> "Rows":
        """The same in lists of its own."""
        return Rows(*map(list, msgspec.structs.astuple(self)))


def gathered(batches: Iterable[Batch]) -> Rows:
    """All rows, each document once."""
    rows = Rows(*([] for _ in Rows.__struct_fields__))
    for batch in batches:
        for name in rows.__struct_fields__:
            getattr(rows, name).extend(getattr(batch, name))
    rows.documents = [*dict.fromkeys(rows.documents)]
    return rows


def write(rows: Rows, folder: Path, sealed_ms: int) -> None:
    """Writes them as a synthetic history, with the days sealed that ended by then. Errors: those of
    history.store.Store."""
    with Store(folder, synthetic=True) as store:
        store.write(Batch(**{name: getattr(rows, name) for name in rows.__struct_fields__}))
        store.seal(sealed_ms, sealed_ms)


def smallest(rows: Rows) -> str:
    """The symbol with the least target, which hardly moves gross exposure."""
    columns = rows.passes[0].value.columns
    return min(zip(map(float, columns.target_usd), columns.symbol, strict=True))[1]


def change_rows(rows: Rows, change: Change, symbol: str = "") -> None:
    """Changes what each pass read of a symbol, of every one by default, and what the loop makes of
    that with it."""
    for number, entry in enumerate(rows.passes):
        symbols = [symbol] if symbol else entry.value.columns.symbol
        rows.passes[number] = _changed(entry, number, symbols, change)


def _changed(entry: PassEntry, number: int, symbols: Iterable[str], change: Change) -> PassEntry:
    columns, now, rules = entry.value.columns, entry.value.ts_ms / 1000, AllocationRules()
    values = {name: list(getattr(columns, name)) for name in COLUMNS}
    for symbol in symbols:
        place = columns.symbol.index(symbol)
        before = {name: values[name][place] for name in COLUMNS}
        row = dict(before)
        change(number, row, now)
        if row == before:
            continue
        for name in COLUMNS:
            values[name][place] = row[name]
        efficiency = assess(Columns(**values).efficiency(place), now, rules.stale_sec,
                            rules.min_conf)  # fmt: skip
        values["reason"][place] = efficiency.reason.value
        values["multiplier"][place] = numbers.four(multiplier(efficiency, rules))
    return replace_columns(entry, Columns(**values))


def replace_columns(entry: PassEntry, columns: Columns) -> PassEntry:
    """The same pass with other columns."""
    value = msgspec.structs.replace(entry.value, columns=columns, symbols=len(columns))
    return msgspec.structs.replace(entry, value=value)
