"""The atomic step reads a score as domain.readings and domain.downsize do: two texts of the same
rules, held together on the real server. What it can't read it leaves to Python, with nothing done.
"""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from qtctl.domain.downsize import DownsizeRules, hint
from qtctl.domain.passes import kept_number
from qtctl.domain.readings import EFF_FIELDS, as_read, assess
from qtctl.wire.client.store import Store
from qtctl.wire.governor.commit import CommitResult, ScoreUnread, ServerMarks, commit
from qtctl.wire.schema.keys import EFFICIENCY
from qtctl.wire.schema.records import HINT, pairs
from tests.support import plans

RULES = DownsizeRules(0.65, 0.45, 0.25, 117.5, 600.0)
AGES = st.sampled_from([-61.5, -59.5, 0.0, 0.25, 599.5, 601.5, 86_400.0 * 40])
NUMBERS = st.one_of(
    st.floats(0, 1).map(lambda value: f"{value:.6f}"),
    st.integers(0, 1_000).map(lambda value: str(value / 1000)),
    st.sampled_from(["0", "1", "1.", "00.5", "0.45", "0.44996", "0.65", "0.64995", "0.00005"]),
)
ODD = st.sampled_from(
    [" 0.5", "5e-1", ".5", "-0", "0x1", "nan", "1.5", "", "half", "0.5\0", "1" * 30]
)


def _epoch(at: float) -> list[str]:
    whole = f"{at:.3f}"
    return [str(int(at)), whole, str(int(at * 1e3)), str(int(at * 1e6)), str(int(at * 1e9))]


def _iso(at: float) -> list[str]:
    moment = datetime.fromtimestamp(at, UTC)
    east = moment.astimezone(timezone(timedelta(hours=5, minutes=30)))
    naive = moment.replace(tzinfo=None)
    return [
        moment.isoformat(), moment.isoformat(timespec="milliseconds"), east.isoformat(),
        naive.isoformat(sep=" "), naive.isoformat(timespec="seconds") + "Z",
        moment.astimezone(timezone(timedelta(hours=-11))).isoformat(timespec="seconds"),
    ]  # fmt: skip


@st.composite
def times(draw: st.DrawFn) -> tuple[float, int] | None:
    """Seconds before now, and in which spelling; None for no field."""
    return draw(st.none() | st.tuples(AGES, st.integers(0, 10)))


def _written(now: float, time: tuple[float, int] | None) -> str | None:
    if time is None:
        return None
    at = now - time[0]
    return [*_epoch(at), *_iso(at)][time[1]]


def _judged(store: Store, raw: dict[str, str]) -> tuple[Any, dict[str, str]]:
    """The outcome of a plan on a symbol with this hash, and the row of the history."""
    key = store.keys.at(EFFICIENCY, "BTCUSDT")
    if raw:
        store.run("HSET", key, *[part for pair in raw.items() for part in pair])
    plan = plans.read(plans.fields())
    request = plans.unscored(plan, plans.queue(store, plans.fields()))
    step = plans.settings(store, downsize=RULES)
    ((_, outcome),) = commit(store, [request], step, ServerMarks(decisions_maxlen=10))
    rows = store.run("XRANGE", store.keys.decisions, "-", "+")
    return outcome, pairs(rows[0][1]) if rows else {}


@given(score=NUMBERS, confidence=NUMBERS, ts=times(), timestamp=times())
@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_score_counts_as_in_python(
    store: Store, score: str, confidence: str, ts: Any, timestamp: Any
) -> None:
    store.run("FLUSHALL")
    now = store.now_ms() / 1000
    written = dict(
        zip(EFF_FIELDS, (score, confidence, _written(now, ts), _written(now, timestamp)),
            strict=True)
    )  # fmt: skip
    raw = {name: value for name, value in written.items() if value is not None}
    outcome, row = _judged(store, raw)
    if ts is None and timestamp is None:
        assert isinstance(outcome, ScoreUnread)
        return
    assert isinstance(outcome, CommitResult)
    read_at = float(row["score_read_at"])
    assert repr(read_at) == row["score_read_at"], "all digits"
    assert 0 <= read_at - now < 60
    efficiency = assess(raw, read_at, RULES.eff_ttl_sec, RULES.min_conf)
    expected = pairs([part.encode() for part in HINT.flat(hint(efficiency, RULES))])
    record, permit = plans.decision(store), plans.permit(store) or b""
    assert {name: record[name] for name in expected} == expected
    assert record["eff_age_sec"] == f"{efficiency.age_sec:.3f}"
    kept = as_read(raw, read_at)
    assert [row["score"], row["confidence"], row["score_at"]] == [
        kept_number(each) for each in (kept.score, kept.confidence, kept.at)
    ]
    tail = ",".join(f'"{name}":"{value}"' for name, value in expected.items())
    assert permit.endswith(b'"consumed":false,' + tail.encode() + b"}")
    assert [outcome.hint(name) for name in expected] == [*expected.values()]


@given(odd=ODD, place=st.sampled_from(EFF_FIELDS[:2]))
@hypothesis_settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_written_in_another_way_is_left_to_python(
    store: Store, odd: str, place: str
) -> None:
    store.run("FLUSHALL")
    whole = {"efficiency_score": "0.5", "confidence": "0.9", "ts": str(store.now_ms() // 1000)}
    outcome, row = _judged(store, whole | {place: odd})
    assert isinstance(outcome, ScoreUnread)
    assert row == plans.decision(store) == {}
    assert plans.permit(store) is None
    assert len(plans.pending(store)) == 1


@pytest.mark.parametrize(
    "odd",
    [
        "2026-02-30T00:00:00", "2026-13-01T00:00:00", "2026-01-01T24:00:00", "2026-01-01",
        "20260101T000000Z", "2026-01-01T00:00:00.5", "2026-01-01T00:00:00+24:00", "1e9", "-5",
        "2026-01-01T00:00:60", "noon",
    ],
)  # fmt: skip
def test_a_time_in_another_way_likewise(store: Store, odd: str) -> None:
    raw = {"efficiency_score": "0.5", "confidence": "0.9", "timestamp": odd}
    assert isinstance(_judged(store, raw)[0], ScoreUnread)


def test_no_score_and_one_without_its_fields_are_different(store: Store) -> None:
    outcome, row = _judged(store, {})
    assert (outcome.hint("eff_reason"), row["score_read_at"]) == ("missing_eff", "0.0")
    store.run("FLUSHALL")
    assert isinstance(_judged(store, {"score": "0.5"})[0], ScoreUnread)
    store.run("FLUSHALL")
    store.run("SET", store.keys.at(EFFICIENCY, "BTCUSDT"), "0.5")
    assert isinstance(_judged(store, {})[0], ScoreUnread)


@pytest.mark.parametrize("year", [1970, 1999, 2000, 2024, 2026, 2027, 2100, 2400])
def test_every_month_of_a_year_is_the_same_time(store: Store, year: int) -> None:
    for month, day in ((1, 1), (2, 28), (3, 1), (12, 31), (2, 29)):
        try:
            moment = datetime(year, month, day, 23, 59, 59, 123456, UTC)
        except ValueError:
            continue
        store.run("FLUSHALL")
        raw = {"efficiency_score": "0.5", "confidence": "0.9", "ts": moment.isoformat()}
        _, row = _judged(store, raw)
        age = float(row["score_read_at"]) - moment.timestamp()
        assert row["eff_age_sec"] == f"{age:.3f}"
