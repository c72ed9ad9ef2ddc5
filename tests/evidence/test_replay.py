"""Replays: as recorded to the byte, and under other settings by the rules of the atomic step."""

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qtctl.domain import numbers
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import Limits
from qtctl.evidence import parity, replay, sweep
from qtctl.evidence.cases import Cases, accounted
from qtctl.evidence.rules import RulesBook
from qtctl.evidence.scenario import Scenario
from qtctl.evidence.window import Window, choose
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Document, Entry
from qtctl.history.store import Store
from qtctl.settings.model import Allocation, Governor, Settings
from qtctl.simulate.market import FAULTS
from tests.evidence import made as histories
from tests.history.samples import NOON, decision_at

LONG = 10 if os.environ.get("TESTS_LONG") == "1" else 1


def simulated(
    folder: Path, *faults: str, governor: Mapping[str, Any] = {},
    allocation: Mapping[str, Any] = {}, **more: Any,
) -> tuple[History, Window]:  # fmt: skip
    """A synthetic history and the whole of it as a window."""
    own = Settings(governor=Governor(**governor), allocation=Allocation(**allocation))
    usual = {"seed": 1, "hours": 1.0, "per_minute": 20.0, "symbols": 5}
    history = histories.simulated(folder, *faults, settings=own, **(usual | more))
    return history, choose(history, None, None)


LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "max_exec_per_5min": st.integers(0, 4),
        "max_exec_per_hour": st.integers(0, 8),
        "max_opens_per_5min_total": st.integers(0, 12),
        "symbol_cooldown_sec": st.sampled_from([0.0, 1.5, 60.0, 600.0, 3600.0]),
        "reopen_cooldown_sec": st.sampled_from([0.0, 30.0, 60.0, 900.0, 3600.0]),
        "max_notional_per_trade_usd": st.sampled_from([0.0, 50.0, 200.0]),
        "kill_score_critical": st.sampled_from([0.0, 0.3, 0.8]),
        "min_conf": st.sampled_from([0.0, 0.65, 0.8]),
        "downsize_threshold": st.sampled_from([0.0, 0.45, 0.6, 1.0]),
        "min_factor": st.sampled_from([0.0, 0.25, 1.0]),
        "eff_ttl_sec": st.sampled_from([1.0, 30.0, 600.0]),
    },
)
FORMULA = st.fixed_dictionaries(
    {},
    optional={
        "scale": st.sampled_from([0.0, 1.0, 7.0]),
        "base": st.sampled_from([0.9, 1.0]),
        "stale_sec": st.sampled_from([1.0, 30.0, 61.0, 600.0]),
        "min_conf": st.sampled_from([0.0, 0.65, 0.8]),
        "min_mult": st.sampled_from([0.0, 0.5, 0.97]),
        "max_mult": st.sampled_from([1.0, 1.5]),
        "interval_sec": st.sampled_from([5.0, 10.0, 30.0]),
    },
)


@settings(max_examples=12 * LONG, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    symbols=st.integers(1, 14),
    hours=st.sampled_from([0.4, 0.7, 1.1]),
    per_minute=st.sampled_from([8.0, 20.0, 60.0]),
    faults=st.sets(st.sampled_from(FAULTS), max_size=2),
    governor=LIMITS,
    allocation=FORMULA,
    other=LIMITS,
)
def test_with_the_recorded_settings_all_comes_out_again(
    seed: int, symbols: int, hours: float, per_minute: float, faults: set[str],
    governor: dict[str, Any], allocation: dict[str, Any], other: dict[str, Any],
) -> None:  # fmt: skip
    with TemporaryDirectory() as folder:
        history, window = simulated(
            Path(folder) / "h", *sorted(faults), seed=seed, hours=hours, symbols=symbols,
            per_minute=per_minute, governor=governor, allocation=allocation,
        )  # fmt: skip
        found = parity.check(history, window.since_ms, window.until_ms)
        assert (found.differences, found.listed) == (0, ())
        plans = sum(1 for _ in history.decisions())
        assert found.decisions + sum(found.unproven.values()) == plans > 30
        assert found.proposals == symbols * sum(1 for _ in history.passes()) > 20
        if "gap" not in faults:
            assert (found.unproven, found.uncounted) == ({}, 0)
        # Also where the sequence is rebuilt from a part, with a seed before it.
        recorded = {
            f"governor.{name}": getattr(Governor(**governor), name) for name in (*governor, *other)
        }
        middle = (window.since_ms + window.until_ms) // 2
        book = RulesBook(history)
        cases = Cases(history, book, middle, window.until_ms)
        again = Scenario(recorded, in_sequence=True)
        for case in cases.seed():
            again.seed(case)
        for case in cases.window():
            made = again.take(case)
            assert (made.verdict, made.reason) == (
                case.decision.verdict,
                case.decision.reason,
            )
            assert again.factor(case) == case.factor


