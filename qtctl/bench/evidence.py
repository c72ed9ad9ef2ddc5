"""Replays: beside a plain loop over the gates, and how many proposals they judge in a second.

By the time of a processor, on the rows of the bench of the history.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from qtctl.bench.figures import Figure, compared
from qtctl.bench.history import Took
from qtctl.bench.market import CHANGE_PASSES, START_MS, Market, decisions
from qtctl.domain.allocation import AllocationRules
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import Limits, judge
from qtctl.evidence.cases import Case, Cases
from qtctl.evidence.parity import Checker
from qtctl.evidence.rules import RulesBook
from qtctl.evidence.scenario import Scenario
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Document
from qtctl.history.store import Store

DECISIONS = 50_000
PASSES, SYMBOLS = 360, 500
LIMITS, RULES = "9d41", "5f2a"
"""The digests of the rows."""
_END_MS = START_MS + 86_400_000
_CHANGES = {"governor.max_exec_per_hour": 5, "governor.symbol_cooldown_sec": 30.0}


def measure(rounds: int) -> Iterator[Figure]:
    """The figures of replays."""
    with tempfile.TemporaryDirectory(prefix="qtctl-bench-") as name:
        history = _made(Path(name))
        cases = [*_cases(history)]
        ours, beside = [], []
        for _ in range(rounds):
            ours.append(len(cases) / _replayed(history).processor_sec)
            beside.append(len(cases) / _judged(cases).processor_sec)
        yield compared(
            "evidence", "decisions read and replayed in sequence, of a plain loop over the gates",
            ours, beside, 0.3, at_least=True, measured_unit="/s",
        )  # fmt: skip
        took, count = _proposals(history)
        yield Figure(
            "evidence", "proposals judged again, each changing every 60 s",
            count / took.processor_sec, 300_000, unit="/s", at_least=True,
            note=f"{count / took.clock_sec:,.0f} /s by the clock",
        )  # fmt: skip


def _made(folder: Path) -> History:
    limits = msgspec.structs.asdict(Limits()) | msgspec.structs.asdict(DownsizeRules())
    documents = [
        Document("limits", LIMITS, msgspec.json.encode(limits)),
        Document("rules", RULES, msgspec.json.encode(AllocationRules())),
    ]
    with Store(folder, synthetic=True) as store:
        store.write(Batch(documents=documents, decisions=[*decisions(DECISIONS)]))
        store.write(Batch(passes=[*Market(SYMBOLS).passes(PASSES, CHANGE_PASSES)]))
    return History(folder)


def _cases(history: History) -> Iterator[Case]:
    return Cases(history, RulesBook(history), START_MS, _END_MS).window()


def _replayed(history: History) -> Took:
    """From the file on; all of it, a plan_id's permits and counts among it."""
    took, scenario = Took(), Scenario(_CHANGES, in_sequence=True)
    with took.more():
        for case in _cases(history):
            scenario.take(case)
    return took


def _judged(cases: list[Case]) -> Took:
    took, limits = Took(), Limits()
    with took.more():
        for case in cases:
            judge(case.facts, limits)
    return took


def _proposals(history: History) -> tuple[Took, int]:
    took, checker = Took(), Checker(history, RulesBook(history))
    with took.more():
        for read in history.passes():
            checker.proposals(read)
    return took, checker.result().proposals
