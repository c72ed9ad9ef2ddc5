"""What goes into the history comes out of it, once, and after whatever ended the recorder."""

import contextlib
from pathlib import Path

import pytest

from qtctl import errors
from qtctl.domain.passes import COLUMNS, Pass
from qtctl.history import blocks
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Document, Entry, Gap, ServiceRow
from qtctl.history.store import Store
from tests.history.samples import DAY_MS, DECISION, MIDNIGHT, NOON, a_pass, decision_at


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    gap = Gap("trimmed", NOON - 9, NOON, "s", None, "why", NOON)
    passes = [
        a_pass(1, NOON, ("A", "10", "0.5"), ("B", "20", "0.6")),
        a_pass(2, NOON + 10_000, ("B", "20", "0.7"), ("C", "1", "=")),
    ]
    with Store(tmp_path) as store:
        assert store.cursors() == {}
        store.write(
            Batch(
                cursors={"passes": passes[-1].id, "decisions": f"{NOON}-1"},
                passes=passes,
                decisions=[Entry(f"{NOON}-1", DECISION)],
                events=[Entry(f"{NOON}-0", {"event": "blocked"})],
                gaps=[gap],
                documents=[Document("rules", "r1", b"{}")],
            )
        )
    history = History(tmp_path)
    assert [found.value for found in history.passes()] == [entry.value for entry in passes]
    (decision,) = history.decisions()
    assert (decision.record(), decision.id) == (DECISION, f"{NOON}-1")
    assert list(history.events()) == [Entry(f"{NOON}-0", {"event": "blocked"})]
    assert history.gaps() == [gap]
    assert history.document("rules", "r1") == b"{}"
    with Store(tmp_path) as store:
        assert store.cursors() == {"passes": passes[-1].id, "decisions": f"{NOON}-1"}


def test_a_batch_again_changes_nothing(tmp_path: Path) -> None:
    batch = Batch(
        cursors={"s": f"{NOON}-1"},
        passes=[a_pass(1, NOON, ("A", "1", "0.5"))],
        decisions=[Entry(f"{NOON}-1", DECISION)],
    )
    with Store(tmp_path) as store:
        assert store.write(batch).known == 0
        assert store.write(batch).known == 2
    assert len(list(History(tmp_path).passes())) == len(list(History(tmp_path).decisions())) == 1


class Ended(BaseException):
    """What ends the recorder while it gives way."""


def test_what_ends_it_while_it_gives_way_leaves_a_batch_whole_or_not_there(tmp_path: Path) -> None:
    """Also where it gathers the passes before, of which none may go or be there twice."""
    left = [0]

    def give_way() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Ended

    rows = [("A", "1", "0.5"), ("B", "2", "x")]
    given: list[int] = []
    with Store(tmp_path, give_way=give_way) as store:
        for number in range(1, blocks.MAX_PASSES + 5):
            at = NOON + number
            decisions = [decision_at(at)] * (number % 2)
            batch = Batch(
                cursors={"s": f"{at}-0"}, passes=[a_pass(number, at, *rows)], decisions=decisions
            )
            # Beyond what one pass alone takes, but where it gathers.
            left[0] = 1 + number * 7 % 60
            with contextlib.suppress(Ended):
                store.write(batch)
                given.append(number)
            if given[-1:] != [number]:
                assert store.cursors() == {"s": f"{at - 1}-0"} or number == 1
            left[0] = 0
            store.write(batch)
    history = History(tmp_path)
    numbers = [each.value.number for each in history.passes()]
    assert numbers == list(range(1, blocks.MAX_PASSES + 5))
    assert len(list(history.decisions())) == len(numbers) // 2
    assert 0 < len(given) < len(numbers), "some were ended, and some not"


def test_it_gives_way_before_each_column_also_where_it_gathers(tmp_path: Path) -> None:
    ways: list[None] = []
    took: list[int] = []
    with Store(tmp_path, give_way=lambda: ways.append(None)) as store:
        for number in range(1, blocks.MAX_PASSES + 1):
            ways.clear()
            store.write(Batch(passes=[a_pass(number, NOON + number, ("A", "1", "0.5"))]))
            took.append(len(ways))
    columns = len(COLUMNS)
    assert min(took) >= 3 * columns
    assert took[-1] >= 2 * columns * blocks.MAX_PASSES, "for each pass: unpacked, compared"


