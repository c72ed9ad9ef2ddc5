"""The downsize hint against the golden cases, and what must hold for any score."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl.domain.downsize import DownsizeRules, EffAction, hint
from qtctl.domain.readings import Efficiency, assess
from qtctl.domain.reasons import EffReason
from qtctl.wire.schema.records import HINT
from tests.domain.vectors import cases, load


@pytest.mark.parametrize("case", cases("downsize"))
def test_golden_case(case: dict[str, Any]) -> None:
    rules = DownsizeRules(**(load("downsize")["defaults"] | case["settings"]))
    efficiency = assess(case["efficiency"], case["now"], rules.eff_ttl_sec, rules.min_conf)
    written = HINT.flat(hint(efficiency, rules))
    assert list(zip(written[::2], written[1::2], strict=True)) == list(case["expect"].items())


@given(
    st.floats(0, 1),
    st.sampled_from(EffReason),
    st.builds(
        DownsizeRules,
        downsize_threshold=st.floats(0, 1),
        min_factor=st.floats(0, 1),
        max_extra_cooldown_sec=st.floats(0, 3600),
    ),
)
def test_the_factor_is_in_bounds_and_one_unless_downsized(
    score: float, reason: EffReason, rules: DownsizeRules
) -> None:
    found = hint(Efficiency(reason, score, 0.9), rules)
    assert rules.min_factor <= found.factor <= 1.0
    assert 0 <= found.extra_cooldown_sec <= rules.max_extra_cooldown_sec + 0.5
    if found.action is EffAction.NONE:
        assert (found.factor, found.extra_cooldown_sec) == (1.0, 0)
    else:
        assert reason is EffReason.OK
        assert score < rules.downsize_threshold
