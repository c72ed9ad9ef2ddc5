"""Takes rows of the history to files for other programs: one folder per day, one file per table."""

import csv
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import msgspec

from qtctl.errors import ConfigError, NotFoundError, RefusedError
from qtctl.history.damage import CannotWrite
from qtctl.history.ids import DAY_MS, day_start_ms
from qtctl.history.query import Query
from qtctl.history.reader import History
from qtctl.history.tables import GAPS, TABLES, Column, Table

Format = Literal["csv", "jsonl", "parquet"]
Write = Callable[[Sequence[Sequence[Any]]], None]
Writer = Callable[[Path, Table], AbstractContextManager[Write]]
"""Opens a file of a table."""
_BATCH = 5_000
_NO_LIMIT_SEC = 86_400.0 * 365


class Exported(msgspec.Struct, frozen=True):
    """A file that was written. file: relative to the folder."""

    file: str
    rows: int
    bytes: int


def export(
    history: History,
    target: Path,
    format: Format,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    names: Sequence[str] = (),
) -> Iterator[Exported]:
    """Writes `day=2026-01-31/decisions.csv` and so on, each whole or not at all; tables without a
    row in a day give no file. names: of tables; all by default.

    Errors: RefusedError where the target has something in it, ConfigError where Parquet can't be
    written here, NotFoundError where there is nothing in the window, CannotWrite.
    """
    writer = _writer_of(format)
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise RefusedError(f"{target} is not empty: export into a new folder")
        found, first = False, since_ms or day_start_ms((history.days() or ["1970-01-01"])[0])
        for day in history.days():
            start = day_start_ms(day)
            for table in TABLES:
                if names and table.name not in names:
                    continue
                folder = target / f"day={day}"
                path = folder / f"{table.name}.{format}"
                low = start if since_ms is None else max(start, since_ms)
                high = start + DAY_MS if until_ms is None else min(start + DAY_MS, until_ms)
                rows = _write(history, table, path, writer, low, high, first) if low < high else 0
                if rows:
                    found = True
                    name = str(path.relative_to(target))
                    yield Exported(name, rows, path.stat().st_size)
    except (OSError, sqlite3.OperationalError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise CannotWrite(f"can't export to {target}: {reason}") from problem
    if not found:
        raise NotFoundError("nothing was recorded in that time: see 'qtctl history'")


def _write(
    history: History, table: Table, path: Path, writer: Writer, low: int, high: int, since: int
) -> int:
    sql = f"SELECT {', '.join(c.name for c in _columns(table))} FROM {table.name}"
    if table is GAPS:  # A gap is in every window that it touches, and stands in its first day.
        sql += f" WHERE max(from_ms, {since}) >= {low} AND max(from_ms, {since}) < {high}"
    count = 0
    with Query(history, sql, since_ms=low, until_ms=high, timeout_sec=_NO_LIMIT_SEC) as query:
        rows = query.rows()
        batch = [*islice(rows, _BATCH)]
        if not batch:
            return 0
        path.parent.mkdir(exist_ok=True)
        new = path.with_name(f"{path.name}.new")
        try:
            with writer(new, table) as write:
                while batch:
                    write(batch)
                    count += len(batch)
                    batch = [*islice(rows, _BATCH)]
            new.rename(path)
        finally:
            new.unlink(missing_ok=True)
    return count


def _columns(table: Table) -> list[Column]:
    """All but the day, which the folder's name has."""
    return [column for column in table.columns if column.name != "day"]


def _writer_of(format: Format) -> Writer:
    if format == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise ConfigError(
                "Parquet needs pyarrow: install qtctl with its extra 'parquet', or export csv or "
                "jsonl"
            ) from None
        return _parquet
    return _csv if format == "csv" else _jsonl


@contextmanager
def _csv(path: Path, table: Table) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow([column.name for column in _columns(table)])
        yield out.writerows


@contextmanager
def _jsonl(path: Path, table: Table) -> Iterator[Write]:
    names = [column.name for column in _columns(table)]
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:

        def write(rows: Sequence[Sequence[Any]]) -> None:
            for row in rows:
                file.write(encode(dict(zip(names, row, strict=True))) + b"\n")

        yield write


@contextmanager
def _parquet(path: Path, table: Table) -> Iterator[Write]:
    import pyarrow
    import pyarrow.parquet

    types = {"integer": pyarrow.int64(), "real": pyarrow.float64(), "text": pyarrow.string()}
    schema = pyarrow.schema([(column.name, types[column.type]) for column in _columns(table)])
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as out:

        def write(rows: Sequence[Sequence[Any]]) -> None:
            columns = [
                pyarrow.array(values, type=field.type)
                for values, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            out.write_table(pyarrow.Table.from_arrays(columns, schema=schema))

        yield write
