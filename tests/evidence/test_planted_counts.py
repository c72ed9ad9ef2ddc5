"""What was planted comes out: the report of each simulated history beside counts that are made from
the simulation's own rows, before anything was stored, by loops too plain to be wrong."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from qtctl.evidence import report as reports
from qtctl.evidence import window as windows
from qtctl.evidence.report import Report
from qtctl.history.reader import History
from qtctl.history.rows import Entry, PassEntry
from qtctl.settings.model import Settings
from qtctl.simulate.history_maker import GAP_MS, HistoryMaker, Wanted
from qtctl.simulate.market import FAULTS
from tests.evidence.made import END_MS, INTERVAL

HOURS, SYMBOLS = (6.0, 60) if os.environ.get("TESTS_LONG") == "1" else (1.5, 6)
LASTED_MS = int(HOURS * 3_600_000)
START_MS = END_MS - LASTED_MS
MIDDLE_MS, FAULTY_MS = START_MS + LASTED_MS // 2, START_MS + LASTED_MS // 4


class Planted:
    """A history of a fault: the rows that were made, and the report of what was stored."""

    def __init__(self, fault: str, folder: Path) -> None:
        self.fault = fault
        self.passes: list[PassEntry] = []
        self.decisions: list[Entry] = []
        wanted = Wanted(
            seed=11, symbols=SYMBOLS, start_ms=START_MS, end_ms=END_MS, per_minute=8,
            faults=frozenset({fault} - {""}),
        )  # fmt: skip
        for _, batch in HistoryMaker(wanted, Settings()).batches():
            self.passes += batch.passes
            self.decisions += batch.decisions
        HistoryMaker(wanted, Settings()).write(folder)
        history = History(folder)
        self.report: Report = reports.make(history, windows.choose(history, None, None))

    def lasted(self) -> Iterator[tuple[PassEntry, int, bool]]:
        """Each pass, for how long it stands, and whether it comes behind a hole."""
        ids = [entry.id for entry in self.passes] + [entry.id for entry in self.decisions]
        end = max(int(each.partition("-")[0]) for each in ids) + 1
        ends = [entry.value.ts_ms for entry in self.passes[1:]] + [end]
        behind = True
        for entry, until in zip(self.passes, ends, strict=True):
            lasted = until - entry.value.ts_ms
            hole = lasted > 3 * INTERVAL
            yield entry, INTERVAL if hole else lasted, behind
            behind = hole


@pytest.fixture(scope="module", params=["", *FAULTS], ids=lambda name: name or "clean")
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted(request.param, tmp_path_factory.mktemp("planted") / "h")


def test_plans_verdicts_and_downsizes(planted: Planted) -> None:
    fields = [entry.fields for entry in planted.decisions]
    found = planted.report.governor
    assert found.plans == len(fields) > 400
    assert found.permitted == sum(each["verdict"] == "permitted" for each in fields)
    expected = Counter((each["reason"], each["kind"]) for each in fields)
    assert {(row.reason, row.kind): row.plans for row in found.verdicts} == expected
    for row in found.verdicts:
        worth = [
            float(each["notional_usd"])
            for each in fields
            if (each["reason"], each["kind"]) == (row.reason, row.kind) and each["notional_usd"]
        ]
        assert row.known == len(worth)
        assert row.usd == (pytest.approx(sum(worth)) if worth else None)
    opens = [each for each in fields if (each["verdict"], each["kind"]) == ("permitted", "open")]
    hints = [each for each in opens if each["eff_action"] == "DOWNSIZE"]
    assert (found.downsizes.opens, found.downsizes.downsized) == (len(opens), len(hints))
    off = [
        float(each["notional_usd"]) * (1 - float(each["eff_factor"]))
        for each in hints
        if each["notional_usd"]
    ]
    assert found.downsizes.known == len(off)
    assert (found.downsizes.off_usd or 0.0) == pytest.approx(sum(off))
    if planted.fault == "lockdown":
        after = [each for each in fields if float(each["decided_at"]) * 1000 >= MIDDLE_MS]
        assert {each["reason"] for each in after} <= {
            "kill_switch_active", "duplicate_plan", "plan_conflict",
        }  # fmt: skip
        stopped = sum(each["reason"] == "kill_switch_active" for each in after)
        assert stopped == sum(
            row.plans for row in found.verdicts if row.reason == "kill_switch_active"
        )
        assert stopped > 200
    assert found.refused == []


def test_passes_and_gaps(planted: Planted) -> None:
    found = planted.report.allocation
    assert found is not None
    coverage, due = found.coverage, int(HOURS * 360)
    assert (coverage.due, coverage.made) == (due, len(planted.passes))
    if planted.fault != "gap":
        assert coverage.made == due
        assert planted.report.window.gaps == []
        return
    missing = GAP_MS // INTERVAL
    assert (coverage.made, coverage.unknown, coverage.not_made) == (due - missing, missing, 0)
    gaps = {each.stream.rpartition(":")[2]: each for each in planted.report.window.gaps}
    assert {each.to_ms - each.from_ms for each in gaps.values()} == {GAP_MS}
    assert gaps["allocation.pass"].count == missing
    (pause,) = (b.value.ts_ms - a.value.ts_ms for a, b in pairwise(planted.passes)
                if b.value.number != a.value.number + 1)  # fmt: skip
    assert pause == pytest.approx(GAP_MS + INTERVAL, abs=10)


def test_time_in_each_reason_and_at_the_clamps(planted: Planted) -> None:
    times: dict[str, Counter[str]] = defaultdict(Counter)
    held, at_clamps = Counter[str](), 0
    for entry, lasted, _ in planted.lasted():
        columns = entry.value.columns
        for symbol, reason, mult in zip(
            columns.symbol, columns.reason, columns.multiplier, strict=True
        ):
            times[symbol][reason] += lasted
            if reason == "ok":
                held[mult] += lasted
                at_clamps += lasted * (mult in ("0.5000", "1.5000"))
    found = planted.report.allocation
    assert found is not None
    whole = sum(times.values(), Counter[str]())
    assert found.reasons == pytest.approx({k: n / whole.total() for k, n in whole.items()})
    assert found.symbol_hours == pytest.approx(whole.total() / 3_600_000)
    for each in planted.report.symbols:
        own = times[each.symbol]
        assert each.observed_ms == own.total()
        assert each.reasons == pytest.approx({k: n / own.total() for k, n in own.items()})
    assert found.multiplier.at_clamps == pytest.approx(at_clamps / held.total())
    reached, middle = 0, 0.0
    for mult in sorted(held):
        if reached < 0.5 * held.total():
            reached, middle = reached + held[mult], float(mult)
    assert found.multiplier.p50 == middle
    if planted.fault == "stale":
        died = {each.symbol for each in planted.report.symbols if "stale_eff" in each.reasons}
        assert died == set(planted.passes[0].value.columns.symbol[::5])


def test_flips_steps_and_turnover(planted: Planted) -> None:
    flips, turnover, live, step = Counter[str](), 0.0, 0.0, 0.0
    sides: dict[str, int] = {}
    before: dict[str, tuple[float, float]] = {}
    clock = 0
    for entry, lasted, behind in planted.lasted():
        clock += lasted
        columns = entry.value.columns
        for symbol, target, mult in zip(
            columns.symbol, columns.target_usd, columns.multiplier, strict=True
        ):
            usd, value = float(target), float(mult)
            side = (value > 1.02) - (value < 0.98)
            if symbol in before and not behind:
                turnover += abs(usd * value - before[symbol][0] * before[symbol][1])
                live += abs(usd - before[symbol][0])
                step = max(step, abs(value / before[symbol][1] - 1))
                flips[symbol] += bool(side and sides[symbol] and side != sides[symbol])
            sides[symbol] = side if behind else side or sides[symbol]
            before[symbol] = (usd, value)
    found = planted.report.allocation
    assert found is not None
    assert {each.symbol: each.flips for each in planted.report.symbols if each.flips} == +flips
    assert found.flips == flips.total()
    assert found.turnover_usd_per_hour == pytest.approx(turnover * 3_600_000 / clock)
    assert found.live_turnover_usd_per_hour == pytest.approx(live * 3_600_000 / clock)
    assert found.largest_step is not None
    assert found.largest_step.value == pytest.approx(step)
    if planted.fault == "oscillating":
        # A score a minute, each on the other side of 1; only the first may be on the same.
        minutes = (END_MS - FAULTY_MS) // 60_000
        assert all(minutes - 2 <= count <= minutes + 2 for count in flips.values())
