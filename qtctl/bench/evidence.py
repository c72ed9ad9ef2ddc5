"""Replays beside plain loops over the gates and over the formula.

By the time of a processor, on the rows of the bench of the history.
"""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from qtctl.bench import reports
from qtctl.bench.figures import Figure, compared
from qtctl.bench.history import Took
from qtctl.bench.market import CHANGE_PASSES, START_MS, Market, decisions
from qtctl.domain.allocation import AllocationRules, propose
from qtctl.domain.gates import Limits, judge
from qtctl.domain.readings import Unusable, assess, target_usd
from qtctl.evidence.cases import Case, Cases
from qtctl.evidence.parity import Checker
from qtctl.evidence.rules import RulesBook
from qtctl.evidence.scenario import Scenario
from qtctl.history.day_reader import PassRead
from qtctl.history.reader import History
from qtctl.history.rows import Batch
from qtctl.history.store import Store

DECISIONS = 50_000
PASSES, PLAIN_PASSES, SYMBOLS = 360, 60, 500
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
        passes = [*islice(history.passes(), PLAIN_PASSES)]
        ours, beside = [], []
        for _ in range(rounds):
            took, count = _proposals(history)
            ours.append(count / took.processor_sec)
            took, count = _proposed(passes)
            beside.append(count / took.processor_sec)
        yield compared(
            "evidence", "proposals read and judged again, of a plain loop over the formula",
            ours, beside, 0.5, at_least=True, measured_unit="/s",
        )  # fmt: skip
        yield Figure(
            "evidence", "proposals read and judged again a second, each changing every 60 s",
            statistics.median(ours), 300_000, unit="/s", at_least=True,
        )  # fmt: skip
    yield from reports.measure(rounds)


def _made(folder: Path) -> History:
    with Store(folder, synthetic=True) as store:
        store.write(Batch(documents=reports.documents(), decisions=[*decisions(DECISIONS)]))
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


def _proposed(passes: Sequence[PassRead]) -> tuple[Took, int]:
    """Each from its texts, whether it changed or not."""
    took, rules, count = Took(), AllocationRules(), 0
    with took.more():
        for read in passes:
            columns, now = read.value.columns, read.value.ts_ms / 1000
            for row, symbol in enumerate(columns.symbol):
                base = target_usd({"target_usd": columns.target_usd[row]})
                assert not isinstance(base, Unusable)
                found = assess(columns.efficiency(row), now, rules.stale_sec, rules.min_conf)
                propose(symbol, base, found, rules)
                count += 1
    return took, count
