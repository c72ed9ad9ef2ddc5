"""The soak in seconds; the long form is `make soak`. And the test of the test."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from tests.soak import lost_tail
from tests.soak.harness import run
from tests.soak.report import Report
from tests.soak.scenario import Act, Kind, Scenario, acts, plans
from tests.support.clocks import library

SEED = 20_260_128
ONCE_EACH = {
    Kind.KILL_GOVERNOR: 3,
    Kind.STOP_GOVERNOR: 1,
    Kind.KILL_SERVER: 1,
    Kind.KILL_REWRITING: 1,
    Kind.STOP_SERVER: 1,
    Kind.PAUSE: 1,
    Kind.MEMORY: 1,
    Kind.GROUP: 1,
    Kind.SCRIPTS: 1,
    Kind.CLIENTS: 1,
    Kind.HOST_CLOCK: 1,
    Kind.SLOW: 1,
    Kind.LOG: 1,
    Kind.FLOOD: 1,
}
FORGETFUL = {
    Kind.EMPTY: 1,
    Kind.FLUSH: 1,
    Kind.STEP_FEW: 1,
    Kind.STEP_JUMP: 1,
    Kind.STEP_BACK: 1,
    Kind.STEP_2H: 1,
}
BUSY_SEC = 6.0
"""That a close may wait here, where the whole suite shares the machine; `make soak` grants 1.2."""
LOST_HALT = Act(at_sec=0.1, kind=Kind.FLUSH_HALTED, lasts_sec=1.6, luck=0.45)
AHEAD = 4
"""So many runs are begun before their tests, three at a time."""

Start = Callable[[Scenario], Report]


def _sabotaged(how: str, **changed: Any) -> Scenario:
    """A second of plans for a governor that is broken on purpose; sabotaged.py says how."""
    governor = (sys.executable, "-m", "tests.soak.sabotaged", how)
    quiet = Scenario(
        plans=300, rate=200, seed=SEED, acts={}, consumers=("apply",), stepped=False,
        governor=governor, settle_sec=1.0, take_sec=0.3, fresh_sec=BUSY_SEC,
    )  # fmt: skip
    return msgspec.structs.replace(quiet, **changed)


STORM = Scenario(plans=600, rate=100, seed=SEED, acts=ONCE_EACH, longest_sec=1.2, stepped=False,
                 fresh_sec=BUSY_SEC)  # fmt: skip
CLOCKS = Scenario(plans=350, rate=100, seed=SEED, acts=FORGETFUL, longest_sec=1.2,
                  fresh_sec=BUSY_SEC)  # fmt: skip
CARELESS = Scenario(plans=100, rate=200, seed=SEED, acts={}, consumers=("careless",) * 2,
                    take_sec=0.3, stepped=False, fresh_sec=BUSY_SEC)  # fmt: skip
BROKEN = {
    "forgets": {"decided twice", "permitted twice", "taken twice"},
    "drops": {"lost"},
    "hides": {"lost", "permit recorded but not told", "taken without a permit"},
    "hoards": {"never settled"},
    "dies": {"governor ended by itself"},
}
ACKS_FIRST = _sabotaged(
    "acks-first", acts={Kind.KILL_GOVERNOR: 5}, plans=300, rate=120, settle_sec=20.0
)
COOLDOWN = ("governor.symbol_cooldown_sec=1",)
OWN_CLOCK = _sabotaged("own-clock", plans=450, acts={Kind.HOST_CLOCK: 1}, settle_sec=20.0)
KEEPS_MARKS = _sabotaged("keeps-marks", plans=450, acts={Kind.STEP_BACK: 1}, stepped=True,
                         settings=COOLDOWN, settle_sec=20.0)  # fmt: skip
FORGETS_HALTS = _sabotaged("forgets-halts", plans=300, rate=60, timed=(LOST_HALT,), settle_sec=20.0)
KEEPS_HALTS = msgspec.structs.replace(FORGETS_HALTS, governor=STORM.governor)


@pytest.fixture(scope="module")
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """The report of a run. Most of a run is waiting: with the one that a test asks for, those of
    the next few tests are begun. Never all: every worker of pytest-xdist that comes by a test of
    this file has a fixture of its own, and collects all of them."""
    wanted = [
        marker.args[0] for item in request.session.items
        if item.path == request.path and (marker := item.get_closest_marker("soak"))
    ]  # fmt: skip
    begun: dict[int, Future[Report]] = {}
    with ThreadPoolExecutor(max_workers=3) as pool:

        def report(what: Scenario) -> Report:
            at = [id(each) for each in wanted].index(id(what))
            for each in wanted[at : at + 1 + AHEAD]:
                if id(each) not in begun:
                    begun[id(each)] = pool.submit(run, each)
            return begun[id(what)].result()

        yield report
        for each in begun.values():
            each.cancel()


@pytest.mark.soak(STORM)
def test_nothing_is_lost_and_nothing_happens_twice_whatever_is_killed(start: Start) -> None:
    report = start(STORM)
    assert report.ok, str(report)
    assert Counter(act.kind for act in report.done) == ONCE_EACH, str(report)
    found = report.findings
    assert found.plans >= 600, str(report)
    assert len(found.permitted) > 300, str(report)
    assert len(found.taken) > 0.9 * len(found.permitted), str(report)
    reasons = found.reasons()
    assert reasons["duplicate_plan"] > 5, str(report)
    assert reasons["plan_conflict"] > 5, str(report)
    assert len(report.recoveries()) >= len(report.done) / 2, str(report)


@pytest.mark.soak(CLOCKS)
def test_clocks_step_servers_forget_and_every_refusal_has_its_reason(start: Start) -> None:
    library()
    report = start(CLOCKS)
    assert report.ok, str(report)
    assert Counter(act.kind for act in report.done) == FORGETFUL, str(report)
    assert len(report.findings.eras) == 3, str(report)
    assert report.findings.diary.must_know()[1] >= 1, str(report)


_RUNS = {how: _sabotaged(how) for how in BROKEN}
# A second permit is only issued once the first was taken.
_RUNS["forgets"] = _sabotaged("forgets", plans=400, rate=120)


@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=pytest.mark.soak(_RUNS[how])) for how in BROKEN]
)
def test_the_soak_sees_a_governor_that(start: Start, how: str) -> None:
    """What is sabotaged is told in sabotaged.py; a check that can't fail is worth nothing."""
    report = start(_RUNS[how])
    assert BROKEN[how] <= report.breached, str(report)


