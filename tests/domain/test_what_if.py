"""A decision judged again: what follows from its facts, and what can't be told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from qtctl.domain.gates import Facts, Limits, judge
from qtctl.domain.reasons import Kind, Reason, Verdict
from qtctl.domain.what_if import LIMIT_NAMES, Recorded, again

AGES = st.floats(-100, 4000)
FACTS = st.builds(
    Facts,
    symbol=st.just("BTCUSDT"),
    kind=st.sampled_from(Kind),
    queue_age_sec=AGES,
    kill_value=st.sampled_from(["", "1", "reduce_only"]),
    queued_before_server=st.booleans(),
    permitted_before=st.booleans(),
    clock_jump=st.booleans(),
    plan_age_sec=st.none() | AGES,
    kill_score=st.none() | st.floats(0, 1),
    qty=st.none() | st.floats(-10, 10),
    price=st.none() | st.floats(0, 1000),
    last_open_age_sec=st.none() | AGES,
    last_close_age_sec=AGES,
    opens_5min=st.integers(0, 5),
    opens_1h=st.integers(0, 5),
    opens_total_5min=st.integers(0, 5),
)
LIMITS = st.builds(
    Limits,
    max_plan_age_sec=st.floats(1, 3600),
    max_queue_age_sec=st.floats(1, 3600),
    kill_score_critical=st.floats(0, 1),
    max_notional_per_trade_usd=st.floats(0, 500),
    symbol_cooldown_sec=st.floats(0, 3600),
    reopen_cooldown_sec=st.floats(0, 3600),
    max_exec_per_5min=st.integers(0, 5),
    max_exec_per_hour=st.integers(0, 5),
    max_opens_per_5min_total=st.integers(0, 5),
)


def recorded(facts: Facts, limits: Limits, **more: Any) -> Recorded:
    judged = judge(facts, limits)
    return Recorded(judged.verdict, judged.reason, facts, limits, **more)


@given(FACTS, LIMITS, LIMITS, st.sets(st.sampled_from(LIMIT_NAMES)))
def test_it_is_judged_by_its_own_limits_but_for_those_that_are_changed(
    facts: Facts, own: Limits, other: Limits, names: set[str]
) -> None:
    changes = {name: getattr(other, name) for name in names}
    found = again(recorded(facts, own), changes)
    assert found.unknown == ""
    assert found.judgement == judge(facts, replace(own, **changes))


@given(FACTS, LIMITS, LIMITS)
def test_forgotten_limits_count_for_nothing_once_all_of_them_are_given(
    facts: Facts, own: Limits, other: Limits
) -> None:
    decision = replace(recorded(facts, own), limits=None)
    changes = {name: getattr(other, name) for name in LIMIT_NAMES}
    assert again(decision, changes).judgement == judge(facts, other)
    del changes["max_exec_per_hour"]
    assert again(decision, changes).judgement is None
    assert "forgotten" in again(decision, changes).unknown


OPEN = Facts(symbol="BTCUSDT", kind=Kind.OPEN, queue_age_sec=0.1, opens_1h=3)


def test_a_fact_that_was_not_recorded_is_no_input_for_a_gate_that_is_on() -> None:
    off = Limits(max_opens_per_5min_total=0)
    decision = recorded(OPEN, off, unrecorded={"max_opens_per_5min_total": ("opens_total_5min",)})
    assert again(decision, {"max_exec_per_hour": 5}).judgement is not None
    found = again(decision, {"max_opens_per_5min_total": 3})
    assert (found.judgement, found.unknown) == (
        None,
        "its record has no usable opens_total_5min",
    )


def test_a_fact_of_a_gate_without_a_limit_is_always_needed() -> None:
    decision = recorded(OPEN, Limits(), unrecorded={"": ("kill_value",)})
    assert "kill_value" in again(decision, {"max_exec_per_hour": 5}).unknown


@pytest.mark.parametrize("verdict", [Verdict.PERMITTED, Verdict.BLOCKED])
def test_a_record_that_contradicts_itself_is_no_ground_for_another_verdict(
    verdict: Verdict,
) -> None:
    decision = Recorded(verdict, Reason.OK, OPEN, Limits())
    assert "own verdict" in again(decision, {"max_exec_per_hour": 5}).unknown


@pytest.mark.parametrize(
    ("own", "asked", "told"),
    [(60.0, 61.0, False), (60.0, 60.0, True), (60.0, 5.0, True), (0.0, 1.0, False)],
)
def test_a_close_is_remembered_for_as_long_as_the_cooldown_was_and_no_longer(
    own: float, asked: float, told: bool
) -> None:
    decision = recorded(replace(OPEN, opens_1h=0), Limits(reopen_cooldown_sec=own))
    found = again(decision, {"reopen_cooldown_sec": asked})
    assert (found.judgement is not None) == told
    if not told:
        assert found.unknown == (
            f"last_close_age_sec is known for {own:g} s only, as reopen_cooldown_sec was"
        )


def test_a_close_that_was_remembered_is_judged_by_under_any_cooldown() -> None:
    facts = replace(OPEN, opens_1h=0, last_close_age_sec=30.0)
    decision = recorded(facts, Limits())
    assert decision.reason == Reason.REOPEN
    found = again(decision, {"reopen_cooldown_sec": 30.0}).judgement
    assert found is not None
    assert found.verdict is Verdict.PERMITTED
    decision = recorded(facts, Limits(reopen_cooldown_sec=20.0))
    found = again(decision, {"reopen_cooldown_sec": 600.0}).judgement
    assert found is not None
    assert found.reason is Reason.REOPEN
