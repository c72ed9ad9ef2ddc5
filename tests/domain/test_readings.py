"""Which of a score's two times counts, and in which unit a time is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl.domain import numbers
from qtctl.domain.readings import score_time, score_time_text

NOW = 1_769_558_400.0


@pytest.mark.parametrize(
    ("ts", "timestamp", "wanted"),
    [
        ("1769557700", "1769558390", 1_769_558_390.0),
        ("1769558390", "1769557700", 1_769_558_390.0),
        ("1769558390", "2026-01-27T23:50:00", 1_769_558_390.0),
        ("1769567400", "1769558395", 1_769_558_395.0),
        ("1769558395", "1769567400", 1_769_558_395.0),
        # Both far ahead: the newest, which is stale for lying ahead.
        ("1769567400", "1769567500", 1_769_567_500.0),
        ("soon", "1769558395", 1_769_558_395.0),
        ("1769558395", "", 1_769_558_395.0),
        ("", "1769558395000000", 1_769_558_395.0),
        ("soon", "", None),
        ("", "", None),
    ],
)
def test_the_newest_time_that_is_not_far_ahead_counts(
    ts: str, timestamp: str, wanted: float | None
) -> None:
    found = {"ts": ts, "timestamp": timestamp}
    assert score_time(found, NOW) == wanted
    assert score_time_text(found, NOW) == (
        ts or timestamp
        if wanted is None
        else next(t for t in (ts, timestamp) if t and numbers.epoch(t) == wanted)
    )


@given(st.floats(1.1e8, 9e9), st.sampled_from([1, 1_000, 1_000_000, 1_000_000_000]))
def test_a_time_reads_the_same_in_every_unit(seconds: float, parts: int) -> None:
    at = numbers.epoch(str(int(seconds * parts)))
    assert at is not None
    assert abs(at - seconds) < 1.01
