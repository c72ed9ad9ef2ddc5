"""The allocation formula against the golden cases, and what must hold for any score."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl.domain.allocation import AllocationRules, multiplier, propose
from qtctl.domain.readings import MISSING, Efficiency, Unusable, assess, target_usd
from qtctl.domain.reasons import EffReason
from qtctl.wire.schema.records import PROPOSAL, PROPOSAL_TIME
from tests.domain.vectors import cases, load

scores = st.floats(0, 1)
rules = st.builds(
    AllocationRules,
    min_conf=st.floats(0, 1),
    min_mult=st.floats(0, 1),
    max_mult=st.floats(1, 5),
    scale=st.floats(0, 5),
    base=st.floats(0, 3),
)


@pytest.mark.parametrize("case", cases("allocation"))
def test_golden_case(case: dict[str, Any]) -> None:
    rules = AllocationRules(**(load("allocation")["defaults"] | case["settings"]))
    efficiency = assess(case["efficiency"], case["now"], rules.stale_sec, rules.min_conf)
    base = target_usd(case["target"])
    assert isinstance(base, float)
    proposal = propose("BTCUSDT", base, efficiency, rules)
    time = PROPOSAL_TIME.text(int(case["now"]))
    written = [PROPOSAL_TIME.name, time, *PROPOSAL.flat(proposal)]
    assert list(zip(written[::2], written[1::2], strict=True)) == list(case["expect"].items())


@given(scores, scores, rules)
def test_the_multiplier_stays_in_its_bounds_and_rises_with_the_score(
    low: float, high: float, rules: AllocationRules
) -> None:
    low, high = sorted((low, high))
    small, large = (
        multiplier(Efficiency(EffReason.OK, score, 1.0), rules) for score in (low, high)
    )
    assert rules.min_mult <= small <= large <= rules.max_mult


raws = st.one_of(
    st.none(),
    st.builds(Unusable, st.text(max_size=5)),
    st.dictionaries(
        st.sampled_from(["efficiency_score", "confidence", "ts", "timestamp"]),
        st.one_of(
            st.text(max_size=12),
            st.floats().map(repr),
            st.sampled_from(["0.2", "0.9", "1769558400", "2026-01-28T00:00:00", "nan", ""]),
        ),
    ),
)


@given(raws, st.floats(1e9, 2e9), rules)
def test_nothing_unreadable_ever_changes_a_target(raw: Any, now: float, rules: Any) -> None:
    efficiency = assess(raw, now, rules.stale_sec, rules.min_conf)
    if efficiency.reason is not EffReason.OK:
        assert propose("X", 1000.0, efficiency, rules).proposed_usd == 1000.0
    if efficiency.reason in (EffReason.MISSING, EffReason.UNUSABLE):
        assert efficiency.score is None
        assert efficiency.confidence is None
        assert not efficiency.stale
    if efficiency.reason is EffReason.UNUSABLE:
        assert efficiency.problem or isinstance(raw, Unusable)


@given(raws, st.floats(1e9, 2e9), rules)
def test_same_inputs_give_the_same_bytes(raw: Any, now: float, rules: Any) -> None:
    first, second = (
        PROPOSAL.flat(
            propose("X", 7.5, assess(raw, now, rules.stale_sec, rules.min_conf), rules),
        )
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({}, "has no target_usd"),
        ({"target_usd": ""}, "has no target_usd"),
        ({"target_usd": "-1"}, "negative"),
        ({"target_usd": "nan"}, "not a number"),
        (Unusable("WRONGTYPE"), "WRONGTYPE"),
    ],
)
def test_a_target_that_can_not_be_read_says_why(raw: Any, problem: str) -> None:
    found = target_usd(raw)
    assert isinstance(found, Unusable)
    assert problem in found.problem


def test_what_is_wrong_with_a_score_is_named() -> None:
    good = {"efficiency_score": "0.5", "confidence": "0.9", "ts": "1769558400"}
    for change, words in (
        ({"efficiency_score": "high"}, "efficiency_score 'high'"),
        ({"confidence": ""}, "has no confidence"),
        ({"ts": "soon"}, "ts 'soon' is not a time"),
        ({"ts": ""}, "neither ts nor timestamp"),
    ):
        assert words in assess(good | change, 1769558400, 600, 0.65).problem
    assert assess(None, 0, 600, 0.65) is MISSING
