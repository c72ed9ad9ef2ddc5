"""The figures of the report by their formulas, on histories small enough to count by hand."""

from pathlib import Path

import pytest

from qtctl.errors import NotFoundError
from qtctl.evidence import report as reports
from qtctl.evidence import window as windows
from qtctl.evidence.report import Allocation, Report
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Gap
from tests.evidence.made import INTERVAL, a_pass, passes, plan, simulated, written
from tests.history.samples import NOON

S = "BTCUSDT"


def made(history: History, *symbols: str, since_ms: int | None = None) -> Report:
    return reports.make(history, windows.choose(history, since_ms, None), symbols)


def shadow(folder: Path, *batches: Batch) -> Allocation:
    found = made(written(folder, *batches)).allocation
    assert found is not None
    return found


def multipliers(*values: float) -> Batch:
    """One symbol of 100 USD with a multiplier in each pass, and one more, so that each one stands
    for 10 s."""
    return Batch(passes=passes(*([(S, 100.0, value)] for value in (*values, values[-1]))))


def test_flips_are_changes_of_side_outside_the_band(tmp_path: Path) -> None:
    found = shadow(tmp_path, multipliers(1.05, 1.0, 0.97, 0.985, 1.02, 1.0201, 0.98, 0.9799))
    assert found.flips == 3
    hours = 8 * INTERVAL / 3_600_000
    assert found.symbol_hours == pytest.approx(hours, rel=1e-3)
    assert found.flips_per_symbol_hour == pytest.approx(3 / hours, rel=1e-3)


def test_quantiles_weigh_by_time(tmp_path: Path) -> None:
    found = shadow(tmp_path, multipliers(*[0.8] * 3, *[0.9] * 8, *[1.1] * 8, 1.2)).multiplier
    assert (found.p10, found.p50, found.p90) == (0.8, 0.9, 1.1)


def test_time_at_a_clamp_is_of_the_time_in_which_the_score_was_ok(tmp_path: Path) -> None:
    rows = [(S, "100", "ok", "1.5000", "1.0"), (S, "100", "stale_eff", "1.0000", "0.5"),
            (S, "100", "ok", "0.5000", "0.0"), (S, "100", "ok", "1.0000", "0.5")]  # fmt: skip
    batch = Batch(passes=[a_pass(n, rows[min(n, 3)]) for n in range(5)])
    found = shadow(tmp_path, batch)
    assert found.multiplier.at_clamps == pytest.approx(2 / 3, rel=1e-3)
    assert found.reasons == pytest.approx({"ok": 0.75, "stale_eff": 0.25}, rel=1e-3)


def test_clamps_are_unknown_without_the_rules(tmp_path: Path) -> None:
    from qtctl.history.store import Store

    with Store(tmp_path) as store:
        store.write(multipliers(1.5, 1.5))
    report = made(History(tmp_path))
    assert report.window.unknown_rules == 1
    assert report.allocation is not None
    assert report.allocation.multiplier.at_clamps is None


def test_turnover_of_the_proposed_beside_the_live(tmp_path: Path) -> None:
    batch = Batch(
        passes=passes(
            [(S, 100.0, 1.0), ("ETHUSDT", 50.0, 1.2)],
            [(S, 110.0, 1.0), ("ETHUSDT", 50.0, 1.1)],
            [(S, 110.0, 0.9), ("ETHUSDT", 40.0, 1.1)],
        )
    )
    found = shadow(tmp_path, batch)
    hours = 2 * INTERVAL / 3_600_000
    proposed, live = 10 + 5 + 11 + 11, 10 + 10
    assert found.turnover_usd_per_hour == pytest.approx(proposed / hours, rel=1e-3)
    assert found.live_turnover_usd_per_hour == pytest.approx(live / hours, rel=1e-3)


def test_gross_exposure_and_the_largest_changes(tmp_path: Path) -> None:
    batch = Batch(
        passes=passes(
            [(S, 300.0, 1.1), ("ETHUSDT", 100.0, 0.7)],
            [(S, 300.0, 0.9), ("ETHUSDT", 100.0, 0.8)],
            [(S, 300.0, 1.0), ("ETHUSDT", 100.0, 1.0)],
        )
    )
    found = shadow(tmp_path, batch)
    assert found.gross.passes == 3
    assert found.gross.p50 == pytest.approx(0)
    assert found.gross.p99 == pytest.approx(0.125)
    assert found.gross.largest is not None
    assert found.gross.largest.value == pytest.approx(-0.125)
    assert found.gross.largest.at_ms == NOON + INTERVAL
    assert found.largest_usd is not None
    assert found.largest_share is not None
    assert found.largest_step is not None
    assert abs(found.largest_usd.value) == pytest.approx(30)
    assert (found.largest_share.symbol, found.largest_share.value) == ("ETHUSDT", -0.3)
    assert found.largest_step.value == pytest.approx(0.25)


