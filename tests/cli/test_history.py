"""`qtctl history`: what it prints, with which exit code, and that it needs no Redis."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qtctl.cli.main import run
from qtctl.history.rows import Batch, Gap
from qtctl.history.store import Store
from tests.history.samples import DAY_MS, NOON, a_pass, decision_at
from tests.support.cli import NO_FILE, Said
from tests.support.processes import until

RUNAWAY = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"


class History:
    """The command line on a folder with two days, the first of them sealed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        with Store(folder) as store:
            for at in (NOON, NOON + DAY_MS):
                store.write(
                    Batch(
                        cursors={"s": f"{at}-0"},
                        decisions=[decision_at(at, source="\x1b[31mred\n")],
                        passes=[a_pass(1, at, ("A", "10", "0.5"))],
                        gaps=[Gap("trimmed", at, at + 60_000, "s", None, "lost some", at)],
                    )
                )
            store.seal(NOON + DAY_MS, NOON + DAY_MS)

    def __call__(self, *words: str, folder: Path | None = None) -> Said:
        environ = {**NO_FILE, "QTCTL_HISTORY_DIR": str(folder or self.folder)}
        self._capsys.readouterr()
        code = run(["history", *words], environ)
        printed = self._capsys.readouterr()
        return Said(code, printed.out, printed.err)


@pytest.fixture
def history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> History:
    return History(tmp_path / "h", capsys)


def test_the_list_has_days_span_gaps_and_the_head_of_the_chain(history: History) -> None:
    said = history()
    assert said.code == 0
    assert "2026-01-29  sealed" in said.out
    assert "2026-01-30  open" in said.out
    assert "2026-01-29 12:00:00Z to 2026-01-30 12:00:00Z" in said.err
    assert "2 gaps, the longest 60 s (trimmed)" in said.err
    assert "Head of the chain" in said.err
    rows = history("list", "-o", "json").json
    assert [(row["day"], row["decisions"], row["gaps"]) for row in rows] == [
        ("2026-01-29", 1, 1), ("2026-01-30", 1, 1),
    ]  # fmt: skip