@pytest.mark.soak(OWN_CLOCK)
def test_the_soak_sees_a_governor_that_trusts_the_clock_of_its_host(start: Start) -> None:
    report = start(OWN_CLOCK)
    assert report.breached == {"score aged by another clock"}, str(report)


@pytest.mark.soak(KEEPS_MARKS)
def test_the_soak_sees_a_governor_that_keeps_marks_ahead_of_the_clock(start: Start) -> None:
    library()
    report = start(KEEPS_MARKS)
    assert report.breached == {"open refused without a reason"}, str(report)


@pytest.mark.soak(FORGETS_HALTS)
def test_the_soak_sees_a_governor_that_forgets_halts_with_the_server(start: Start) -> None:
    report = start(FORGETS_HALTS)
    assert report.breached == {"permitted though halted"}, str(report)


@pytest.mark.soak(KEEPS_HALTS)
def test_a_halt_outlives_a_server_that_comes_back_empty(start: Start) -> None:
    report = start(KEEPS_HALTS)
    assert report.ok, str(report)
    assert report.findings.diary.must_know()[0] == 1, str(report)


@pytest.mark.soak(ACKS_FIRST)
def test_the_nemesis_strikes_while_plans_are_in_hand(start: Start) -> None:
    """A governor that acknowledges too early does harm only if it is killed just then."""
    report = start(ACKS_FIRST)
    assert report.breached == {"lost"}, str(report)


@pytest.mark.soak(CARELESS)
def test_the_soak_sees_a_consumer_that_leaves_the_permit_where_it_was(start: Start) -> None:
    report = start(CARELESS)
    assert "taken twice" in report.breached, str(report)
    assert "permitted twice" not in report.breached, str(report)


def test_a_seed_is_all_that_a_run_is_made_of() -> None:
    one, same, other = (Scenario(plans=300, rate=10, seed=seed) for seed in (1, 1, 2))
    assert plans(one) == plans(same)
    assert acts(one) == acts(same)
    assert plans(one) != plans(other)
    assert acts(one) != acts(other)


def test_lost_tails_permit_no_open_twice_and_a_governor_that_trusts_servers_is_found() -> None:
    broken = (sys.executable, "-m", "tests.soak.sabotaged", "trusts-servers")
    with ThreadPoolExecutor(max_workers=2) as pool:
        honest, trusting = pool.map(
            lambda command: lost_tail.run(2, SEED, print, command), (lost_tail.HONEST, broken)
        )
    assert honest.ok, str(honest)
    assert honest.undone, str(honest)
    assert trusting.again, "what has lost its decisions was permitted again, and must be seen"
