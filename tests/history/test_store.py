"""What goes into the history comes out of it, once, and after whatever ended the recorder."""

from pathlib import Path

import pytest

from qtctl import errors
from qtctl.domain.passes import Columns, Pass
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Document, Entry, Gap, PassEntry
from qtctl.history.store import Store

NOON = 1_769_688_000_000
DECISION = {
    "verdict": "permitted", "reason": "ok", "plan_id": "p1", "entry_id": f"{NOON - 7}-0",
    "symbol": "BTCUSDT", "kind": "open", "action": "OPEN_PROPOSED", "side": "BUY", "qty": "0.001",
    "price": "43250.5", "source": "harvest", "kill_score": "0.539", "notional_usd": "43.25",
    "eff_score": "0.4500", "eff_confidence": "0.8", "eff_stale": "0", "eff_factor": "0.9999",
    "eff_action": "DOWNSIZE", "eff_reason": "ok", "downsize_factor": "0.9999",
    "extra_cooldown_sec": "66", "eff_age_sec": "12.345", "deliveries": "1", "attempts": "1",
    "instance": "h1", "version": "0.1", "limits": "abcd", "permitted_before": "0",
    "decided_at": f"{NOON // 1000}.000", "plan_age_sec": "0.130", "queue_age_sec": "0.007",
    "kill_key": "", "kill_value": "", "kill_level": "0", "queued_before_server": "0",
    "clock_jump": "0", "last_open_at": "1769687899", "last_open_age_sec": "100.130",
    "last_close_age_sec": "", "opens_5min": "0", "opens_1h": "1", "opens_total_5min": "3",
    "score": "0.44996", "confidence": "0.8", "score_at": "1769687987",
}  # fmt: skip


def columns(*rows: tuple[str, str, str]) -> Columns:
    """Rows of symbol, target and score; the rest is what producers write."""
    symbols, targets, scores = map(list, zip(*rows, strict=True))
    n = len(rows)
    return Columns(
        symbols, targets, ["1769687999"] * n, scores, ["0.8"] * n, ["1769687990"] * n, [""] * n,
        ["ok"] * n, ["1.0000"] * n,
    )  # fmt: skip


def a_pass(number: int, at_ms: int, *rows: tuple[str, str, str]) -> PassEntry:
    value = Pass(number, at_ms, "h1", "0.1", "r1", len(rows), columns(*rows))
    return PassEntry(f"{at_ms}-0", value)


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


def test_one_recorder_a_folder(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(errors.RefusedError, match="another recorder"):
        Store(tmp_path)