@settings(max_examples=8 * LONG, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), before=LIMITS, after=LIMITS)
def test_in_sequence_is_what_a_governor_with_these_settings_decides(
    seed: int, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """The same plans are judged under two settings; the one replayed under the settings of the
    other gives what that decided. Plans that ask for nothing leave no record unless they meet a
    permit, so these are left aside."""
    with TemporaryDirectory() as folder:
        one, window = simulated(Path(folder) / "a", seed=seed, hours=0.7, governor=before)
        other, _ = simulated(Path(folder) / "b", seed=seed, hours=0.7, governor=after)
        wanted = {
            each.entry_id: (each.verdict, each.reason, each.factor)
            for each in other.decisions()
            if each.record()["decision"] == "EXECUTE"
        }
        changes = {
            f"governor.{name}": getattr(Governor(**after), name) for name in (*before, *after)
        }
        scenario = Scenario(changes, in_sequence=True)
        found = {}
        for case in Cases(one, RulesBook(one), window.since_ms, window.until_ms).window():
            made = scenario.take(case)
            if case.executes:
                found[case.decision.entry_id] = (made.verdict, made.reason, scenario.factor(case))
        assert found == wanted


def test_counts_are_rebuilt_from_permits_alone(tmp_path: Path) -> None:
    history, window = simulated(tmp_path / "h", hours=3)
    cases = Cases(history, RulesBook(history), window.since_ms, window.until_ms)
    opens = [case for case in cases.window() if case.opens and not case.once]
    assert len(opens) > 500
    assert all(map(accounted, opens))
    assert max(case.rebuilt.opens_total_5min for case in opens) > 3
    assert any(case.rebuilt.last_close_age_ms for case in opens)


def test_a_permit_more_changes_the_next_decision(tmp_path: Path) -> None:
    history, window = simulated(tmp_path / "h", hours=3)
    found = replay.run(history, window, {"governor.max_exec_per_hour": 6})
    assert found.alone is not None
    assert found.in_sequence is not None
    assert found.alone.let_through.count > found.in_sequence.let_through.count > 0
    assert found.alone.decisions == found.in_sequence.decisions == found.parity.decisions
    assert found.alone.verdicts.total() == found.alone.decisions
    assert len(found.largest) == 10
    worth = [each.notional_usd or 0.0 for each in found.largest]
    assert worth == sorted(worth, reverse=True)


def test_the_recorded_value_changes_nothing(tmp_path: Path) -> None:
    history, window = simulated(tmp_path / "h")
    found = replay.run(history, window, {"governor.max_exec_per_hour": 3, "allocation.scale": 1.0})
    for tally in (found.alone, found.in_sequence):
        assert tally is not None
        assert all(was == now for was, now in tally.verdicts)
        assert tally.permits == tally.recorded_permits
    assert found.largest == ()
    assert found.proposed is not None
    assert found.proposed.changed == 0
    assert found.proposed.recorded == found.proposed.replayed


def test_a_gap_leaves_what_is_missing_as_recorded(tmp_path: Path) -> None:
    history, window = simulated(tmp_path / "h", "gap", hours=2, per_minute=40)
    found = replay.run(history, window, {"governor.max_exec_per_hour": 3})
    assert found.parity.holds
    assert found.parity.uncounted > 0
    assert found.in_sequence is not None
    assert all(was == now for was, now in found.in_sequence.verdicts)


def test_a_longer_memory_than_the_record_has_is_unknown_alone(tmp_path: Path) -> None:
    history, window = simulated(tmp_path / "h", hours=2)
    found = replay.run(history, window, {"governor.reopen_cooldown_sec": 600.0})
    assert found.alone is not None
    assert found.in_sequence is not None
    assert found.alone.unknown.total() > 0
    assert found.in_sequence.unknown.total() == 0
    assert found.in_sequence.verdicts["ok", "reopen_cooldown"] > 0
    assert found.alone.held.count == 0


def test_other_scores_count_as_stale_under_a_shorter_limit(tmp_path: Path) -> None:
    history, window = simulated(tmp_path / "h")
    found = replay.run(history, window, {"allocation.stale_sec": 30.0})
    assert found.proposed is not None
    assert found.proposed.reasons["ok", "stale_eff"] > 0
    # By hand, row by row.
    expected = {"ok": 0, "stale_eff": 0}
    for read in history.passes(window.since_ms, window.until_ms):
        for row in range(read.value.symbols):
            texts = (read.value.columns.score_ts[row], read.value.columns.score_timestamp[row])
            newest = max(numbers.epoch(text) or 0.0 for text in texts if text)
            late = read.value.ts_ms / 1000 - newest > 30
            expected["stale_eff" if late else "ok"] += 1
    assert {now: n for (_, now), n in found.proposed.reasons.items()} == expected


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        ("factor_e4", 1234, "eff_factor"),
        ("extra_cooldown_sec", 7, "extra_cooldown_sec"),
        ("price", 99999.5, "reason"),
        ("queue_age_ms", 10_001, "reason"),
        ("opens_1h", 3, "reason"),
    ],
)
def test_one_changed_value_is_a_difference(
    tmp_path: Path, column: str, value: object, field: str
) -> None:
    history, window = simulated(tmp_path / "h", hours=0.5)
    day = next((tmp_path / "h").glob("*.sqlite"))
    day.chmod(0o600)
    with sqlite3.connect(day) as db:
        one = "SELECT max(d.id) FROM decisions d JOIN profiles p ON p.id = d.profile WHERE"
        db.execute(
            f"UPDATE decisions SET {column} = ? WHERE id = ({one} p.verdict = 'permitted' "
            "AND p.kind = 'open' AND d.price IS NOT NULL AND d.qty IS NOT NULL)",
            (value,),
        )
    db.close()
    found = parity.check(history, window.since_ms, window.until_ms)
    assert not found.holds
    assert [each.field for each in found.listed] == [field]
    assert found.share is not None
    assert found.share < 1
    shown = replay.run(history, window, {"governor.max_exec_per_hour": 6})
    assert (shown.alone, shown.in_sequence, shown.curves) == (None, None, ())


