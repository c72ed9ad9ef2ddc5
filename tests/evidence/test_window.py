"""The window of evidence: by the history's own clock, with what is missing and what was due."""

from pathlib import Path

import msgspec
import pytest

from qtctl.errors import NotFoundError
from qtctl.evidence import window as windows
from qtctl.evidence.window import Coverage
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Document, Gap, PassEntry
from tests.evidence.made import INTERVAL, written
from tests.history.samples import NOON, a_pass, decision_at


def passes(*numbers: int) -> list[PassEntry]:
    return [a_pass(n, NOON + n * INTERVAL, ("BTCUSDT", "100", "0.5")) for n in numbers]


def gap(low: int, high: int, count: int | None, kind: str = "trimmed", stream: str = "") -> Gap:
    return Gap(kind, NOON + low * INTERVAL, NOON + high * INTERVAL, stream, count, "", NOON)


def coverage(history: History, since_ms: int | None = None, until: int | None = None) -> Coverage:
    window = windows.choose(history, since_ms, until)
    passes = history.passes(window.since_ms, window.until_ms)
    return windows.coverage([(each.value.ts_ms, INTERVAL) for each in passes], window)


def test_the_window_ends_with_the_newest_record(tmp_path: Path) -> None:
    history = written(tmp_path, Batch(passes=passes(0, 1), decisions=[decision_at(NOON + 15_000)]))
    assert windows.end_ms(history) == NOON + 15_001
    window = windows.choose(history, NOON - 3_600_000, None)
    assert (window.since_ms, window.until_ms) == (NOON, NOON + 15_001)
    assert window.asked_ms == NOON - 3_600_000
    assert not window.synthetic


def test_nothing_and_nothing_but_gaps_are_no_window(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing is recorded"):
        windows.choose(written(tmp_path / "a", Batch(gaps=[gap(0, 5, None)])), None, None)
    history = written(tmp_path / "b", Batch(passes=passes(0, 99), gaps=[gap(0, 99, 98)]))
    with pytest.raises(NotFoundError, match=r"no records, only 1 gap \(trimmed\)"):
        windows.choose(history, NOON + 2 * INTERVAL, NOON + 90 * INTERVAL)
    with pytest.raises(NotFoundError, match="nothing was recorded in that window"):
        windows.choose(history, NOON + 1000 * INTERVAL, None)


def test_a_pass_that_was_not_made_is_not_one_that_nobody_knows_of(tmp_path: Path) -> None:
    made = passes(0, 1, 2, 5, 6, 16, 17)
    history = written(tmp_path, Batch(passes=made, gaps=[gap(6, 16, 4)]))
    assert coverage(history) == Coverage(due=18, made=7, not_made=2 + 5, unknown=4)


@pytest.mark.parametrize(
    ("count", "kind", "stream", "unknown"),
    [
        (None, "trimmed", "quantum:stream:allocation.pass", 9),
        (9, "trimmed", "", 9),
        (9, "trimmed", "quantum:stream:governor.decisions", 0),
        (0, "loop_restarted", "", 0),
        (3, "loop_restarted", "", 3),
        (0, "two_loops", "", 0),
    ],
)
def test_which_gaps_hide_passes(
    tmp_path: Path, count: int | None, kind: str, stream: str, unknown: int
) -> None:
    batch = Batch(passes=passes(0, 10), gaps=[gap(0, 10, count, kind, stream)])
    found = coverage(written(tmp_path, batch))
    assert found == Coverage(due=11, made=2, not_made=9 - unknown, unknown=unknown)
    assert found.share == pytest.approx(2 / 11)
    assert found.at_most == pytest.approx((2 + unknown) / 11)


def test_ends_of_the_window_are_due_too(tmp_path: Path) -> None:
    history = written(tmp_path, Batch(passes=passes(0, 1, 8, 9, 20)))
    found = coverage(history, NOON + 3 * INTERVAL - 5_000, NOON + 14 * INTERVAL)
    assert found == Coverage(due=5 + 2 + 4, made=2, not_made=9, unknown=0)


def test_the_interval_stands_in_the_rules_of_a_pass(tmp_path: Path) -> None:
    documents = [
        Document("rules", "r2", msgspec.json.encode({"interval_sec": True})),
        Document("rules", "r3", b"{}"),
        Document("rules", "r4", b"not json"),
    ]
    history = written(tmp_path, Batch(passes=passes(0), documents=documents))
    found = [windows.interval_ms(history, name) for name in ("r1", "r2", "r3", "r4", "r5")]
    assert found == [INTERVAL, None, None, None, None]


def test_a_pass_that_came_a_little_late_leaves_none_missing_at_an_edge(tmp_path: Path) -> None:
    """The window begins right after one pass, and the next came 5 ms later than it was due."""
    late = [a_pass(n, NOON + n * INTERVAL + 5, ("BTCUSDT", "100", "0.5")) for n in range(1, 4)]
    history = written(tmp_path, Batch(passes=[*passes(0), *late]))
    assert coverage(history, NOON + 1) == Coverage(due=3, made=3, not_made=0, unknown=0)
