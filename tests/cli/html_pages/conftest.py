"""Pages of small histories, made once."""

from pathlib import Path
from typing import NamedTuple

import pytest

from qtctl.cli.views.html import readiness_page, replay_page, report_page
from qtctl.evidence import policy, readiness, replay, sweep
from qtctl.evidence import report as reports
from qtctl.evidence.readiness import Readiness
from qtctl.evidence.replay import Replay
from qtctl.evidence.report import Report
from qtctl.evidence.window import Window, choose
from qtctl.history.reader import History
from tests.evidence.made import simulated

CHANGES = {"governor.max_exec_per_hour": 5, "allocation.scale": 2.0}
SWEEPS = ("governor.symbol_cooldown_sec=0:120:60", "allocation.scale=0.5:1.5:0.5")


class Pages(NamedTuple):
    """The values of a history, and its pages."""

    report: Report
    readiness: Readiness
    replay: Replay
    window: Window
    html: dict[str, str]


def pages_of(history: History, changes: dict[str, float] = CHANGES) -> Pages:
    """All of a history."""
    window = choose(history, None, None)
    made = reports.make(history, window)
    limits = policy.load(None)
    judged = readiness.assess(history, limits)
    again = replay.run(history, window, changes, [sweep.parse(each) for each in SWEEPS])
    return Pages(made, judged, again, window, {
        "report": report_page(made),
        "readiness": readiness_page(judged, limits),
        "replay": replay_page(window, again),
    })  # fmt: skip


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour and a half of 25 symbols that oscillate, with 20 min missing."""
    folder = tmp_path_factory.mktemp("market") / "h"
    simulated(folder, "gap", "oscillating", hours=1.5, symbols=25)
    return folder


@pytest.fixture(scope="session")
def pages(market: Path) -> Pages:
    return pages_of(History(market))