def test_nothing_moves_across_a_hole_and_its_time_is_not_observed(tmp_path: Path) -> None:
    batch = Batch(
        passes=[
            a_pass(0, (S, 100.0, 1.1)),
            a_pass(1, (S, 100.0, 1.1)),
            a_pass(2, (S, 500.0, 0.9), at=50),
            a_pass(3, (S, 500.0, 0.9), at=51),
        ],
        gaps=[Gap("trimmed", NOON + INTERVAL, NOON + 50 * INTERVAL, "", 40, "", NOON)],
    )
    report = made(written(tmp_path, batch))
    found = report.allocation
    assert found is not None
    assert (found.flips, found.turnover_usd_per_hour) == (0, 0.0)
    assert found.largest_step is None
    assert report.window.observed_ms == pytest.approx(3 * INTERVAL, abs=1)
    assert (found.coverage.due, found.coverage.made) == (52, 4)
    assert (found.coverage.unknown, found.coverage.not_made) == (40, 8)


def test_a_symbol_that_comes_and_goes_has_its_own_time(tmp_path: Path) -> None:
    both, one = [(S, 100.0, 1.1), ("ETHUSDT", 50.0, 0.9)], [(S, 100.0, 1.1)]
    report = made(written(tmp_path, Batch(passes=passes(one, both, one, both, both))))
    times = {each.symbol: each.observed_ms for each in report.symbols}
    assert times[S] == pytest.approx(4 * INTERVAL, abs=1)
    assert times["ETHUSDT"] == pytest.approx(2 * INTERVAL, abs=1)
    assert all(each.flips == 0 for each in report.symbols)


def test_a_target_that_is_no_number_is_no_proposal(tmp_path: Path) -> None:
    batch = Batch(passes=[a_pass(n, (S, "soon", "", "", "0.5")) for n in range(3)])
    found = shadow(tmp_path, batch)
    assert found.reasons == {"none": 1.0}
    assert found.multiplier.p50 is None
    assert (found.gross.passes, found.gross.without, found.gross.p50) == (0, 3, None)


def test_proofs_are_left_out_and_symbols_can_be_picked(tmp_path: Path) -> None:
    row = [(S, 100.0, 1.1), ("QTPROOFA", 9e9, 1.5), ("ETHUSDT", 50.0, 0.9)]
    decisions = [
        plan(1, symbol=S), plan(2, symbol="QTPROOFA"), plan(3, symbol=S, source="qtctl-proof"),
        plan(4, symbol="ETHUSDT"),
    ]  # fmt: skip
    history = written(tmp_path, Batch(passes=passes(row, row), decisions=decisions))
    report = made(history)
    assert {each.symbol for each in report.symbols} == {S, "ETHUSDT"}
    assert report.governor.plans == 2
    one = made(history, "btcusdt")
    assert [each.symbol for each in one.symbols] == [S]
    assert (one.governor.plans, one.governor.rejected) == (1, None)
    assert sum(part.live for part in one.parts) == 200.0
    with pytest.raises(NotFoundError, match="XRPUSDT is in no pass and no decision"):
        made(history, "XRPUSDT")


def test_without_passes_there_is_no_figure_of_them(tmp_path: Path) -> None:
    report = made(written(tmp_path, Batch(decisions=[plan(1)])))
    assert report.allocation is None
    assert report.symbols == []
    assert report.governor.permitted == 1


def test_late_passes_count_as_made_alone(tmp_path: Path) -> None:
    from qtctl.evidence.shadow import Shadow
    from qtctl.history.day_reader import PassRead

    history = written(tmp_path, multipliers(1.1, 1.2))
    window = windows.choose(history, None, None)
    found = Shadow(history, window)
    reads = list(history.passes())
    late = PassRead(reads[0].id, reads[0].value, range(1), True, True)
    for each in (reads[0], reads[1], late, reads[2]):
        found.add(each)
    found.end()
    assert found.late == 1
    assert windows.coverage(found.times, window).made == 4
    assert found.tracks[S].observed_ms == pytest.approx(2 * INTERVAL, abs=1)


