"""A verdict says no more than its rounds prove, and no less."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from qtctl.bench.figures import (
    Figure,
    Outcome,
    Spread,
    compared,
    in_rounds,
    percentile,
    ratios,
    side,
    spread,
)

TARGET = 2.0
BENCHES = 2_000


def outcomes(median: float, noise: float, rounds: int = 7) -> Counter[Outcome]:
    """The verdicts of many benches whose rounds lie around this median."""
    draw = random.Random(11)
    return Counter(
        in_rounds("s", "w", [draw.gauss(median, noise) for _ in range(rounds)], TARGET).verdict
        for _ in range(BENCHES)
    )


def test_a_value_measured_once_passes_or_fails() -> None:
    assert Figure("s", "w", 2.0, 2.0).verdict is Outcome.PASS
    assert Figure("s", "w", 2.1, 2.0).verdict is Outcome.FAIL
    assert Figure("s", "w", 15.0, 15, at_least=True).verdict is Outcome.PASS
    assert Figure("s", "w", 14.9, 15, at_least=True).verdict is Outcome.FAIL


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([1.7, 1.8, 1.9, 1.9, 1.9, 2.0, 9.0], Outcome.PASS),
        ([1.7, 1.8, 1.9, 1.9, 1.9, 2.1, 2.1], Outcome.UNSURE),
        ([1.9, 1.9, 2.1, 2.1, 2.1, 2.1, 2.1], Outcome.UNSURE),
        ([0.1, 2.1, 2.1, 2.2, 2.3, 2.3, 2.4], Outcome.FAIL),
        ([1.9, 2.1, 2.1, 2.1, 2.1], Outcome.UNSURE),
        ([2.1, 2.9], Outcome.FAIL),
    ],
)
def test_one_round_out_of_seven_decides_nothing(values: list[float], verdict: Outcome) -> None:
    assert in_rounds("s", "w", values, TARGET).verdict is verdict
    mirrored = in_rounds("s", "w", [-value for value in values], -TARGET, at_least=True)
    assert mirrored.verdict is verdict, "the same for a least target"


@pytest.mark.parametrize("rounds", [4, 7, 15])
def test_the_spread_holds_the_true_median_in_85_of_100_benches(rounds: int) -> None:
    draw = random.Random(5)
    held = 0
    for _ in range(BENCHES):
        found = spread([draw.lognormvariate(0, 1) for _ in range(rounds)])
        held += found.low <= 1.0 <= found.high
    assert 0.84 <= held / BENCHES <= 0.95, "at least, and not much more"


def test_more_rounds_make_the_spread_smaller() -> None:
    def width(rounds: int) -> float:
        found = spread([float(value * 7 % rounds) / rounds for value in range(rounds)])
        return found.high - found.low

    assert width(100) < width(30) < width(10)


def test_a_real_miss_is_no_uncertainty() -> None:
    """A tenth over its target, with the noise of a shared machine."""
    found = outcomes(TARGET * 1.1, noise=TARGET * 0.05)
    assert found[Outcome.FAIL] > 0.97 * BENCHES
    assert found[Outcome.PASS] == 0
    few = outcomes(TARGET * 1.03, noise=TARGET * 0.05)
    many = outcomes(TARGET * 1.03, noise=TARGET * 0.05, rounds=31)
    assert many[Outcome.FAIL] > 2 * few[Outcome.FAIL], "more rounds find a small one"


def test_a_figure_at_its_target_fails_seldom() -> None:
    found = outcomes(TARGET, noise=TARGET * 0.1)
    assert found[Outcome.FAIL] < 0.09 * BENCHES
    assert found[Outcome.UNSURE] > 0.8 * BENCHES


def test_ratios_are_those_of_each_round() -> None:
    ours, beside = [2.0, 6.0, 40.0], [1.0, 2.0, 4.0]
    assert ratios(ours, beside) == [2.0, 3.0, 10.0]
    figure = compared("s", "w", ours, beside, 4.0, note="why")
    assert (figure.value, figure.ok, figure.verdict) == (3.0, True, Outcome.UNSURE)
    assert figure.spread == Spread(2.0, 10.0, 3)
    assert figure.measured == side(ours)
    faster = compared("s", "w", ours, beside, 0.3, times_as_fast=True)
    assert (faster.value, faster.at_least, faster.ok) == (1 / 3, True, True)


def test_sides_and_percentiles() -> None:
    values: Sequence[float] = [3.0, 1.0, 5.0]
    assert (side(values).median, side(values).mean, side(values).most) == (3.0, 3.0, 5.0)
    assert percentile(list(range(100)), 99) == 99
    assert percentile([5.0], 50) == 5.0