def test_a_curve_has_todays_value(tmp_path: Path) -> None:
    history, window = simulated(tmp_path / "h")
    wanted = [sweep.parse("max_exec_per_hour=1:7:4"), sweep.parse("allocation.scale=0:2:0.5")]
    found = replay.run(history, window, {}, wanted)
    hourly, scale = found.curves
    assert [point.value for point in hourly.decisions] == [1, 3, 5]
    assert [point.today for point in hourly.decisions] == [False, True, False]
    permits = [point.permits for point in hourly.decisions]
    assert permits == sorted(permits)
    assert permits[0] < permits[-1]
    recorded = sum(
        each.verdict == "permitted" and each.kind == "open" for each in history.decisions()
    )
    assert hourly.decisions[1].permits == hourly.decisions[1].alone_permits == recorded
    assert scale.proposals[0].mean == 1.0
    assert [point.today for point in scale.proposals].count(True) == 1


def test_what_lacks_its_limits_is_unknown_and_in_no_figure(tmp_path: Path) -> None:
    history, window = simulated(tmp_path / "h")
    day = next((tmp_path / "h").glob("*.sqlite"))
    day.chmod(0o600)
    with sqlite3.connect(day) as db:
        db.execute("DELETE FROM documents WHERE kind = 'limits'")
    db.close()
    found = replay.run(history, window, {"governor.max_exec_per_hour": 6})
    assert found.parity.holds, "the proposals are proven"
    assert found.parity.decisions == 0
    assert sum(found.parity.unproven.values()) > 500
    for tally in (found.alone, found.in_sequence):
        assert tally is not None
        assert tally.unknown.total() == tally.decisions == sum(found.parity.unproven.values())
        assert tally.permits.count == tally.let_through.count == tally.downsizes.replayed == 0
    assert found.today == {"governor.max_exec_per_hour": None}


