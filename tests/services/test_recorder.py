"""The recorder on the real server: nothing missing, nothing twice, and every gap reported."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qtctl.history.reader import History
from qtctl.history.rows import Gap
from qtctl.services.allocation import AllocationLoop
from qtctl.services.governor import Governor
from qtctl.services.recorder import Recorder
from qtctl.settings.model import History as HistorySettings
from qtctl.wire.client.store import Store
from qtctl.wire.control import halt as halts
from qtctl.wire.schema.keys import TARGET
from qtctl.wire.schema.records import text
from tests.services.helpers import allocation, decide, governor, score, send, serve_all, target
from tests.support.plans import NAMES, fields


def recorder(store: Store, folder: Path) -> Recorder:
    return Recorder(Store(store.url, store.keys), HistorySettings(name="r1"), lambda: folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "history"


@pytest.fixture
def running(store: Store, folder: Path) -> Iterator[Recorder]:
    made = recorder(store, folder)
    made.open()
    yield made
    made.close()


@pytest.fixture
def loop(store: Store) -> Iterator[AllocationLoop]:
    made = allocation(store)
    made.open()
    yield made
    made.close()


def numbered(head: str, count: int) -> list[str]:
    return [f"{head}{place}" for place in range(count)]


def record(made: Recorder) -> None:
    """Up to what is there now; observations are due again."""
    made._looked_at = None
    assert made.once(), made.not_ready()


def again(made: Recorder, store: Store, folder: Path) -> Recorder:
    """Another recorder after this one."""
    made.close()
    following = recorder(store, folder)
    following.open()
    return following


def gaps(folder: Path) -> list[Gap]:
    return History(folder).gaps()


def plan_ids(folder: Path) -> list[str]:
    return [each.plan_id or "" for each in History(folder).decisions()]


def test_what_both_loops_decide_is_recorded_once(
    store: Store, running: Recorder, folder: Path, gov: Governor, loop: AllocationLoop
) -> None:
    target(store, "BTCUSDT")
    score(store, "BTCUSDT", "0.61234")
    for place in range(3):
        loop.step()
        decide(store, gov, f"p{place}")
        record(running)
        record(running)
    history = History(folder)
    assert plan_ids(folder) == ["p0", "p1", "p2"]
    assert [each.value.number for each in history.passes()] == [1, 2, 3]
    (first, *_) = history.passes()
    assert first.value.columns.score == ["0.61234"]
    assert history.rules(first.value.rules) == loop._rules
    (decision, *_) = history.decisions()
    assert history.limits(decision.profile.limits) == gov._rules.limits
    assert gaps(folder) == []
    assert [each.fields["event"] for each in history.events()] == ["permitted"] * 3
    assert {(each.service, each.what) for each in history.services()} >= {
        ("governor", "started"), ("allocation", "started"),
    }  # fmt: skip
    assert [each.what for each in history.servers()] == ["seen"]
    for each in history.services():
        assert history.settings(each.settings) is not None


def test_a_restart_reads_on_where_the_last_one_stopped(
    store: Store, running: Recorder, folder: Path, gov: Governor, loop: AllocationLoop
) -> None:
    loop.step()
    decide(store, gov, "before")
    record(running)
    running.close()
    loop.step()
    decide(store, gov, "meanwhile")
    following = again(running, store, folder)
    record(following)
    assert plan_ids(folder) == ["before", "meanwhile"]
    assert [each.value.number for each in History(folder).passes()] == [1, 2]
    assert gaps(folder) == []
    following.close()


def trim(store: Store) -> None:
    store.run("XTRIM", store.keys.decisions, "MAXLEN", "=", 1)


@pytest.mark.parametrize("restarted", [True, False])
def test_what_was_trimmed_before_it_was_read_is_counted(
    store: Store, running: Recorder, folder: Path, gov: Governor, restarted: bool
) -> None:
    decide(store, gov, "read")
    record(running)
    decide(store, gov, *numbered("p", 5))
    trim(store)
    made = again(running, store, folder) if restarted else running
    record(made)
    assert plan_ids(folder) == ["read", "p4"]
    (gap,) = gaps(folder)
    assert (gap.kind, gap.stream, gap.count) == ("trimmed", store.keys.decisions, 4)
    assert gap.from_ms <= gap.to_ms
    record(made)
    assert len(gaps(folder)) == 1
    made.close()


def test_a_trimmed_stream_that_was_read_to_its_end_is_no_gap(
    store: Store, running: Recorder, folder: Path, gov: Governor
) -> None:
    decide(store, gov, *numbered("p", 5))
    record(running)
    store.run("XTRIM", store.keys.decisions, "MAXLEN", "=", 0)
    record(running)
    decide(store, gov, "later")
    record(running)
    assert gaps(folder) == []
    assert plan_ids(folder)[-1] == "later"


@pytest.mark.parametrize("seen", [True, False])
def test_an_emptied_server_is_a_gap_whether_it_was_seen_empty_or_not(
    store: Store, running: Recorder, folder: Path, gov: Governor, seen: bool
) -> None:
    decide(store, gov, *numbered("p", 3))
    record(running)
    store.run("FLUSHALL")
    if seen:
        record(running)
    gov.open()
    decide(store, gov, "after")
    record(running)
    assert plan_ids(folder) == ["p0", "p1", "p2", "after"]
    found = [gap for gap in gaps(folder) if gap.stream == store.keys.decisions]
    assert [gap.kind for gap in found] == ["emptied"]
    assert found[0].count is None
    record(running)
    assert len([g for g in gaps(folder) if g.stream == store.keys.decisions]) == 1


def test_what_was_written_between_two_emptyings_is_not_missing_without_a_gap(
    store: Store, running: Recorder, folder: Path, gov: Governor
) -> None:
    """Both between looks, with a look in between that finds nothing: only the record of the
    recorder itself, gone each time, tells the second one from a stream that nobody writes to."""

    def look() -> None:
        assert running._beat_at is not None
        assert running._heartbeat._last is not None
        running._beat_at -= 1
        running._heartbeat._last -= 1
        record(running)

    def of_decisions() -> list[Gap]:
        return [gap for gap in gaps(folder) if gap.stream == store.keys.decisions]

    decide(store, gov, "p1")
    record(running)
    store.run("FLUSHALL")
    look()
    look()
    assert len(of_decisions()) == 1
    gov.open()
    decide(store, gov, "never read")
    written_ms = store.now_ms()
    store.run("FLUSHALL")
    look()
    assert plan_ids(folder) == ["p1"]
    first, second = of_decisions()
    assert (second.kind, second.count) == ("emptied", None)
    assert first.to_ms <= second.from_ms <= written_ms <= second.to_ms
    look()
    assert len(of_decisions()) == 2


@pytest.mark.parametrize("after", [2, 3, 7])
def test_a_stream_that_was_made_anew_and_outgrew_what_was_read_is_a_gap(
    store: Store, running: Recorder, folder: Path, gov: Governor, after: int
) -> None:
    decide(store, gov, *numbered("p", 3))
    record(running)
    running.close()
    decide(store, gov, "never read")
    store.run("FLUSHALL")
    gov.open()
    decide(store, gov, *numbered("a", after))
    following = again(running, store, folder)
    record(following)
    assert plan_ids(folder) == [*numbered("p", 3), *numbered("a", after)]
    found = [gap for gap in gaps(folder) if gap.stream == store.keys.decisions]
    assert [(gap.kind, gap.count) for gap in found] == [("emptied", None)]
    following.close()


def test_a_stream_that_went_back_is_a_gap_and_nothing_is_there_twice(
    store: Store, running: Recorder, folder: Path, gov: Governor
) -> None:
    decide(store, gov, "kept")
    backup = store.run("DUMP", store.keys.decisions)
    decide(store, gov, "lost")
    record(running)
    store.run("RESTORE", store.keys.decisions, 0, backup, "REPLACE")
    send(store, fields(plan_id="after"))
    record(running)
    serve_all(gov)
    record(running)
    assert plan_ids(folder) == ["kept", "lost", "after"]
    assert [gap.kind for gap in gaps(folder)] == ["restored"]


def test_passes_that_are_missing_are_counted_and_a_loop_that_restarts_is_told(
    store: Store, running: Recorder, folder: Path, loop: AllocationLoop
) -> None:
    loop.step()
    record(running)
    store.run("SET", store.keys.passes + "-aside", "x")
    for _ in range(3):
        loop.step()
    ids = [text(id_) for id_, _ in store.run("XRANGE", store.keys.passes, "-", "+")]
    store.run("XDEL", store.keys.passes, *ids[1:3])
    record(running)
    found = {gap.kind: gap for gap in gaps(folder)}
    assert found["pass_numbers"].count == 2
    loop.close()
    anew = allocation(store)
    anew.open()
    anew.step()
    record(running)
    found = {gap.kind: gap for gap in gaps(folder)}
    assert found["loop_restarted"].count == 0
    anew.close()


def test_two_loops_at_once_are_told_once(store: Store, running: Recorder, folder: Path) -> None:
    one = allocation(store)
    one._store.run("PING")
    other = allocation(store)
    other.instance = "a2"
    for _ in range(4):
        one.step()
        other.step()
    record(running)
    assert [gap.kind for gap in gaps(folder)] == ["two_loops"]
    assert "a1" in gaps(folder)[0].detail
    assert "a2" in gaps(folder)[0].detail
    one.close()
    other.close()


def test_a_group_that_was_set_back_is_a_gap(store: Store, running: Recorder, folder: Path) -> None:
    gov = governor(store)
    gov.open()
    ahead = f"{store.now_ms() + 7_200_000}-0"
    store.run("XGROUP", "SETID", store.keys.plans, "governor", ahead)
    gov.close()
    gov = governor(store)
    gov.open()
    record(running)
    assert [gap.kind for gap in gaps(folder)] == ["group_reset"]
    gov.close()


def test_halts_are_kept_with_who_and_why(store: Store, running: Recorder, folder: Path) -> None:
    request = halts.HaltRequest("operator:alice@host", "drill", NAMES, 100)
    halts.stop(store, request, everything=False)
    record(running)
    (row,) = History(folder).halts()
    assert (row.what, row.scope, row.actor, row.why) == (
        "halted", "opens", "operator:alice@host", "drill",
    )  # fmt: skip


def test_a_history_that_can_not_be_written_is_told_once_and_nothing_is_lost(
    store: Store, folder: Path, gov: Governor, caplog: pytest.LogCaptureFixture
) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder should be")
    made = recorder(store, folder)
    made.open()
    decide(store, gov, "early")
    for _ in range(3):
        made.step()
    assert made.not_ready() is not None
    assert [r.message for r in caplog.records].count("nothing is recorded") == 1
    assert made.metrics.errors.labels("history")._value.get() == 3
    folder.unlink()
    record(made)
    assert made.not_ready() is None
    assert plan_ids(folder) == ["early"]
    assert gaps(folder) == []
    made.close()


def test_another_recorder_in_the_folder_is_refused_and_waits(
    store: Store, running: Recorder, folder: Path
) -> None:
    record(running)
    second = recorder(store, folder)
    second.open()
    second.step()
    problem = second.not_ready()
    assert problem is not None
    assert "another recorder" in problem
    running.close()
    record(second)
    assert second.not_ready() is None
    second.close()


def test_a_stream_of_another_type_costs_the_others_nothing(
    store: Store, running: Recorder, folder: Path, gov: Governor
) -> None:
    store.run("SET", store.keys.passes, "not a stream")
    decide(store, gov, "p1")
    record(running)
    assert plan_ids(folder) == ["p1"]
    assert running.metrics.errors.labels("stream")._value.get() >= 1


def test_an_entry_that_is_no_pass_is_a_gap_of_one(
    store: Store, running: Recorder, folder: Path, loop: AllocationLoop
) -> None:
    store.run("XADD", store.keys.passes, "*", "pass", "1", "codec", "x/9", "block", "y")
    loop.step()
    record(running)
    (gap,) = gaps(folder)
    assert (gap.kind, gap.count) == ("unreadable", 1)
    assert [each.value.number for each in History(folder).passes()] == [1]


def test_the_lag_grows_also_while_nothing_can_be_written(
    store: Store, running: Recorder, folder: Path
) -> None:
    def lag() -> float:
        return float(running.metrics.lag.labels("events")._value.get())

    ago = store.now_ms() - 90_000
    store.run("XADD", store.keys.events, f"{ago}-0", "event", "permitted")
    record(running)
    assert lag() == 0.0
    running.close()
    aside = folder.rename(folder.with_name("aside"))
    folder.write_text("in the way")
    running.open()
    store.run("XADD", store.keys.events, f"{ago + 20_000}-0", "event", "permitted")
    running.step()
    assert running.not_ready() is not None
    assert 70 <= lag() < 80
    assert running.metrics.spare.labels("events")._value.get() >= 90
    folder.unlink()
    aside.rename(folder)
    record(running)
    assert lag() == 0.0
    assert len(list(History(folder).events())) == 2


def test_a_day_that_is_over_is_sealed(store: Store, running: Recorder, folder: Path) -> None:
    # Yesterday is sealed a while after midnight only.
    earlier = store.now_ms() - 2 * 86_400_000
    store.run("XADD", store.keys.events, f"{earlier}-0", "event", "permitted")
    record(running)
    running._finished_at = None
    record(running)
    assert "sealed" in (folder / "chain.jsonl").read_text()
    assert time.strftime("%Y-%m-%d", time.gmtime(earlier / 1000)) in History(folder).days()


def test_a_target_without_a_loop_is_nobodys_gap(
    store: Store, running: Recorder, folder: Path
) -> None:
    store.run("HSET", store.keys.at(TARGET, "A"), "target_usd", 1)
    record(running)
    record(running)
    assert gaps(folder) == []


def test_a_look_costs_no_round_trip_per_service(
    running: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    batch = Store.batch

    def counted(self: Store, commands: Any, **more: Any) -> Any:
        sent.append(len(commands))
        return batch(self, commands, **more)

    record(running)
    monkeypatch.setattr(Store, "batch", counted)
    costs = []
    for names in (1, 8):
        running._found = {("governor", f"g{number}") for number in range(names)}
        sent.clear()
        record(running)
        costs.append(len(sent))
    assert costs[0] == costs[1]
