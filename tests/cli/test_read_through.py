"""What Redis has forgotten comes from the history: said, in order, once, within the limits; and
where the history can't give it, that is said too."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qtctl.history.rows import Batch, Document, Gap, ServerRow, ServiceRow
from qtctl.history.store import Store as HistoryStore
from qtctl.services.recorder import Recorder
from qtctl.settings.model import History as HistorySettings
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION, DECISION_TTL_SEC
from tests.history.samples import decision_at
from tests.services.helpers import governor, send, serve_all
from tests.support.cli import Cli, Said
from tests.support.plans import fields

HOUR_MS = 3_600_000
STREAM = "quantum:stream:governor.decisions"
LIMITS = b'{"max_exec_per_hour":3}'


class Operator:
    """The command line with a history, on a server."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self._cli, self.folder = cli, folder

    def __call__(self, *args: str) -> Said:
        return self._cli(*args, environ={"QTCTL_HISTORY_DIR": str(self.folder)})

    def ok(self, *args: str) -> Said:
        said = self(*args)
        assert said.code == 0, said
        return said

    def listed(self, *args: str) -> list[str]:
        return [row["plan_id"] for row in self.ok("plan", "list", *args, "-o", "json").json]


@pytest.fixture
def op(redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(Cli(redis_url, capsys), tmp_path / "history")


@pytest.fixture
def now_ms(store: Store) -> int:
    return int(store.now_ms())


def past(op: Operator, *decisions: Any, **more: Any) -> None:
    """Decisions that only the history knows, as a recorder would have left them."""
    with HistoryStore(op.folder) as history:
        for decision in sorted(decisions, key=lambda each: int(each.id.partition("-")[0])):
            history.write(Batch(cursors={STREAM: decision.id}, decisions=[decision]))
        if more:
            history.write(Batch(**more))


def old(at_ms: int, plan_id: str, **changes: str) -> Any:
    return decision_at(at_ms, plan_id=plan_id, decided_at=f"{at_ms / 1000:.3f}", **changes)


def decide(store: Store, *plan_ids: str, **changes: Any) -> None:
    made = governor(store)
    made.open()
    for plan_id in plan_ids:
        send(store, fields(plan_id=plan_id, **changes))
        serve_all(made)
    made.close()


def forget(store: Store, *plan_ids: str) -> None:
    """As after 24 h."""
    for plan_id in plan_ids:
        store.run("DEL", store.keys.at(DECISION, plan_id))


@pytest.fixture
def recorder(store: Store, op: Operator) -> Iterator[Recorder]:
    made = Recorder(Store(store.url, store.keys), HistorySettings(name="r1"), lambda: op.folder)
    made.open()
    yield made
    made.close()


# plan list ----------------------------------------------------------------------------------------


def test_older_decisions_follow_those_of_redis_once_and_in_order(
    op: Operator, store: Store, now_ms: int
) -> None:
    past(
        op,
        *(old(now_ms - hours * HOUR_MS, f"h{hours}") for hours in (25, 30, 50, 75, 200)),
    )
    decide(store, "p1", "p2")
    said = op.ok("plan", "list", "--since", "7d", "-o", "json")
    assert [row["plan_id"] for row in said.json] == ["p2", "p1", "h25", "h30", "h50", "h75"]
    assert [row.get("from") for row in said.json] == [None, None, *["history"] * 4]
    times = [float(row["decided_at"]) for row in said.json]
    assert times == sorted(times, reverse=True)
    line = said.err.splitlines()[0]
    assert line.startswith(f"4 from the history in {op.folder}, before ")
    assert op.listed("--since", "7d", "-n", "4") == ["p2", "p1", "h25", "h30"]
    assert op.listed("-n", "3") == ["p2", "p1", "h25"]
    assert op.ok("plan", "list", "-n", "3").err.startswith("1 from the history")
    assert op.listed("--since", "7d", "--until", "29h") == ["h30", "h50", "h75"]
    assert op.listed("--since", "7d", "--sort", "decided_at")[:2] == ["h75", "h50"]
    assert op.listed("--since", "7d", "--where", "from=history") == ["h25", "h30", "h50", "h75"]


def test_what_both_know_is_shown_once(op: Operator, store: Store, recorder: Recorder) -> None:
    decide(store, "p1", "p2", "p3")
    assert recorder.once()
    forget(store, "p2")
    # The events were trimmed and the server seems to have started after all of it.
    store.run("DEL", store.keys.events)
    rows = op.ok("plan", "list", "--since", "2d", "-o", "json").json
    # They may have been decided within a millisecond.
    assert sorted((row["plan_id"], row.get("from", "")) for row in rows) == [
        ("p1", ""), ("p2", "history"), ("p3", ""),
    ]  # fmt: skip
    times = [float(row["decided_at"]) for row in rows]
    assert times == sorted(times, reverse=True)


def test_an_emptied_redis_is_read_through(op: Operator, store: Store, recorder: Recorder) -> None:
    decide(store, "p1", "p2")
    before = op.ok("plan", "list", "-o", "json").json
    assert recorder.once()
    store.run("FLUSHALL")
    after = op.ok("plan", "list", "--since", "1h", "-o", "json").json
    assert sorted(map(str, ({**row, "from": "history"} for row in before))) == sorted(
        map(str, after)
    )


def test_filters_hold_in_the_history_too(op: Operator, store: Store, now_ms: int) -> None:
    at = now_ms - 30 * HOUR_MS
    past(
        op,
        old(at, "ok1"),
        old(at + 10, "no1", verdict="blocked", reason="symbol_cooldown"),
        old(at + 20, "no2", verdict="blocked", reason="hourly_limit_exceeded", symbol="ETHUSDT"),
        old(at + 30, "no3", verdict="blocked", reason="duplicate_plan"),
        old(at + 40, "ok2", kind="close", symbol="ethusdt"),
    )
    everything = ["ok2", "no2", "no1", "ok1"]
    assert op.listed("--since", "7d") == everything, "a duplicate is no decision of its own"
    assert op.listed("--since", "7d", "--blocked") == ["no2", "no1"]
    assert op.listed("--since", "7d", "--reason", "hourly_limit_exceeded") == ["no2"]
    assert op.listed("--since", "7d", "--kind", "close") == ["ok2"]
    assert op.listed("ETHUSDT", "--since", "7d") == ["ok2", "no2"]
    assert op.listed("--since", "7d", "--where", "plan_id=no1") == ["no1"]
    assert op.listed("-n", "all") == everything
    csv = op.ok("plan", "list", "--since", "7d", "-o", "csv", "--columns", "plan_id,from").out
    assert csv.split()[1:] == [f"{name},history" for name in everything]


def test_the_history_stays_closed_where_redis_has_enough(
    op: Operator, store: Store, now_ms: int
) -> None:
    decide(store, "p1", "p2", "p3", kill_score="0.9")
    op.folder.mkdir()
    (op.folder / "2026-01-01.sqlite").write_bytes(b"SQLite format 3\0 of another program")
    said = op.ok("plan", "list", "-n", "2", "-o", "json")
    assert len(said.json) == 2
    assert "history" not in said.err
    assert "history" in op.ok("plan", "list", "--since", "2d", "-o", "json").err


@pytest.mark.parametrize("what", ["missing", "not ours", "newer", "damaged", "a file"])
def test_a_history_that_cannot_be_read_is_named_and_the_rest_is_shown(
    op: Operator, store: Store, now_ms: int, what: str
) -> None:
    decide(store, "p1")
    day = time.strftime("%Y-%m-%d", time.gmtime(now_ms / 1000 - 4 * 86_400))
    if what not in ("missing", "a file"):
        past(op, old(now_ms - 26 * HOUR_MS, "h26"))
        path = op.folder / f"{day}.sqlite"
        path.write_bytes(b"")
        import sqlite3

        with sqlite3.connect(path) as db:
            db.execute(f"PRAGMA application_id = {1 if what == 'not ours' else 0x71746864}")
            db.execute("PRAGMA user_version = 99")
            db.execute("CREATE TABLE t (x)")
        db.close()
        if what == "damaged":
            path.write_bytes(b"\0" * 8192)
    elif what == "a file":
        op.folder.write_text("")
    said = op.ok("plan", "list", "--since", "7d", "-o", "json")
    shown = [row["plan_id"] for row in said.json]
    assert shown[0] == "p1"
    assert "warning" in said.err
    assert str(op.folder) in said.err or day in said.err or "gap" in said.err
    assert op.listed("--since", "1h") == ["p1"]
    if what in ("not ours", "newer", "damaged"):
        assert shown == ["p1", "h26"], "the other days are read"


def test_gaps_of_the_window_are_said_and_no_others(op: Operator, store: Store, now_ms: int) -> None:
    def gap(kind: str, hours: int, stream: str = STREAM) -> Gap:
        at = now_ms - hours * HOUR_MS
        return Gap(kind, at - HOUR_MS, at, stream, 7, "lost", at)

    past(op, *(old(now_ms - hours * HOUR_MS, f"h{hours}") for hours in (26, 40)))
    with HistoryStore(op.folder) as history:
        history.write(Batch(gaps=[gap("trimmed", 36), gap("two_loops", 27, "x")]))
    assert "trimmed for 60 min" in op.ok("plan", "list", "--since", "38h").err
    assert "1 gap" not in op.ok("plan", "list", "--since", "30h").err
    assert "The history begins at" in op.ok("plan", "list", "--since", "7d").err


def test_the_history_of_other_streams_is_not_mixed_in(
    op: Operator, store: Store, now_ms: int
) -> None:
    with HistoryStore(op.folder) as history:
        at = now_ms - 30 * HOUR_MS
        history.write(Batch(cursors={"test:s": f"{at}-0"}, decisions=[old(at, "h")]))
    said = op.ok("plan", "list", "--since", "7d", "-o", "json")
    assert said.json == []
    assert "of other streams" in said.err


def test_a_server_that_the_recorder_never_saw_is_said(
    op: Operator, store: Store, now_ms: int
) -> None:
    row = ServerRow(now_ms, "seen", "0" * 40, "master", "7.2", now_ms, "")
    past(op, old(now_ms - 30 * HOUR_MS, "h30"), servers=[row])
    said = op.ok("plan", "list", "--since", "7d", "-o", "json")
    assert len(said.json) == 1
    assert "never saw this Redis server" in said.err


# plan show ----------------------------------------------------------------------------------------


def test_show_is_the_same_from_the_history(op: Operator, store: Store, recorder: Recorder) -> None:
    decide(store, "p1", kill_score="0.2", qty="0.5", price="300")
    before = op.ok("plan", "show", "p1", "-o", "json").json
    assert recorder.once()
    store.run("FLUSHALL")
    said = op.ok("plan", "show", "p1", "-o", "json")
    assert said.json == before | {"from": "history"}
    assert "1 from the history" in said.err
    page = op.ok("plan", "show", "p1")
    assert "in force at decision time" in page.err
    assert "permitted" in page.out
    again = op.ok("plan", "show", "p1", "--what-if", "kill_score_critical=0.1", "-o", "json").json
    assert again["what_if"]["verdict"] == "blocked"


def test_show_takes_the_last_of_several_decisions(op: Operator, store: Store, now_ms: int) -> None:
    at = now_ms - 40 * HOUR_MS
    past(
        op,
        old(at, "p1", verdict="blocked", reason="symbol_cooldown"),
        old(at + HOUR_MS, "p1"),
        old(at + 2 * HOUR_MS, "p1", verdict="blocked", reason="duplicate_plan"),
    )
    said = op.ok("plan", "show", "p1", "-o", "json")
    assert (said.json["verdict"], said.json["reason"]) == ("permitted", "ok")
    assert "The last of 2 decisions" in said.err


def test_a_plan_that_waits_now_is_not_answered_by_an_old_decision(
    op: Operator, store: Store, now_ms: int
) -> None:
    past(op, old(now_ms - 40 * HOUR_MS, "p1"))
    decide(store, "p0")
    send(store, fields(plan_id="p1"))
    assert "no governor has read it" in op.ok("plan", "show", "p1", "-o", "json").out


def test_nobody_knows_it(op: Operator, store: Store, now_ms: int) -> None:
    past(op, old(now_ms - 40 * HOUR_MS, "p1"))
    said = op("plan", "show", "p2")
    assert (said.code, said.out) == (1, "")
    assert "no decision about p2" in said.err


def test_without_redis_the_history_answers_with_a_warning(
    op: Operator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = int(time.time() * 1000) - 40 * HOUR_MS
    document = Document("limits", "abcd", LIMITS)
    past(op, old(at, "p1"), documents=[document])
    away = Operator(Cli(f"unix://{tmp_path}/nobody", capsys), op.folder)
    said = away.ok("plan", "show", "p1", "-o", "json")
    assert said.json["from"] == "history"
    assert "warning" in said.err
    assert "may know of a later decision" in said.err
    assert away("plan", "show", "p2").code == 3
    assert away("plan", "list", "--since", "7d").code == 3


# why ----------------------------------------------------------------------------------------------


def why(op: Operator, *args: str) -> Any:
    return op.ok("why", *args, "-o", "json").json


def test_why_counts_what_redis_has_forgotten_once(op: Operator, store: Store, now_ms: int) -> None:
    at = now_ms - 30 * HOUR_MS
    past(
        op,
        *(old(at + place * 1000, f"h{place}", verdict="blocked", reason="symbol_cooldown")
          for place in range(5)),
        old(at + 7000, "other", symbol="ETHUSDT"),
        old(at + 8000, "h9"),
        old(now_ms - 60 * HOUR_MS, "too old"),
    )  # fmt: skip
    decide(store, "p1")
    found = why(op, "BTCUSDT", "--since", "2d")
    assert [(row["verdict"], row["count"]) for row in found["verdicts"]] == [
        ("blocked", 5), ("permitted", 2),
    ]  # fmt: skip
    assert (found["plans"]["seen"], found["plans"]["from_history"]) == (7, 6)
    assert found["plans"]["last_plan_id"] == "p1"
    said = op.ok("why", "BTCUSDT", "--since", "2d")
    assert "6 from the history" in said.err
    assert "1 of 1 in the stream, 6 more in the history" in said.out
    assert why(op, "BTCUSDT", "--since", "3h")["plans"]["from_history"] == 0
    assert why(op, "BTCUSDT", "--since", "3d")["plans"]["seen"] == 8


def test_why_has_the_verdict_of_a_plan_that_is_still_in_its_stream(
    op: Operator, store: Store, recorder: Recorder
) -> None:
    decide(store, "p1", kill_score="0.9")
    before = why(op, "BTCUSDT")
    assert recorder.once()
    # As a day later: the decision expired, and the event was trimmed.
    forget(store, "p1")
    store.run("DEL", store.keys.events)
    after = why(op, "BTCUSDT")
    assert after["cause"] == before["cause"] == "kill_score_critical"
    assert "its kill score 0.9 reached 0.8" in after["sentence"]
    assert after["verdicts"][0]["reason"] == before["verdicts"][0]["reason"]
    assert (after["plans"]["seen"], after["plans"]["from_history"]) == (1, 0)


def test_why_answers_where_redis_was_emptied(
    op: Operator, store: Store, recorder: Recorder
) -> None:
    decide(store, "p1", kill_score="0.9")
    decide(store, "p2", action="NONSENSE")
    before = why(op, "BTCUSDT")
    assert recorder.once()
    store.run("FLUSHALL")
    after = why(op, "BTCUSDT")
    keys = ("verdict", "reason", "count")
    told = [[{key: row[key] for key in keys} for row in it["verdicts"]] for it in (before, after)]
    assert sorted(map(str, told[0])) == sorted(map(str, told[1]))
    assert after["plans"]["from_history"] == 2


def test_why_without_a_history_says_so_only_beyond_a_day(op: Operator, store: Store) -> None:
    decide(store, "p1")
    assert "history" not in op.ok("why", "BTCUSDT").err
    assert "older decisions are not shown" in op.ok("why", "BTCUSDT", "--since", "2d").err


# timeline -----------------------------------------------------------------------------------------


def happened(op: Operator, *args: str) -> list[Any]:
    said = op("timeline", "-o", "json", "--where", "kind!=alarm", *args)
    assert said.code in (0, 3), said
    return [(row["kind"], row["what"], row["symbol"]) for row in said.json]


def test_the_timeline_goes_on_where_the_events_were_trimmed(
    op: Operator, store: Store, recorder: Recorder
) -> None:
    op("halt", "BTCUSDT", "--all", "--force", "--reason", "bad fills")
    decide(store, "c1", action="FULL_CLOSE_PROPOSED")
    op("resume", "BTCUSDT", "--reason", "back", "--yes")
    assert recorder.once()
    before = happened(op)
    assert {kind for kind, _, _ in before} >= {"halt", "resume", "refused"}
    store.run("XTRIM", store.keys.events, "MAXLEN", 1)
    assert happened(op) == before
    store.run("DEL", store.keys.events, store.keys.rejected)
    assert happened(op) == before
    rows = op("timeline", "-o", "json").json
    assert "days of the history" in {row["source"] for row in rows}


def test_the_timeline_has_what_only_a_recorder_notices(
    op: Operator, store: Store, now_ms: int
) -> None:
    at = now_ms - 40 * HOUR_MS
    blocked = {"verdict": "blocked", "reason": "kill_switch_active"}
    past(
        op,
        old(at, "c1", kind="close", **blocked),
        old(at + 1000, "c2", kind="close", **blocked),
        old(at + 2000, "o1", **blocked),
        gaps=[Gap("trimmed", at, at + HOUR_MS, STREAM, 7, "7 entries were trimmed", at)],
        servers=[ServerRow(at, "restarted", "1" * 40, "master", "Redis 7.2", at, "was 2")],
        services=[ServiceRow(at, "started", "governor", "g1", "0.1", "h", 7, at, "")],
    )
    found = happened(op, "--since", "2d")
    assert ("refused", "2 closes refused: kill_switch_active (c1, c2)", "BTCUSDT") in found
    assert ("gap", "7 entries were trimmed", "") in found
    assert ("redis", "Redis 7.2 restarted", "") in found
    assert any("governor:g1 started" in what for _, what, _ in found)
    assert not any("trimmed" in what for _, what, _ in happened(op, "--since", "30h"))


def test_the_timeline_without_redis_has_the_history_and_exits_3(
    op: Operator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = int(time.time() * 1000) - 3 * HOUR_MS
    past(op, old(at, "p1"), gaps=[Gap("trimmed", at, at + 1000, STREAM, 7, "7 lost", at)])
    away = Operator(Cli(f"unix://{tmp_path}/nobody", capsys), op.folder)
    said = away("timeline", "-o", "json")
    assert said.code == 3
    assert "7 lost" in [row["what"] for row in said.json]


def test_an_unreadable_history_leaves_the_timeline_and_its_exit_code(
    op: Operator, store: Store
) -> None:
    decide(store, "p1")
    op("halt", "BTCUSDT", "--reason", "x")
    op.folder.mkdir()
    (op.folder / "2026-01-01.sqlite").write_bytes(b"SQLite format 3\0 of another program")
    said = op("timeline", "-o", "json")
    assert said.code == 0
    assert any(row["kind"] == "halt" for row in said.json)
    assert "days of the history could not be read" in said.err


def test_decisions_live_as_long_as_is_written_here() -> None:
    assert DECISION_TTL_SEC == 86_400
