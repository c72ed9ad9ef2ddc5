"""`make soak-history` in seconds; and that its check finds what it is there to find."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from qtctl.history.rows import Gap
from tests.soak_history.check import check, untold_restarts
from tests.soak_history.scene import ACTS, Report, run

SEED = 20_260_129


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def report(kept: Path) -> Report:
    """One run, each act once at least."""
    return run(5.0, SEED, keep=kept)


def test_killed_at_random_nothing_is_lost_or_doubled_and_gaps_are_told(report: Report) -> None:
    assert report.ok, report
    assert set(report.acts) == set(ACTS)
    assert min(report.found.counts.values()) > 0, report
    assert sum(report.found.missing.values()) > 0, "nothing was lost that a gap must report"


DAMAGE = {
    "decisions missing without a gap": (
        "DELETE FROM decisions WHERE id IN (SELECT max(id) FROM decisions)"
    ),
    "decisions still in the stream": (
        "DELETE FROM decisions WHERE id IN (SELECT max(id) FROM decisions)"
    ),
    "decisions other than they were sent": (
        "UPDATE decisions SET plan_id = 'x' WHERE id IN (SELECT max(id) FROM decisions)"
    ),
    "decisions never sent": "UPDATE decisions SET id = id + 1 "
    "WHERE id IN (SELECT max(id) FROM decisions)",
    "missing without a gap": "DELETE FROM gaps WHERE kind IN ('trimmed', 'emptied')",
}


@pytest.mark.parametrize("breach", DAMAGE)
def test_the_check_finds_what_it_is_there_for(
    breach: str, report: Report, kept: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "history"
    shutil.copytree(kept / "history", folder)
    for path in folder.glob("*.sqlite"):
        path.chmod(0o640)
        with sqlite3.connect(path) as db:
            db.execute(DAMAGE[breach])
        db.close()
    found = check(folder, report.diary, report.still_there)
    assert any(breach in each for each in found.breaches), found.breaches


def test_a_restart_that_no_gap_reports_is_found() -> None:
    sent = {f"{at}-0": [b"pass", str(number).encode()] for at, number in ((1, 7), (2, 8), (3, 1))}
    told = Gap("loop_restarted", 2, 3, "s", 0, "", 3)
    assert list(untold_restarts(sent, sent, [told])) == []
    assert len(list(untold_restarts(sent, sent, []))) == 1
    assert list(untold_restarts(sent, {"1-0": 0}, [])) == [], "what is missing has its own gap"