def test_downsizes_and_what_they_would_take_off(tmp_path: Path) -> None:
    decisions = [
        plan(1, eff_action="DOWNSIZE", eff_factor="0.5000", notional_usd="80.00"),
        plan(2, eff_action="DOWNSIZE", eff_factor="0.2500", notional_usd=""),
        plan(3, eff_action="NONE", eff_factor="1.0000"),
        plan(4, kind="close", eff_action="DOWNSIZE", eff_factor="0.5000"),
    ]
    found = made(written(tmp_path, Batch(decisions=decisions))).governor.downsizes
    assert (found.opens, found.downsized, found.known) == (3, 2, 1)
    assert (found.usd, found.off_usd) == (80.0, 40.0)


def test_unknown_notional_is_no_zero(tmp_path: Path) -> None:
    decisions = [plan(1, notional_usd=""), plan(2, kind="close", notional_usd="5.00")]
    rows = made(written(tmp_path, Batch(decisions=decisions))).governor.verdicts
    assert {(each.kind, each.plans, each.known, each.usd) for each in rows} == {
        ("open", 1, 0, None),
        ("close", 1, 1, 5.0),
    }


def test_refused_closes_are_listed_unless_all_was_stopped(tmp_path: Path) -> None:
    def close(at: int, reason: str, **more: str) -> object:
        return plan(at, kind="close", verdict="blocked", reason=reason, **more)

    decisions = [
        close(1, "kill_switch_active", kill_key="k", kill_value="1", kill_level="2"),
        close(2, "duplicate_plan"), close(3, "plan_conflict"),
        close(4, "stale_plan", plan_id="late"),
        plan(5, kind="close"),
        plan(6, verdict="blocked", reason="stale_plan"),
    ]  # fmt: skip
    found = made(written(tmp_path, Batch(decisions=decisions))).governor  # type: ignore[arg-type]
    assert found.closes == 5
    assert [(each.plan_id, each.reason) for each in found.refused] == [("late", "stale_plan")]


def test_latency_is_of_plans_of_which_it_is_known(tmp_path: Path) -> None:
    decisions = [plan(n, queue_age_sec=f"{n / 100:.3f}") for n in range(1, 101)]
    decisions.append(plan(200, kind="close", queue_age_sec=""))
    found = made(written(tmp_path, Batch(decisions=decisions))).governor.latency
    assert (found.known, found.unknown) == (100, 1)
    assert (found.p50_sec, found.p99_sec, found.max_sec) == (0.5, 0.99, 1.0)


def test_changes_of_rules_limits_and_versions_are_listed(tmp_path: Path) -> None:
    from msgspec.structs import replace

    rows = [(S, 100.0, 1.1)]
    entries = passes(rows, rows, rows)
    entries[2] = replace(entries[2], value=replace(entries[2].value, rules="r9"))
    decisions = [plan(1), plan(2, limits="efgh"), plan(3, limits="efgh", version="0.2")]
    report = made(written(tmp_path, Batch(passes=entries, decisions=decisions)))
    assert [each.what for each in report.changes] == [
        "governor: other limits", "governor: other version", "allocation: other rules",
    ]  # fmt: skip


def test_a_synthetic_history_is_whole_and_its_faults_show(tmp_path: Path) -> None:
    report = made(simulated(tmp_path / "stale", "stale"))
    found = report.allocation
    assert found is not None
    assert found.coverage.share == 1.0
    assert report.window.synthetic
    assert found.reasons["stale_eff"] == pytest.approx(0.25 * (0.75 - 1 / 24), abs=0.02)
    oscillating = made(simulated(tmp_path / "oscillating", "oscillating")).symbols[0]
    assert oscillating.flips == pytest.approx(180, abs=5)
    gap = made(simulated(tmp_path / "gap", "gap")).allocation
    assert gap is not None
    assert (gap.coverage.due, gap.coverage.unknown, gap.coverage.not_made) == (1440, 120, 0)


def test_what_can_not_be_read_is_a_gap_as_well(tmp_path: Path) -> None:
    from qtctl.evidence.shadow import Shadow
    from qtctl.history.day_reader import Damage

    made_ = [a_pass(n, (S, 100.0, 1.1), at=n if n < 3 else n + 20) for n in range(6)]
    history = written(tmp_path, Batch(passes=made_))
    window = windows.choose(history, None, None)
    found = Shadow(history, window)
    for each in history.passes():
        found.add(each)
    low, high = NOON + 2 * INTERVAL, NOON + 23 * INTERVAL
    history.damage.append(Damage("2026-01-29", "passes", low, high, "damaged"))
    found.end()
    assert [gap.kind for gap in found.window.gaps] == ["day_damaged"]
    coverage = windows.coverage(found.times, found.window)
    assert (coverage.made, coverage.unknown, coverage.not_made) == (6, 20, 0)
