"""Makes docs/examples/: pages of two simulated histories, one READY and one NOT READY.

`make examples` simulates both and keeps the figures as JSON, as `-o json` prints them; `make docs`
makes the pages from these, and a test compares.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from qtctl.cli.output.render import to_json
from qtctl.cli.views.html import readiness_page, report_page
from qtctl.evidence import policy, readiness, window
from qtctl.evidence import report as reports
from qtctl.evidence.readiness import Readiness
from qtctl.evidence.report import Report
from qtctl.history.reader import History
from qtctl.settings.model import Settings
from qtctl.simulate.history_maker import HistoryMaker, Wanted
from qtctl.simulate.history_maker import window as hours_before

FOLDER = Path(__file__).parents[1] / "examples"
HOURS = 48
END_MS = 1_769_601_600_000
"""2026-01-28 12:00 UTC."""
SCENES: Mapping[str, frozenset[str]] = {
    "ready": frozenset(),
    "not-ready": frozenset({"gap", "stale", "oscillating"}),
}
"""By name, with the faults that are planted."""


def figures(folder: Path, faults: frozenset[str]) -> dict[str, Report | Readiness]:
    """A simulated history: its figures by the name of the page. It begins a day before the window,
    so that nothing in it rests on what was before."""
    start_ms, end_ms = hours_before(END_MS, HOURS + 24)
    wanted = Wanted(seed=7, symbols=24, start_ms=start_ms, end_ms=end_ms, faults=faults)
    HistoryMaker(wanted, Settings()).write(folder)
    history = History(folder)
    asked = window.choose(history, window.end_ms(history) - HOURS * 3_600_000, None)
    return {
        "report": reports.make(history, asked),
        "readiness": readiness.assess(history, policy.load(None)),
    }


def pages(name: str) -> dict[str, str]:
    """The pages of a scene by file name, from the figures that are kept."""
    report = msgspec.json.decode((FOLDER / f"{name}-report.json").read_bytes(), type=Report)
    judged = msgspec.json.decode((FOLDER / f"{name}-readiness.json").read_bytes(), type=Readiness)
    return {
        f"{name}-report.html": report_page(report),
        f"{name}-readiness.html": readiness_page(judged, policy.load(None)),
    }


def write_pages() -> None:
    """All pages, from the figures that are kept."""
    for scene in SCENES:
        for name, page in pages(scene).items():
            (FOLDER / name).write_text(page, encoding="utf-8")


def main() -> None:
    """Simulate, keep the figures, make the pages."""
    for scene, faults in SCENES.items():
        with tempfile.TemporaryDirectory() as folder:
            for name, found in figures(Path(folder) / "history", faults).items():
                text = f"{to_json(found, indent=True)}\n"
                (FOLDER / f"{scene}-{name}.json").write_text(text, encoding="utf-8")
    write_pages()


if __name__ == "__main__":
    main()