def test_one_recorder_a_folder(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(errors.RefusedError, match="another recorder"):
        Store(tmp_path)


def test_each_row_goes_to_the_day_of_its_id(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        batch = Batch(
            cursors={"s": "9-9"},
            decisions=[decision_at(MIDNIGHT - 1), decision_at(MIDNIGHT)],
            passes=[a_pass(1, MIDNIGHT - 1, ("A", "1", "1")), a_pass(2, MIDNIGHT, ("A", "1", "1"))],
        )
        store.write(batch)
    history = History(tmp_path)
    assert history.days() == ["2026-01-29", "2026-01-30"]
    assert [each.at_ms for each in history.decisions(MIDNIGHT)] == [MIDNIGHT]
    assert [each.value.number for each in history.passes(None, MIDNIGHT)] == [1]


def test_what_comes_late_stands_in_the_next_file_once(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.write(Batch(cursors={"s": "1-0"}, decisions=[decision_at(MIDNIGHT - 9)]))
        (link,) = store.seal(MIDNIGHT, MIDNIGHT + 1)
        assert (link.day, link.rows["decisions"]) == ("2026-01-29", 1)
        again = Batch(
            cursors={"s": "2-0"},
            decisions=[decision_at(MIDNIGHT - 9), decision_at(MIDNIGHT - 8), decision_at(MIDNIGHT)],
            passes=[a_pass(1, MIDNIGHT - 8, ("A", "1", "1"))],
        )
        for late, known in ((2, 1), (2, 4)):
            written = store.write(again)
            assert (written.late, written.known) == (late, known)
    assert [each.at_ms - MIDNIGHT for each in History(tmp_path).decisions()] == [-9, -8, 0]
    assert [each.late for each in History(tmp_path).passes()] == [True]


def test_a_sealed_day_keeps_its_cursors_where_the_next_is_lost(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.write(Batch(cursors={"s": "1-0"}, decisions=[decision_at(MIDNIGHT - 9)]))
        store.seal(MIDNIGHT, MIDNIGHT)
        store.write(Batch(cursors={"s": "2-0"}, decisions=[decision_at(MIDNIGHT)]))
    (tmp_path / "2026-01-30.sqlite").unlink()
    with Store(tmp_path) as store:
        assert store.cursors() == {"s": "1-0"}


def test_a_gone_day_is_a_gap_of_known_size(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for day in range(4):
            at = MIDNIGHT + day * DAY_MS
            store.write(Batch(cursors={"s": f"{day}-1"}, decisions=[decision_at(at)]))
        store.seal(MIDNIGHT + 3 * DAY_MS, MIDNIGHT)
    (tmp_path / "2026-01-31.sqlite").unlink()
    (gap,) = History(tmp_path).gaps()
    assert (gap.kind, gap.count) == ("day_missing", 1)
    assert "2026-01-31" in gap.detail


def test_many_passes_share_a_block(tmp_path: Path) -> None:
    """Whatever batches they come in, each comes out as it was."""
    made = []
    for n in range(300):
        rows = [(f"S{i}", str(i + n // 7), f"0.{i}{n % 5}") for i in range(20) if (i + n) % 19]
        made.append(a_pass(n, NOON + n * 1000, *rows))
    with Store(tmp_path) as store:
        for at, count in ((0, 1), (1, 100), (101, 150), (251, 49)):
            batch = made[at : at + count]
            store.write(Batch(cursors={"s": batch[-1].id}, passes=batch))
    found = [each.value for each in History(tmp_path).passes()]
    for was, now in zip([each.value for each in made], found, strict=True):
        assert _rows(was) == _rows(now)
    part = History(tmp_path).passes(NOON + 130_000, NOON + 133_000)
    assert [each.value.number for each in part] == [130, 131, 132]


def _rows(value: Pass) -> list[tuple[str, ...]]:
    return sorted(zip(*(getattr(value.columns, name) for name in COLUMNS), strict=True))


def test_a_day_that_is_being_read_is_sealed_at_the_next_look(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.write(Batch(cursors={"s": "1-0"}, decisions=[decision_at(MIDNIGHT - 9)]))
        reading = History(tmp_path).decisions()
        next(reading)
        assert store.seal(MIDNIGHT, MIDNIGHT) == []
        store.write(Batch(cursors={"s": "2-0"}, decisions=[decision_at(MIDNIGHT - 8)]))
        del reading
        (link,) = store.seal(MIDNIGHT, MIDNIGHT)
    assert link.rows["decisions"] == 2


def test_a_plan_is_found_by_its_id_in_open_and_sealed_days(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.write(Batch(cursors={"s": "1-0"}, decisions=[decision_at(MIDNIGHT - 9, plan_id="p")]))
        store.seal(MIDNIGHT, MIDNIGHT)
        later = [decision_at(MIDNIGHT, plan_id="p"), decision_at(MIDNIGHT + 1, symbol="ethusdt")]
        store.write(Batch(cursors={"s": "2-0"}, decisions=later))
        history = History(tmp_path)
        found = [each.at_ms for each in history.decisions_on("p")]
        assert found == [MIDNIGHT - 9, MIDNIGHT]
        assert [each.symbol for each in history.decisions(symbols=["ETHUSDT"])] == ["ethusdt"]
        assert list(history.decisions(symbols=["NONE"])) == []


def test_a_decision_twice_is_one_row_and_another_outcome_is_two(tmp_path: Path) -> None:
    entry = {"entry_id": f"{NOON - 5}-0", "verdict": "blocked"}
    with Store(tmp_path) as store:
        for reason in ("duplicate_plan", "duplicate_plan", "failover_quarantine"):
            at = NOON + len(list(History(tmp_path).decisions()))
            batch = [decision_at(at, **entry, reason=reason)]
            store.write(Batch(cursors={"s": f"{at}-0"}, decisions=batch))
        store.write(Batch(cursors={"s": "9-0"}, decisions=[decision_at(NOON + 7, reason="ok")]))
    reasons = [each.reason for each in History(tmp_path).decisions()]
    assert reasons == ["duplicate_plan", "failover_quarantine", "ok"]


def test_documents_services_and_halts_are_kept_by_the_day(tmp_path: Path) -> None:
    limits = b'{"max_plan_age_sec": 60}'
    row = ServiceRow(NOON, "started", "governor", "g", "1", "h", 1, NOON, "d")
    with Store(tmp_path) as store:
        for _ in range(2):
            store.write(Batch(services=[row], documents=[Document("limits", "d", limits)]))
    history = History(tmp_path)
    assert history.services() == [row]
    assert history.document("limits", "d") == limits
    assert history.limits("d") is None, "it lacks what can't be off"
    assert history.settings("x") is None