def test_a_duplicate_needs_its_permit(tmp_path: Path) -> None:
    """Where the history is whole for 24 h, a duplicate without a permit is a difference."""
    history, window = simulated(tmp_path / "h", hours=26, per_minute=4)
    cases = Cases(history, RulesBook(history), window.since_ms, window.until_ms)
    late = [case for case in cases.window() if case.decision.reason == "duplicate_plan"][-1]
    assert late.first == "duplicate_plan"
    for day in (tmp_path / "h").glob("*.sqlite"):
        day.chmod(0o600)
        with sqlite3.connect(day) as db:
            db.execute(
                "DELETE FROM decisions WHERE plan_id = ? AND outcome = 1", (late.decision.plan_id,)
            )
        db.close()
    again = parity.check(history, window.since_ms, window.until_ms)
    assert (late.decision.plan_id, "reason") in {(each.name, each.field) for each in again.listed}


HOUR_MS = 3_600_000
PERMIT = decision_at(NOON - 3 * HOUR_MS, plan_id="p1")
AGAIN = decision_at(NOON, plan_id="p1", verdict="blocked", reason="duplicate_plan")
LATER = decision_at(NOON + 5)


def written(folder: Path, *entries: Entry) -> parity.Parity:
    """Parity of the last minute of a history with these decisions."""
    rules = msgspec.structs.asdict(Limits()) | msgspec.structs.asdict(DownsizeRules())
    limits = Document("limits", "abcd", msgspec.json.encode(rules))
    with Store(folder) as store:
        store.write(Batch(decisions=[*entries], documents=[limits]))
    return parity.check(History(folder), NOON - 60_000, NOON + 60_000)


def test_a_permit_from_long_before_proves_a_duplicate(tmp_path: Path) -> None:
    found = written(tmp_path, PERMIT, AGAIN, LATER)
    assert found.holds
    assert (found.decisions, found.unproven) == (2, {})


def test_a_duplicate_whose_permit_may_lie_before_the_history_is_unproven(tmp_path: Path) -> None:
    found = written(tmp_path, AGAIN, LATER)
    assert found.holds
    assert found.decisions == 1
    assert found.unproven == {parity.UNKNOWN_PERMIT: 1}


def test_a_duplicate_without_a_permit_differs_where_the_history_is_whole(tmp_path: Path) -> None:
    found = written(tmp_path, decision_at(NOON - 30 * HOUR_MS), AGAIN, LATER)
    assert [(each.name, each.recorded, each.again) for each in found.listed] == [
        ("p1", "duplicate_plan", "ok")
    ]


def test_a_second_permit_of_a_plan_differs(tmp_path: Path) -> None:
    second = decision_at(NOON, plan_id="p1", entry_id="9-9")
    found = written(tmp_path, decision_at(NOON - 30 * HOUR_MS), PERMIT, second)
    # Read from before its permit: the plan had one already.
    assert found.holds, "only the hour before is read for plans that are no duplicates"
    with Store(tmp_path) as store:
        store.write(Batch(decisions=[decision_at(NOON - 600_000, plan_id="p1", entry_id="8-8")]))
    again = parity.check(History(tmp_path), NOON - 60_000, NOON + 60_000)
    assert [(each.name, each.again) for each in again.listed] == [("p1", "duplicate_plan")]
