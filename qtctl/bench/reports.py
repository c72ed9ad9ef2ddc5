"""A report of two days, a sweep over the formula, and what both hold in memory.

By the time of a processor, in a process of its own, on the rows of the bench of the history, with
scores of 17 digits, so that hardly one comes twice.
"""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from qtctl.bench.figures import Figure, compared
from qtctl.bench.history import Took, apart, most_memory_mb
from qtctl.bench.market import CHANGE_PASSES, START_MS, Market, decisions
from qtctl.domain.allocation import AllocationRules
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import Limits
from qtctl.evidence import report, window
from qtctl.evidence.rules import RulesBook
from qtctl.evidence.swept import Sweeping
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Document
from qtctl.history.store import Store

SYMBOLS, PASSES_AN_HOUR, HOURS = 500, 360, 48
PLAN_MS = 10_000
"""Six plans a minute."""
LIMITS, RULES = "9d41", "5f2a"
"""The digests of the rows."""
VALUES, SWEPT_HOURS = 10, 6
_HOUR_MS = 3_600_000
_TWICE = 2


class Measured(msgspec.Struct):
    """Processor seconds of each round: of the report of all hours, and of the first half; of a
    sweep over one value and over VALUES more; memory_mb: the most that the report held."""

    whole: list[float]
    half: list[float]
    one: list[float]
    more: list[float]
    memory_mb: float = 0.0


def documents() -> list[Document]:
    """The limits and rules that the rows of the bench name."""
    limits = msgspec.structs.asdict(Limits()) | msgspec.structs.asdict(DownsizeRules())
    return [
        Document("limits", LIMITS, msgspec.json.encode(limits)),
        Document("rules", RULES, msgspec.json.encode(AllocationRules())),
    ]


def measure(rounds: int) -> Iterator[Figure]:
    """The figures; so many rounds that their ratios mean something, and no more than two."""
    with tempfile.TemporaryDirectory(prefix="qtctl-bench-") as name:
        _make(Path(name))
        found = apart(_measured, Path(name), min(rounds, _TWICE))
    what = f"{HOURS} h of {SYMBOLS} symbols"
    yield Figure("evidence", f"report of {what}", min(found.whole), 30, unit="s")
    yield Figure("evidence", "memory of that report", found.memory_mb, 200, unit="MB")
    yield compared(
        "evidence", f"an hour of a report, of {HOURS} beside {HOURS / 2:g}",
        [each / HOURS for each in found.whole], [each / HOURS * 2 for each in found.half],
        1.15, measured_unit="s",
    )  # fmt: skip
    longer = HOURS / SWEPT_HOURS / VALUES
    yield Figure(
        "evidence", f"one more value of a sweep over the formula, {what}",
        (min(found.more) - min(found.one)) * longer, 4, unit="s",
        note=f"{VALUES} values over {SWEPT_HOURS} h, scaled",
    )  # fmt: skip


def _make(folder: Path) -> None:
    hours = HOURS * PASSES_AN_HOUR
    passes = Market(SYMBOLS, digits=True).passes(hours, CHANGE_PASSES)
    plans = decisions(hours * 10_000 // PLAN_MS, gap_ms=PLAN_MS)
    with Store(folder, synthetic=True) as store:
        store.write(Batch(documents=documents()))
        while batch := [*islice(passes, PASSES_AN_HOUR)]:
            store.write(Batch(passes=batch, decisions=[*islice(plans, len(batch))]))


def _measured(folder: Path, rounds: int) -> Measured:
    found = Measured([], [], [], [])
    history = History(folder)
    for _ in range(rounds):
        found.whole.append(_reported(history, HOURS))
        found.memory_mb = max(found.memory_mb, most_memory_mb())
        found.half.append(_reported(history, HOURS / 2))
        found.one.append(_swept(history, (1.0,)))
        found.more.append(_swept(history, [0.5 + place / VALUES for place in range(VALUES + 1)]))
    return found


def _reported(history: History, hours: float) -> float:
    took, until = Took(), START_MS + round(hours * _HOUR_MS)
    with took.more():
        report.make(history, window.choose(history, None, until))
    return took.processor_sec


def _swept(history: History, scales: Sequence[float]) -> float:
    took = Took()
    with took.more():
        sweeping = Sweeping(RulesBook(history), [{"allocation.scale": each} for each in scales])
        for read in history.passes(None, START_MS + SWEPT_HOURS * _HOUR_MS):
            sweeping.add(read)
        sweeping.result()
    return took.processor_sec
