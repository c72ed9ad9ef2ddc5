"""Hours of history in seconds: the same for the same seed, right by the domain's own code, and with
each fault where it was planted."""

import hashlib
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from qtctl.domain.allocation import propose
from qtctl.domain.facts import facts_of
from qtctl.domain.gates import judge
from qtctl.domain.numbers import four
from qtctl.domain.readings import assess, target_usd
from qtctl.history.day_reader import PassRead
from qtctl.history.reader import History
from qtctl.settings.model import Settings
from qtctl.simulate.history_maker import HistoryMaker, Wanted, window
from qtctl.simulate.market import FAULTS
from tests.evidence.made import END_MS, simulated

SYMBOLS = 12


def passes(history: History) -> list[PassRead]:
    return [*history.passes()]


def test_a_clean_history_is_whole_and_marked_synthetic(tmp_path: Path) -> None:
    start_ms, end_ms = window(END_MS, 4)
    wanted = Wanted(seed=3, symbols=SYMBOLS, start_ms=start_ms, end_ms=end_ms, per_minute=4)
    figures = HistoryMaker(wanted, Settings()).write(tmp_path / "h")
    history = History(tmp_path / "h")
    assert history.synthetic()
    found = passes(history)
    assert [each.value.number for each in found] == [*range(1, 4 * 360 + 1)]
    assert figures.passes == len(found)
    assert figures.proposals == len(found) * SYMBOLS
    assert len([*history.decisions()]) == figures.decisions > 700
    assert history.gaps() == []
    assert {each.what for each in history.halts()} == {"halted", "resumed"}
    assert len([*history.events()]) == figures.decisions
    ok = sum(each.value.columns.reason.count("ok") for each in found)
    assert ok / figures.proposals > 0.98


def test_the_same_seed_gives_the_same_history_to_the_byte(tmp_path: Path) -> None:
    def content(folder: Path) -> list[str]:
        return [
            hashlib.sha256(each.read_bytes()).hexdigest()
            for each in sorted(folder.glob("*.sqlite"))
        ]

    first, second, other = (tmp_path / name for name in ("a", "b", "c"))
    simulated(first, hours=1)
    simulated(second, hours=1)
    simulated(other, hours=1, seed=4)
    assert content(first) == content(second)
    assert content(first) != content(other)


def test_every_proposal_is_decided_the_same_again(tmp_path: Path) -> None:
    history = simulated(tmp_path / "h", "stale", hours=2)
    reasons = set()
    for each in passes(history)[::7]:
        value, columns = each.value, each.value.columns
        rules = history.rules(value.rules)
        assert rules is not None
        now = value.ts_ms / 1000
        for row, symbol in enumerate(columns.symbol):
            efficiency = assess(columns.efficiency(row), now, rules.stale_sec, rules.min_conf)
            base = target_usd({"target_usd": columns.target_usd[row]})
            assert isinstance(base, float)
            again = propose(symbol, base, efficiency, rules)
            assert efficiency.reason.value == columns.reason[row]
            assert four(again.multiplier) == columns.multiplier[row]
            reasons.add(columns.reason[row])
    assert reasons == {"ok", "stale_eff"}


def test_every_decision_is_taken_the_same_again(tmp_path: Path) -> None:
    history = simulated(tmp_path / "h", "lockdown", hours=8)
    seen = set()
    for each in history.decisions():
        record = each.record()
        limits = history.limits(record["limits"])
        assert limits is not None
        seen.add(record["reason"])
        if record["reason"] in ("duplicate_plan", "plan_conflict"):
            continue
        again = judge(facts_of(record), limits)
        assert (again.verdict.value, again.reason.value) == (record["verdict"], record["reason"])
    assert seen >= {
        "ok", "symbol_cooldown", "burst_limit_exceeded", "hourly_limit_exceeded",
        "notional_per_trade_exceeded", "duplicate_plan", "kill_switch_active",
    }  # fmt: skip


def late_half(history: History) -> list[PassRead]:
    found = passes(history)
    return found[len(found) // 2 :]


def test_stale_scores_stop_for_a_fifth_of_the_symbols(tmp_path: Path) -> None:
    history = simulated(tmp_path / "h", "stale")
    rows = [reason for each in late_half(history) for reason in each.value.columns.reason]
    assert rows.count("stale_eff") / len(rows) == pytest.approx(3 / 12, abs=0.02)


def test_flat_scores_give_one_multiplier(tmp_path: Path) -> None:
    history = simulated(tmp_path / "h", "flat")
    found = {m for each in late_half(history) for m in each.value.columns.multiplier}
    assert found == {"1.0000"}


def test_oscillating_scores_change_sides_every_minute(tmp_path: Path) -> None:
    history = simulated(tmp_path / "h", "oscillating")
    row = [each.value.columns.multiplier[0] for each in late_half(history)]
    flips = sum(a != b for a, b in pairwise(row))
    assert set(row) == {"0.9200", "1.0800"}
    assert flips == pytest.approx(len(row) / 6, abs=2)


def test_compounding_writes_the_proposal_into_the_target(tmp_path: Path) -> None:
    history = simulated(tmp_path / "h", "compounding")
    bases = [float(each.value.columns.target_usd[0]) for each in late_half(history)]
    assert max(bases) / min(bases) > 1.5


def test_a_gap_is_missing_and_is_told_with_its_counts(tmp_path: Path) -> None:
    history = simulated(tmp_path / "h", "gap")
    numbers = [each.value.number for each in passes(history)]
    missing = sorted({*range(1, 1_441)} - {*numbers})
    by_stream = {gap.stream.rpartition(":")[2]: gap for gap in history.gaps()}
    assert by_stream["allocation.pass"].count == len(missing) == 120
    assert missing == [*range(missing[0], missing[-1] + 1)]
    assert by_stream["governor.decisions"].count is not None
    inside = [
        each
        for each in history.decisions()
        if by_stream["governor.decisions"].from_ms
        <= each.decided_ms
        < by_stream["governor.decisions"].to_ms
    ]
    assert inside == []


def test_a_lockdown_stops_closes_too(tmp_path: Path) -> None:
    history = simulated(tmp_path / "h", "lockdown", hours=8)
    refused = [each for each in history.decisions() if each.reason == "kill_switch_active"]
    assert {each.kind for each in refused} == {"open", "close"}


def test_drift_takes_the_multiplier_to_its_clamp(tmp_path: Path) -> None:
    history = simulated(tmp_path / "h", "drift")
    last = passes(history)[-1].value.columns.multiplier
    assert min(float(each) for each in last) > 1.4


def test_faults_are_those_of_the_documentation() -> None:
    assert len(set(FAULTS)) == len(FAULTS) == 7


def test_a_passes_rules_have_the_interval(tmp_path: Path) -> None:
    history = simulated(tmp_path / "h", hours=0.1)
    raw = history.document("rules", passes(history)[0].value.rules)
    assert raw is not None
    assert msgspec.json.decode(raw)["interval_sec"] == 10.0
