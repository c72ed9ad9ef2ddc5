"""What a sceptic tries on the formulas: edges of windows, symbols that come late, huge sums,
two instances at once, and histories from which nothing can be said."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from qtctl.evidence import report as reports
from qtctl.evidence import window as windows
from qtctl.evidence.gate_values import chain_breaks
from qtctl.evidence.in_use import InUse
from qtctl.evidence.readiness import Readiness, assess
from qtctl.history import chain
from qtctl.history.folder import day_path
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Document, PassEntry, ServiceRow
from qtctl.history.store import Store
from tests.evidence.made import INTERVAL, RULES, Row, passes, plan, simulated, written
from tests.evidence.test_readiness import DEFAULT, HOUR_MS, gates, halted, judged, lax, moving
from tests.history.samples import DAY_MS, NOON

S, OTHER = "BTCUSDT", "ETHUSDT"


def gathered(folder: Path, entries: list[PassEntry]) -> History:
    """These passes in one block, as a recorder packs them in the end."""
    return written(folder, Batch(passes=entries), sealed_ms=NOON + DAY_MS)


def test_a_symbol_that_appears_within_a_block_has_its_own_time(tmp_path: Path) -> None:
    one: list[Row] = [(S, 100.0, 1.1)]
    both: list[Row] = [*one, (OTHER, 50.0, 0.9)]
    history = gathered(tmp_path, passes(one, one, both, both, one, both))
    report = reports.make(history, windows.choose(history, None, None))
    times = {each.symbol: each.observed_ms for each in report.symbols}
    assert times[S] == pytest.approx(5 * INTERVAL, abs=1)
    assert times[OTHER] == pytest.approx(2 * INTERVAL, abs=1)
    assert report.allocation is not None
    assert report.allocation.gross.largest is not None
    assert report.allocation.gross.p50 == pytest.approx((110 + 45) / 150 - 1)


def test_a_pass_that_was_decided_just_before_the_window_is_due_once(tmp_path: Path) -> None:
    entries = passes(*([(S, 100.0, 1.1)] for _ in range(4)))
    # Read at :00, written 80 ms later; the window begins between the two.
    entries[1] = replace(entries[1], id=f"{NOON + INTERVAL + 80}-0")
    history = written(tmp_path, Batch(passes=entries))
    window = windows.choose(history, NOON + INTERVAL + 40, None)
    report = reports.make(history, window)
    assert report.allocation is not None
    assert report.allocation.coverage.due == report.allocation.coverage.made == 3


def test_a_huge_target_leaves_no_error_in_the_sums(tmp_path: Path) -> None:
    calm: list[Row] = [(S, 100.0, 1.1), (OTHER, 100.0, 1.1)]
    huge: list[Row] = [(S, 1e305, 1.1), (OTHER, 100.0, 1.1)]
    history = gathered(tmp_path, passes(calm, huge, calm, calm))
    report = reports.make(history, windows.choose(history, None, None))
    assert report.allocation is not None
    assert report.allocation.gross.without == 0
    assert report.allocation.gross.p50 == pytest.approx(0.1)
    assert report.parts[-1].proposed == pytest.approx(220.0)


def test_a_step_from_nothing_is_a_step(tmp_path: Path) -> None:
    rows = [[(S, 100.0, 0.0)], [(S, 100.0, 1.2)], [(S, 100.0, 1.2)]]
    history = written(tmp_path, Batch(passes=passes(*rows)))
    report = reports.make(history, windows.choose(history, None, None))
    assert report.allocation is not None
    assert report.allocation.largest_step is not None
    assert report.allocation.largest_step.value == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("before", "after", "written_back"),
    [(0.004, 0.0, 0), (0.1, 0.11, 1), (100.0, 110.0, 1), (0.0, 0.0, 0), (0.0, 5.0, 0)],
)
def test_dust_that_goes_to_zero_was_not_written_back(
    tmp_path: Path, before: float, after: float, written_back: int
) -> None:
    rows: list[list[Row]] = [[(S, before, 1.1)], [(S, after, 1.1)], [(S, after, 1.1)]]
    found = gates(judged(tmp_path, passes(*rows)))["written_back"]
    assert found.value == written_back


def test_other_rules_put_a_multiplier_that_stays_at_their_clamp(tmp_path: Path) -> None:
    entries = passes(*([(S, 100.0, 1.2)] for _ in range(6)))
    # Nothing of the row changes, not even the time of its score.
    columns = entries[0].value.columns
    entries = [
        replace(each, value=replace(each.value, columns=columns, rules="r1" if n < 3 else "r2"))
        for n, each in enumerate(entries)
    ]
    with Store(tmp_path) as store:
        documents = [
            Document("rules", name, msgspec.json.encode(RULES | {"max_mult": most}))
            for name, most in (("r1", 1.5), ("r2", 1.2))
        ]
        store.write(Batch(passes=entries, documents=documents))
        store.seal(NOON + DAY_MS, NOON + DAY_MS)
    history = History(tmp_path)
    report = reports.make(history, windows.choose(history, None, None))
    assert report.allocation is not None
    assert report.allocation.multiplier.at_clamps == pytest.approx(2 / 5, abs=0.001)


# Several at once ----------------------------------------------------------------------------------


def test_two_loops_with_their_own_rules_are_one_change(tmp_path: Path) -> None:
    entries = moving(20)
    for n in range(5, 20, 2):
        entries[n] = replace(entries[n], value=replace(entries[n].value, instance="b", rules="r2"))
    history = written(tmp_path, Batch(passes=entries))
    report = reports.make(history, windows.choose(history, None, None))
    assert [(each.at_ms, each.what) for each in report.changes] == [
        (entries[5].value.ts_ms, "allocation: other rules")
    ]


def test_what_is_in_use_changes_with_an_instance_that_has_what_no_other_has() -> None:
    found = InUse("governor", "version", "limits", recent_ms=1_000)

    def noted(at_ms: int, name: str, *now: str) -> list[str]:
        before = len(found.changes)
        found.note(at_ms, name, *now)
        return [each.what for each in found.changes[before:]]

    assert noted(0, "a", "1", "x") == []
    assert noted(10, "b", "1", "x") == []
    assert noted(20, "b", "2", "x") == ["governor: other version"]
    assert noted(30, "a", "1", "x") == []
    assert noted(40, "c", "2", "x") == []
    assert noted(2_000, "b", "2", "x") == []
    # The old one comes back, long after: that is a roll-back.
    assert noted(2_100, "a", "1", "x") == ["governor: other version"]
    assert noted(9_000, "d", "1", "y") == ["governor: other limits"]


def test_governors_with_their_own_settings_may_run_side_by_side(tmp_path: Path) -> None:
    def row(at: int, what: str, name: str, settings: str) -> ServiceRow:
        return ServiceRow(NOON + at, what, "governor", name, "0.1", "h", 1, NOON, settings)

    rows = [row(1, "started", "a", "x"), row(2, "started", "b", "y"), row(50_000, "seen", "a", "x"),
            row(50_001, "seen", "b", "y"), row(90_000, "ended", "a", "x"),
            row(95_000, "started", "c", "y")]  # fmt: skip
    gate = gates(judged(tmp_path, moving(), services=rows))["window"]
    assert gate.value == pytest.approx((190_000 - 2) / HOUR_MS, abs=0.002)
    rows.append(row(100_000, "started", "d", "x"))
    gate = gates(judged(tmp_path / "again", moving(), services=rows))["window"]
    assert gate.value == pytest.approx((190_000 - 100_000) / HOUR_MS, abs=0.001)


# What can't be said -------------------------------------------------------------------------------


def only(found: Readiness, passed: bool | None) -> set[str]:
    return {gate.gate for gate in found.gates if gate.passed is passed}


def test_a_history_that_is_shorter_than_the_window_can_not_tell(tmp_path: Path) -> None:
    history = simulated(tmp_path, hours=1)
    found = assess(history, lax(hours=1.5))
    assert (only(found, False), only(found, None)) == (set(), {"window"})
    assert found.verdict == "CAN'T TELL"
    (gate,) = (each for each in found.gates if each.gate == "window")
    assert gate.value == pytest.approx(1.0, abs=0.01)
    assert "begins there" in gate.why


def test_a_change_shortly_before_the_end_fails_however_short_the_history(tmp_path: Path) -> None:
    rows = [
        ServiceRow(NOON + at, "changed", "governor", "g", "0.1", "h", 1, NOON, name)
        for at, name in ((0, "a"), (50_000, "b"))
    ]
    history = written(tmp_path, Batch(passes=moving(), services=rows))
    assert gates(assess(history, DEFAULT))["window"].passed is False


def test_one_pass_is_no_evidence(tmp_path: Path) -> None:
    found = assess(written(tmp_path, Batch(passes=moving(1))), DEFAULT)
    assert found.verdict != "READY"
    assert gates(found)["window"].passed is None


def test_a_symbol_without_proposals_is_not_ready_though_it_has_plans(tmp_path: Path) -> None:
    drill = [halted(NOON, "halted"), halted(NOON + 1, "resumed")]
    decisions = [plan(1), plan(2, symbol="XRPUSDT")]
    history = written(tmp_path, Batch(passes=moving(), halts=drill, decisions=decisions))
    policy = lax(20 * INTERVAL / HOUR_MS)
    assert assess(history, policy, ["btcusdt"]).verdict == "READY"
    found = assess(history, policy, [S, "xrpusdt"])
    assert {each.symbol: each.verdict for each in found.symbols} == {
        "XRPUSDT": "NOT READY", S: "READY",
    }  # fmt: skip
    assert found.verdict == "NOT READY"
    assert gates(found)["passes"].worst == "XRPUSDT"


def test_a_halt_that_was_never_resumed_is_no_drill(tmp_path: Path) -> None:
    other = replace(halted(NOON - 5, "halted"), key="other")
    rows = [other, replace(halted(NOON + 1, "resumed"), key="k")]
    assert gates(judged(tmp_path / "a", moving(), halts=rows))["drill"].passed is None
    rows = [other, replace(other, what="resumed", at_ms=NOON + 9)]
    assert gates(judged(tmp_path / "b", moving(), halts=rows))["drill"].passed is True


def test_a_finished_day_without_a_seal_is_no_proof(tmp_path: Path) -> None:
    history = simulated(tmp_path, hours=26, symbols=1)
    window = windows.choose(history, None, None)
    assert chain_breaks(history, window).value == 0
    (tmp_path / "chain.jsonl").unlink()
    assert chain.read(tmp_path) == []
    found = chain_breaks(history, window)
    assert found.value == 1
    assert "2026-01-26: it was sealed" in found.why
    # A day may be written as long as it is not sealed, so this one bears no mark of a seal.
    day_path(tmp_path, "2026-01-26").chmod(0o640)
    found = chain_breaks(history, window)
    assert found.value is None
    assert "2026-01-26 is over and not sealed" in found.why
