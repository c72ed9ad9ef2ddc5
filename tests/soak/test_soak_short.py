"""The soak in seconds; the long form is `make soak`. And the test of the test."""

import sys
from collections import Counter

import pytest

from tests.soak.harness import run
from tests.soak.scenario import Kind, Scenario, acts, plans

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
    Kind.SERVER_CLOCK: 2,
    Kind.HOST_CLOCK: 2,
}


def test_nothing_is_lost_and_nothing_happens_twice_whatever_is_killed() -> None:
    short = Scenario(plans=600, rate=90, seed=SEED, acts=ONCE_EACH, longest_sec=1.2)
    report = run(short)
    assert report.ok, str(report)
    assert Counter(act.kind for act in report.done) == ONCE_EACH, str(report)
    found = report.findings
    assert len(found.history.plans) >= 600, str(report)
    assert len(found.permitted) > 300, str(report)
    assert len(found.taken) > 0.9 * len(found.permitted), str(report)
    reasons = found.reasons()
    assert reasons["duplicate_plan"] > 10, str(report)
    assert reasons["plan_conflict"] > 10, str(report)
    assert len(found.recoveries(report.done)) >= len(report.done) / 2, str(report)


@pytest.mark.parametrize(
    ("how", "seen"),
    [
        ("forgets", {"decided twice", "permitted twice", "taken twice"}),
        ("drops", {"lost"}),
        ("hides", {"lost", "permit recorded but not told", "taken without a permit"}),
        ("hoards", {"never settled"}),
        ("dies", {"governor ended by itself"}),
    ],
    ids=["forgets", "drops", "hides", "hoards", "dies"],
)
def test_the_soak_sees_a_governor_that(how: str, seen: set[str]) -> None:
    """What is sabotaged is told in sabotaged.py; a check that can't fail is worth nothing."""
    governor = (sys.executable, "-m", "tests.soak.sabotaged", how)
    quiet = Scenario(plans=400, rate=400, seed=SEED, acts={}, governor=governor, settle_sec=1.0)
    report = run(quiet)
    assert seen <= report.breached, str(report)


def test_the_nemesis_strikes_while_plans_are_in_hand() -> None:
    """A governor that acknowledges too early does harm only if it is killed just then."""
    hasty = (sys.executable, "-m", "tests.soak.sabotaged", "acks-first")
    kills = {Kind.KILL_GOVERNOR: 6}
    report = run(Scenario(plans=360, rate=120, seed=SEED, acts=kills, governor=hasty))
    assert report.breached == {"lost"}, str(report)


def test_the_soak_sees_a_consumer_that_leaves_the_permit_where_it_was() -> None:
    careless = Scenario(plans=100, rate=200, seed=SEED, acts={}, consumers=("careless",) * 2)
    report = run(careless)
    assert "taken twice" in report.breached, str(report)
    assert "permitted twice" not in report.breached, str(report)


def test_a_seed_is_all_that_a_run_is_made_of() -> None:
    one, same, other = (Scenario(plans=300, rate=10, seed=seed) for seed in (1, 1, 2))
    assert plans(one) == plans(same)
    assert acts(one) == acts(same)
    assert plans(one) != plans(other)
    assert acts(one) != acts(other)
