"""One SELECT over all days: what it gives, and that it can do nothing but read."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qtctl import errors
from qtctl.history import export as exporting
from qtctl.history import query as querying
from qtctl.history.cells import Cells
from qtctl.history.damage import CannotWrite
from qtctl.history.export import export
from qtctl.history.query import Query, TooLong
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Entry, Gap
from qtctl.history.store import Store
from qtctl.history.tables import TABLES
from tests.history.samples import DAY_MS, MIDNIGHT, NOON, a_pass, decision_at


@pytest.fixture
def days(tmp_path: Path) -> History:
    """Three days: a decision, two passes and an event on each; a gap."""
    with Store(tmp_path / "h") as store:
        for day in range(3):
            at = NOON + day * DAY_MS
            store.write(
                Batch(
                    cursors={"s": f"{at}-1"},
                    decisions=[decision_at(at, symbol=f"S{day}", score="0.5")],
                    passes=[
                        a_pass(1, at, ("A", "10", "0.5"), ("B", "bad", "")),
                        a_pass(2, at + 1000, ("B", "20", "0.25")),
                    ],
                    events=[Entry(f"{at}-0", {"event": "blocked", "symbol": "S"})],
                    gaps=[Gap("trimmed", at, at + 1, "s", None, "x", at)],
                )
            )
        store.seal(MIDNIGHT, MIDNIGHT)
    return History(tmp_path / "h")


def answer(history: History, sql: str, **more: Any) -> list[tuple[Any, ...]]:
    with Query(history, sql, **more) as asked:
        return list(asked.rows())


def test_all_days_are_one_table(days: History) -> None:
    found = answer(days, "SELECT symbol, score, day, late FROM decisions ORDER BY id")
    assert found == [(f"S{i}", 0.5, f"2026-01-{29 + i}", 0) for i in range(3)]
    assert answer(days, "SELECT count(*) FROM events WHERE event = 'blocked'") == [(3,)]
    assert answer(days, "SELECT count(*), sum(count IS NULL) FROM gaps") == [(3, 3)]


def test_proposals_are_rows(days: History) -> None:
    sql = "SELECT number, symbol, target_usd, score FROM proposals WHERE day = '2026-01-30'"
    assert sorted(answer(days, sql), key=str) == sorted(
        [(1, "A", 10.0, 0.5), (1, "B", None, None), (2, "B", 20.0, 0.25)], key=str
    )


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_can_be_asked_for(days: History, table: Any) -> None:
    sql = f"SELECT {', '.join(column.name for column in table.columns)} FROM {table.name}"
    for row in answer(days, sql):
        for value, column in zip(row, table.columns, strict=True):
            kinds: Any = {"integer": int, "real": (int, float), "text": str}[column.type]
            assert value is None or isinstance(value, kinds), (column.name, value)


def test_a_window_leaves_days_out(days: History) -> None:
    more = {"since_ms": NOON + 1, "until_ms": NOON + DAY_MS + 1}
    assert answer(days, "SELECT symbol FROM decisions", **more) == [("S1",)]
    assert answer(days, "SELECT count(*) FROM proposals", **more) == [(3,)]


def test_more_days_than_can_be_attached(days: History, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = "SELECT sum(score), count(DISTINCT day), count(*) FROM {}"
    whole = [answer(days, sql.format(table)) for table in ("decisions", "proposals")]
    monkeypatch.setattr(querying, "_ATTACHED", 1)
    assert [answer(days, sql.format(table)) for table in ("decisions", "proposals")] == whole


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO decisions (day) VALUES ('x')", "UPDATE decisions SET day = 'x'",
        "DELETE FROM gaps", "DROP TABLE decisions", "CREATE TABLE x (y)", "CREATE TEMP TABLE x (y)",
        "ATTACH 'x' AS y", "DETACH main", "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = 1",
        "SELECT * FROM pragma_database_list", "SELECT load_extension('x')", "VACUUM INTO 'x'",
        "VACUUM", "BEGIN", "COMMIT", "SAVEPOINT x", "REINDEX", "ANALYZE",
        "WITH x AS (SELECT 1) DELETE FROM decisions",
    ],
)  # fmt: skip
def test_what_does_more_than_read_is_refused(days: History, sql: str, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in days.folder.iterdir() if path.is_file()}
    with pytest.raises(errors.RefusedError, match="only reads"):
        answer(days, sql)
    assert {path: path.read_bytes() for path in before} == before
    assert [path.name for path in tmp_path.iterdir()] == ["h"]


@pytest.mark.parametrize(
    "sql",
    ["", "-- x", "SELEC 1", "SELECT 1; SELECT 2", "SELECT nothing FROM decisions",
     "SELECT rowid FROM decisions", "SELECT * FROM d0.words", "SELECT * FROM words",
     "SELECT zeroblob(1000000000)", "SELECT cell_text(0, 1, 0, 0, 0)", "EXPLAIN SELECT 1"],
)  # fmt: skip
def test_what_is_no_statement_over_the_tables(days: History, sql: str) -> None:
    with pytest.raises(errors.UsageError, match="SQL"):
        answer(days, sql)


@pytest.mark.parametrize(
    "sql",
    ["WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n",
     "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n WHERE i > 1"],
)  # fmt: skip
def test_a_runaway_ends(days: History, sql: str) -> None:
    with pytest.raises(TooLong, match="--timeout"):
        answer(days, sql, timeout_sec=0.2)


def test_ctrl_c_within_a_function_of_ours(
    days: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Cells, "_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        answer(days, "SELECT reason FROM proposals")


def test_an_export_that_ends_early_leaves_no_part_of_a_file(
    days: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(rows: object) -> None:
        raise OSError(28, "No space left on device")

    @contextmanager
    def full(path: Path, table: object) -> Iterator[Any]:
        path.write_text("half a")
        yield fails

    monkeypatch.setattr(exporting, "_csv", full)
    with pytest.raises(CannotWrite, match="No space left"):
        list(export(days, tmp_path / "out", "csv"))
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_a_damaged_day_is_left_out_and_named(days: History) -> None:
    path = days.folder / "2026-01-30.sqlite"
    path.write_bytes(b"x" * 5000)
    with Query(days, "SELECT count(*) FROM decisions") as asked:
        assert list(asked.rows()) == [(2,)]
        assert "2026-01-30" in asked.left_out[0]


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_an_export_has_every_row(days: History, tmp_path: Path, format: Any) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / "out"
    files = {each.file: each.rows for each in export(days, out, format)}
    assert files[f"day=2026-01-30/decisions.{format}"] == 1
    assert files[f"day=2026-01-30/proposals.{format}"] == 3
    assert sum(rows for file, rows in files.items() if "/gaps." in file) == 3
    assert {str(path.relative_to(out)) for path in out.rglob(f"*.{format}")} == set(files)
    with pytest.raises(errors.RefusedError, match="not empty"):
        list(export(days, out, format))
    if format != "csv":
        return
    first = (out / "day=2026-01-29/decisions.csv").read_text().splitlines()
    assert first[0].startswith("at_ms,time,id,late,entry_id,plan_id,symbol,verdict")
    assert len(first) == 2


def test_duckdb_reads_the_parquet_back(days: History, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    list(export(days, tmp_path / "out", "parquet"))
    sql = "SELECT symbol, score, CAST(day AS VARCHAR) FROM '{}' ORDER BY at_ms"
    found = duckdb.sql(sql.format(tmp_path / "out" / "day=*" / "decisions.parquet")).fetchall()
    assert found == answer(days, "SELECT symbol, score, day FROM decisions ORDER BY at_ms")


def test_an_export_without_rows_says_so(days: History, tmp_path: Path) -> None:
    with pytest.raises(errors.NotFoundError, match="nothing was recorded"):
        list(export(days, tmp_path / "out", "csv", until_ms=NOON - DAY_MS))


def test_the_extra_is_named_where_it_is_missing(
    days: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(errors.ConfigError, match="extra 'parquet'"):
        list(export(days, tmp_path / "out", "parquet"))


def test_a_foreign_and_a_newer_file_are_refused(days: History) -> None:
    path = days.folder / "2026-01-31.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(errors.RefusedError, match="newer"):
        answer(days, "SELECT 1 FROM decisions")
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE x (y)")
    db.close()
    with pytest.raises(errors.RefusedError, match="another program"):
        answer(days, "SELECT 1 FROM decisions")
