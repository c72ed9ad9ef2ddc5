"""A sweep over the formula in one reading gives what each value gives alone."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from qtctl.evidence import parity
from qtctl.evidence.proposed import Proposed, ProposedTally
from qtctl.evidence.rules import Changes, RulesBook
from qtctl.evidence.swept import Sweeping, Swept
from qtctl.history.reader import History
from qtctl.history.rows import Batch, PassEntry
from tests.evidence.made import Row, a_pass, passes, simulated, written
from tests.history.samples import DAY_MS, NOON

S = "BTCUSDT"
WANTED: list[Changes] = [
    {"allocation.scale": 1.0},
    {"allocation.scale": 0.0},
    {"allocation.scale": 9.0, "allocation.max_mult": 1.1},
    {"allocation.base": 0.9},
    {"allocation.stale_sec": 30.0},
    {"allocation.stale_sec": 5.0, "allocation.min_conf": 0.8},
    {"allocation.min_conf": 0.85},
]


def alone(history: History, changes: Changes) -> Proposed:
    tally = ProposedTally(RulesBook(history), changes)
    for read in history.passes():
        tally.add(read)
    return tally.result()


def compared(history: History) -> list[Swept]:
    sweeping = Sweeping(RulesBook(history), WANTED)
    for read in history.passes():
        sweeping.add(read)
    found = sweeping.result()
    for changes, each in zip(WANTED, found, strict=True):
        one = alone(history, changes)
        ok = sum(n for (_, reason), n in one.reasons.items() if reason == "ok")
        assert (each.proposals, each.ok, sweeping.passes) == (one.proposals, ok, one.passes)
        assert each.mean == one.replayed.mean
        assert each.share(each.clamped) == one.replayed.clamped
        assert each.usd / sweeping.passes == pytest.approx(one.replayed.gross_usd, abs=0.006)
    return found


@pytest.mark.parametrize("fault", ["stale", "gap"])
def test_values_at_once_are_values_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    from qtctl.evidence import swept

    monkeypatch.setattr(swept, "_MOST_SCORES", 50)
    found = compared(simulated(tmp_path, fault, hours=1.5, symbols=7))
    assert len({each.mean for each in found}) > 4
    assert len({each.ok for each in found}) > 3
    assert any(each.clamped for each in found)


def test_symbols_that_come_and_go_and_rules_that_are_lost(tmp_path: Path) -> None:
    one: list[Row] = [(S, 100.0, 1.1)]
    both: list[Row] = [*one, ("ETHUSDT", 50.0, 0.9)]
    entries = passes(one, both, both, one, both, both, [("ETHUSDT", 20.0, 1.2)], both, both)
    entries.append(a_pass(9, (S, "soon", "", "", "0.6"), ("ETHUSDT", 50.0, 0.9)))
    lost = replace(entries[4], value=replace(entries[4].value, rules="lost"))
    entries[4] = lost
    history = written(tmp_path, Batch(passes=entries), sealed_ms=NOON + DAY_MS)
    compared(history)
    assert alone(history, {}).unknown == 2


def test_what_changed_in_a_pass_without_rules_is_judged_in_the_next(tmp_path: Path) -> None:
    """Its rules are lost, so nothing is known of that pass; the next one is judged in full."""
    right: Row = (S, 100.0, 1.1)
    wrong = a_pass(1, (S, "100", "ok", "1.2345", "0.5"))
    entries: list[PassEntry] = [
        a_pass(0, right),
        replace(wrong, value=replace(wrong.value, rules="lost")),
    ]
    for number in (2, 3):
        later = a_pass(number, right)
        columns = wrong.value.columns
        entries.append(replace(later, value=replace(later.value, columns=columns)))
    history = written(tmp_path, Batch(passes=entries), sealed_ms=NOON + DAY_MS)
    found = parity.check(history, 0, 2**41)
    assert [each.again for each in found.listed] == ["1.0000"]
