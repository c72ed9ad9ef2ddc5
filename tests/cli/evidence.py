"""A short synthetic history with a sealed day and an open one, and a folder of evidence of it."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from qtctl.cli.main import run
from qtctl.settings.model import Settings
from qtctl.simulate.history_maker import HistoryMaker, Wanted
from tests.support.cli import NO_FILE

MIDNIGHT_MS = 1_769_558_400_000
HALF_MS = 1_200_000
FILES = {
    "chain.jsonl", "gaps.json", "halts.json", "index.html", "manifest.json", "policy.toml",
    "readiness.html", "readiness.json", "replay.html", "replay.json", "report.html", "report.json",
    "servers.json", "services.json", "settings.json", "versions.json",
}  # fmt: skip


def market(folder: Path, *faults: str, seed: int = 1) -> Path:
    """40 min of four symbols, half of them on each side of midnight."""
    wanted = Wanted(
        seed=seed, symbols=4, start_ms=MIDNIGHT_MS - HALF_MS, end_ms=MIDNIGHT_MS + HALF_MS,
        per_minute=10, faults=frozenset(faults),
    )  # fmt: skip
    HistoryMaker(wanted, Settings()).write(folder)
    return folder


def exported(history: Path, out: Path) -> Path:
    """The folder of `evidence export`, without proofs."""
    words = ["evidence", "export", "--no-proofs", "--dir", str(history), "--out", str(out)]
    assert run(words, NO_FILE) == 0
    return out


def copied(folder: Path, to: Path, change: Callable[[Path], object]) -> Path:
    """A copy of a folder, changed."""
    shutil.copytree(folder, to)
    change(to)
    return to


def names(folder: Path) -> set[str]:
    """The files in it."""
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}


def digest(folder: Path) -> str:
    """As it is written down."""
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