def test_a_day_is_shown_with_its_gaps(history: History) -> None:
    said = history("show", "2026-01-30")
    assert "lost some" in said.out
    assert "unknown" in said.out, "no count is not 0"
    assert history("show", "2026-01-30", "-o", "json").json["gaps"][0]["count"] is None


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("show", "2026-01-01"), 1, "nothing was recorded on 2026-01-01"),
        (("show", "yesterday"), 2, "is not a day as 2026-01-31"),
        (("query", "SELEC 1"), 2, "syntax error; 'qtctl history query --help' has examples"),
        (("export", "--out", "/proc/x"), 1, "can't export to /proc/x: No such file"),
        (("query", "DELETE FROM gaps"), 4, "only reads"),
        (("query", "--timeout", "0.2", RUNAWAY), 1, "stopped after 0.2 s"),
        (("query", "--since", "1h", "--until", "2h", "SELECT 1"), 2, "--since is later"),
        (("export", "--out", ".", "--format", "xml"), 2, "must be one of csv, jsonl, parquet"),
        (("export", "--out", "x", "--table", "words"), 2, "must be one of decisions"),
        (("copy", "."), 4, "is not empty"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    history: History, words: tuple[str, ...], code: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    said = history(*words)
    assert said.code == code
    assert line in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
def test_a_folder_that_is_not_there(history: History, command: str, tmp_path: Path) -> None:
    said = history(command, folder=tmp_path / "nowhere")
    assert said.code == 1
    assert said.err.startswith("qtctl: no history in")


def test_a_query_in_every_format(history: History) -> None:
    sql = "SELECT symbol, source, score, NULL AS blank FROM decisions ORDER BY at_ms LIMIT 1"
    row = {"symbol": "BTCUSDT", "source": "\x1b[31mred\n", "score": 0.44996, "blank": None}
    assert history("query", sql, "-o", "json").json == [row]
    assert json.loads(history("query", sql, "-o", "ndjson").out) == row
    for shape in ("table", "csv"):
        said = history("query", sql, "-o", shape)
        assert "\x1b" not in said.out
        assert len(said.out.splitlines()) == 2
    twice = history("query", "SELECT 1 AS a, 2 AS a", "-o", "json").json
    assert twice == [{"a": 1, "a_2": 2}]


def test_more_rows_than_asked_for_is_said(history: History) -> None:
    said = history("query", "-n", "1", "SELECT day FROM decisions")
    assert len(said.out.splitlines()) == 2
    assert "Stopped after 1 rows" in said.err


def test_since_before_the_first_record_is_a_sentence(history: History) -> None:
    said = history("query", "--since", "2026-01-01T00:00", "SELECT count(*) FROM decisions")
    assert said.code == 0
    assert "The history begins at 2026-01-29 12:00:00Z" in said.err


def test_since_after_the_last_record_is_a_sentence(history: History) -> None:
    said = history("query", "--since", "2040-01-01T00:00", "SELECT count(*) FROM decisions")
    assert (said.code, said.err.count("\n")) == (0, 1)
    assert said.err.startswith("The history ends at 2026-01-30")


def test_a_chain_that_is_not_whole_is_noticed(history: History) -> None:
    chain = history.folder / "chain.jsonl"
    whole = chain.read_bytes()
    chain.write_bytes(whole + b'{"what":"sea')
    for command in ("list", "verify"):
        said = history(command)
        assert "was not written to its end: a recorder that starts here writes it again" in said.err
    assert said.code == 1
    chain.write_bytes(b"")
    said = history("verify")
    assert said.code == 1
    assert "it was sealed, and chain.jsonl has no line for it" in said.err


def test_a_folder_in_place_of_a_day(history: History) -> None:
    (history.folder / "2026-01-31.sqlite").mkdir()
    for words in (("list",), ("verify",), ("query", "SELECT count(*) FROM decisions")):
        said = history(*words)
        assert (said.code, said.err.count("\n")) == (4, 1)
        assert "is a folder, not the file of a day: move it out" in said.err


def test_verify_exits_1_and_names_the_day(history: History) -> None:
    assert history("verify").code == 0
    path = history.folder / "2026-01-29.sqlite"
    path.chmod(0o640)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    said = history("verify")
    assert said.code == 1
    assert "The first that differs: 2026-01-29" in said.err


def test_prune_only_prints_with_dry_run(history: History) -> None:
    for dry, there in (("--dry-run",), True), ((), False):
        rows = history("prune", *dry, "-o", "json").json
        assert [(row["day"], row["why"]) for row in rows] == [("2026-01-29", "keep_days 30")]
        assert (history.folder / "2026-01-29.sqlite").exists() is there


def test_a_copy_and_an_export(history: History, tmp_path: Path) -> None:
    assert history("copy", str(tmp_path / "copy")).code == 0
    assert history("verify", "--dir", str(tmp_path / "copy")).code == 0
    said = history("export", "--out", str(tmp_path / "out"), "--table", "decisions", "-o", "json")
    assert [row["file"] for row in said.json] == [
        "day=2026-01-29/decisions.csv", "day=2026-01-30/decisions.csv",
    ]  # fmt: skip


def test_ctrl_c_ends_a_query(history: History) -> None:
    command = [sys.executable, "-m", "qtctl", "history", "query", "--dir", str(history.folder)]
    with subprocess.Popen(
        [*command, RUNAWAY, "-o", "ndjson"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
    ) as process:  # fmt: skip
        # It has begun once it uses the processor for longer than it takes to start.
        stat = Path(f"/proc/{process.pid}/stat")
        until(lambda: int(stat.read_text().rsplit(")", 1)[1].split()[11]) > 120)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
