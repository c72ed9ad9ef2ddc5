"""`qtctl replay`: what it prints, with which exit code, and that it needs no Redis."""

from pathlib import Path

import pytest

from qtctl.cli.main import run
from qtctl.history.rows import Batch, Gap
from qtctl.history.store import Store
from qtctl.settings.model import Settings
from qtctl.simulate.history_maker import HistoryMaker, Wanted
from tests.history.samples import NOON
from tests.support.cli import NO_FILE, Said

END_MS = 1_769_558_400_000


class Replay:
    """The command line on a synthetic history."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def __call__(self, *args: str) -> Said:
        self._capsys.readouterr()
        code = run(["replay", "--dir", str(self.folder), *args], NO_FILE)
        return Said(code, *self._capsys.readouterr())


@pytest.fixture
def replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Replay:
    folder = tmp_path / "history"
    wanted = Wanted(seed=1, symbols=4, start_ms=END_MS - 2_400_000, end_ms=END_MS, per_minute=20)
    HistoryMaker(wanted, Settings()).write(folder)
    return Replay(folder, capsys)


def test_bare_it_says_whether_all_comes_out_again(replay: Replay) -> None:
    said = replay()
    assert said.code == 0
    assert "come out as recorded" in said.out
    assert "synthetic" in said.out
    found = replay("-o", "json").json
    assert found["parity"]["holds"] is True
    assert found["parity"]["decisions"] > 500
    assert found["parity"]["proposals"] == 240 * 4
    assert (found["governor"], found["allocation"], found["curves"]) == (None, None, [])


def test_other_settings_have_two_columns_and_their_difference(replay: Replay) -> None:
    args = ("--set", "governor.max_exec_per_hour=9", "--set", "allocation.scale=2")
    found = replay(*args, "-o", "json").json
    assert found["settings"] == {
        "governor.max_exec_per_hour": {"recorded": 3, "replayed": 9},
        "allocation.scale": {"recorded": 1.0, "replayed": 2.0},
    }
    for line in found["governor"]["figures"]:
        assert line["knock_on"] == pytest.approx(line["in_sequence"] - line["alone"], abs=0.01)
    let_through = {line["figure"]: line for line in found["governor"]["figures"]}
    assert (
        let_through["opens_let_through"]["alone"] > let_through["opens_let_through"]["in_sequence"]
    )
    for side in ("alone", "in_sequence"):
        cells = found["governor"]["verdicts"]
        assert sum(cell[side] for cell in cells) == found["parity"]["decisions"]
    said = replay(*args)
    assert said.code == 0
    for words in ("3 → 9", "1.0 → 2.0", "in sequence", "knock-on", "multiplier p90"):
        assert words in said.out
    assert "not modelled" in said.err


def test_a_sweep_marks_todays_value(replay: Replay) -> None:
    found = replay("--sweep", "governor.max_exec_per_hour=1:5:1", "-o", "json").json
    (curve,) = found["curves"]
    assert (curve["setting"], curve["today"]) == ("governor.max_exec_per_hour", 3)
    assert [point["value"] for point in curve["points"]] == [1, 2, 3, 4, 5]
    assert [point["value"] for point in curve["points"] if point["today"]] == [3]
    said = replay("--sweep", "governor.max_exec_per_hour=1:5:1")
    (line,) = [line for line in said.out.splitlines() if "← today" in line]
    assert line.split()[0] == "3"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--set", "governor.max_exec_per_hours=3"], 5, "did you mean governor.max_exec_per_hour"),
        (["--set", "governor.max_exec_per_hour=-1"], 5, "0 to"),
        (["--set", "governor.permit_ttl_sec=5"], 2, "can't be replayed"),
        (["--set", "governor.open_actions=[]"], 2, "plans stay as they were"),
        (["--sweep", "governor.max_exec_per_hour"], 2, "KEY=FROM:TO:STEP"),
        (["--sweep", "governor.max_exec_per_hour=1:2"], 2, "KEY=FROM:TO:STEP"),
        (["--sweep", "governor.max_exec_per_hour=1:5:x"], 2, "KEY=FROM:TO:STEP"),
        (["--sweep", "governor.max_exec_per_hour=1:5:0"], 2, "STEP over 0"),
        (["--sweep", "governor.max_exec_per_hour=5:1:1"], 2, "FROM ≤ TO"),
        (["--sweep", "governor.max_exec_per_hour=1:2:0.5"], 2, "whole number"),
        (["--sweep", "governor.max_exec_per_hour=1:10000:1"], 2, "10,000 values"),
        (["--sweep", "governor.min_conf=0:2:0.5"], 2, "0 to 1"),
        (["--sweep", "min_conf=0:1:0.5"], 2, "both loops"),
        (["--sweep", "governor.nope=0:1:0.5"], 2, "no such setting"),
        (["--sweep", "governor.min_conf=0:1e9:1e-30"], 2, "values"),
        (["--since", "soon"], 2, "--since"),
        (["--since", "1h", "--until", "2h"], 2, "later than --until"),
        (["--since", "2026-02-01"], 1, "nothing was recorded in that window"),
        (["--until", "2020-01-01", "--since", "2019-01-01"], 1, "nothing was recorded"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_line(
    replay: Replay, args: list[str], code: int, words: str
) -> None:
    said = replay(*args)
    assert (said.code, said.out) == (code, "")
    assert words in said.err
    assert len(said.err.splitlines()) == 1


def test_gaps_only_are_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(tmp_path) as store:
        store.write(Batch(gaps=[Gap("trimmed", NOON, NOON + 9000, "s", 3, "x", NOON)]))
    said = Replay(tmp_path, capsys)()
    assert (said.code, said.out) == (1, "")
    assert len(said.err.splitlines()) == 1


def test_no_history_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = Replay(tmp_path / "nowhere", capsys)()
    assert (said.code, said.out) == (1, "")
    assert len(said.err.splitlines()) == 1


def test_a_difference_is_listed_and_nothing_else_is_shown(replay: Replay) -> None:
    import sqlite3

    day = next(replay.folder.glob("*.sqlite"))
    day.chmod(0o600)
    with sqlite3.connect(day) as db:
        db.execute(
            "UPDATE decisions SET factor_e4 = 1234 WHERE id = (SELECT max(id) FROM decisions)"
        )
    db.close()
    said = replay("--set", "governor.max_exec_per_hour=9")
    assert said.code == 1
    assert "DOES NOT HOLD: 1 of" in said.out
    assert "eff_factor" in said.out
    assert "in sequence" not in said.out
    found = replay("--set", "governor.max_exec_per_hour=9", "-o", "json")
    assert found.code == 1
    assert found.json["governor"] is None
    assert found.json["parity"]["listed"][0]["recorded"] == "0.1234"
