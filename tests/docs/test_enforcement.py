"""docs/enforcement.md: what P2.9 is to do, as printed there, follows as readiness counts it."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from qtctl.evidence import policy

PAGE = Path(__file__).parents[2] / "docs/enforcement.md"
NOW = 1_769_558_400.0
Follow = Callable[[float, dict[str, str] | None, float, float], float]


@pytest.fixture(scope="module")
def printed() -> dict[str, object]:
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)
    found: dict[str, object] = {}
    exec(block, found)
    return found


@pytest.fixture
def follow(printed: dict[str, object]) -> Follow:
    return printed["follow"]  # type: ignore[return-value]


def proposal(multiplier: float, **changes: str) -> dict[str, str]:
    fields = {"ts_epoch": f"{NOW:.0f}", "reason": "ok", "base_target": "1000.00"}
    return fields | {"multiplier": f"{multiplier:.4f}"} | changes


def test_its_numbers_are_those_of_the_default_policy(printed: dict[str, object]) -> None:
    default = policy.load(None)
    assert (printed["DEADBAND"], printed["STEP_LIMIT"]) == (default.deadband, default.step_limit)


def test_it_follows_as_readiness_does(follow: Follow) -> None:
    """The statement of evidence.md: not before the deadband, then by the step limit at most."""
    draw, held = random.Random(1), 1.0
    for _ in range(500):
        wanted = draw.uniform(0.5, 1.5)
        before, held = held, follow(held, proposal(wanted), 1000.0, NOW)
        if abs(round(wanted, 4) - before) <= 0.02:
            assert held == before
        else:
            assert abs(held - before) <= 0.25 + 1e-9
            assert abs(round(wanted, 4) - held) == pytest.approx(
                max(0.0, abs(round(wanted, 4) - before) - 0.25), abs=1e-9
            )


@pytest.mark.parametrize(
    "found",
    [
        None,
        proposal(1.4, ts_epoch=f"{NOW - 31:.0f}"),
        proposal(1.4, reason="stale_eff"),
        proposal(1.4, base_target="1020.00"),
    ],
)
def test_what_is_not_to_be_trusted_leads_back_to_1(
    follow: Follow, found: dict[str, str] | None
) -> None:
    assert follow(1.2, found, 1000.0, NOW) == 1.0
    assert follow(1.4, found, 1000.0, NOW) == pytest.approx(1.15)
    assert follow(1.2, proposal(1.4), 1000.0, NOW) == pytest.approx(1.4)


def test_the_target_of_a_short_is_followed_too(follow: Follow) -> None:
    short = proposal(1.2, base_target="-1000.00")
    assert follow(1.0, short, -1000.0, NOW) == pytest.approx(1.2)
    assert follow(1.2, short, -1020.0, NOW) == 1.0
