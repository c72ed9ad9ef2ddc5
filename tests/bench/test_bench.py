"""The bench runs, on small numbers; its floor does the loop's own work; its verdict is honest."""

import gc
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import pytest

from qtctl.bench import (
    allocation,
    evidence,
    governor,
    governors,
    latency,
    memory,
    publishing,
    reports,
    running,
    services,
    startup,
    trace,
)
from qtctl.bench.bare import running as running_bare
from qtctl.bench.cores import server_apart, started_on
from qtctl.bench.figures import Figure, in_rounds
from qtctl.bench.pace import Seen
from qtctl.bench.recording import Floor, recording
from qtctl.bench.stage import Stage, plan, put_targets, score, stage, symbols
from qtctl.services.allocation import AllocationLoop
from qtctl.settings import Allocation
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.queries.keyspace import info
from qtctl.wire.schema.keys import Keys
from tests.support.cli import Cli
from tests.support.processes import until


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few of everything."""
    monkeypatch.setattr(allocation, "SMALL", 40)
    monkeypatch.setattr(allocation, "LARGE", 80)
    monkeypatch.setattr(allocation, "FOREIGN_KEYS", 50_000)
    monkeypatch.setattr(allocation, "FOREIGN_PASSES", 2)
    monkeypatch.setattr(allocation, "PACE_SEC", 0.0)
    monkeypatch.setattr(governor, "PLANS", 30)
    monkeypatch.setattr(governor, "PACE_SEC", 0.0)


@pytest.fixture
def on(server: Embedded, redis_url: str, store: Store) -> Stage:
    return Stage(redis_url, server.directory, True, store)


@pytest.mark.usefixtures("small")
def test_every_figure_of_the_loops_is_measured_beside_its_floor(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for suite, count in (("allocation", 3), ("governor", 1)):
        said = Cli(redis_url, capsys)("bench", suite, "--rounds", "1", "-o", "json")
        assert said.code in (0, 1), said
        rows = json.loads(said.out)
        assert len(rows) == count
        for row in rows:
            assert row["measured"]["median"] > 0
            assert row["beside"]["median"] > 0
            met = (
                row["value"] >= row["target"] if row["at_least"] else row["value"] <= row["target"]
            )
            assert row["ok"] == met
            assert row["spread"]["low"] <= row["value"] <= row["spread"]["high"]
        assert said.code == (1 if any(row["verdict"] == "FAIL" for row in rows) else 0)
    store = Store(redis_url, Keys())
    assert store.run("DBSIZE") == 0, "what it measured with is gone"
    store.close()


def test_the_floor_sends_what_the_loop_sends_and_the_server_does_it_again(
    on: Stage, store: Store
) -> None:
    put_targets(store, symbols(30))
    with recording(on.directory, on.url) as recorder:
        loop = AllocationLoop(Store(recorder.url, Keys()), Allocation(name="bench"))
        loop.open()
        loop.step()
        loop.close()
    stream = store.keys.proposed_stream
    assert store.run("XLEN", stream) == 30
    floor = Floor(on.url, recorder.commands)
    assert floor.run() > 0
    floor.close()
    assert store.run("XLEN", stream) == 60


def test_a_server_with_our_keys_on_it_is_refused(
    redis_url: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.run("SET", "quantum:kill", "0")
    said = Cli(redis_url, capsys)("bench", "governor")
    assert said.code == 4
    assert "quantum:kill exists" in said.err
    assert store.run("GET", "quantum:kill") == b"0"


def test_an_unknown_suite_is_a_usage_error_that_names_them(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Cli(redis_url, capsys)("bench", "nope")
    assert said.code == 2
    names = "governors, latency, memory, publishing, startup, history, evidence, all"
    assert f"allocation, governor, {names}" in said.err


def test_only_what_is_proven_to_miss_its_target_exits_1(
    redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = {"FAIL": (1, [3.0] * 7), "UNSURE": (0, [1.0, 3.0] * 4), "PASS": (0, [1.0] * 7)}
    for verdict, (code, values) in outcomes.items():
        figure = in_rounds("s", "w", values, 2.0)
        monkeypatch.setattr(running, "figures", lambda *_, figure=figure: iter([figure]))
        said = Cli(redis_url, capsys)("bench", "startup", "-o", "json")
        (row,) = json.loads(said.out)
        assert (row["verdict"], said.code) == (verdict, code)
        assert said.err.splitlines()[-1] == f"1 {verdict}"


def test_garbage_is_collected_as_in_a_service_while_it_is_measured(
    redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command collects seldom, which would make the loops look faster than they are."""
    usual = gc.get_threshold()
    found: list[tuple[int, ...]] = []

    def figures(*_: object) -> Iterator[Figure]:
        found.append(gc.get_threshold())
        yield from ()

    monkeypatch.setattr(running, "figures", figures)
    gc.set_threshold(100 * usual[0])
    try:
        Cli(redis_url, capsys).ok("bench", "allocation")
    finally:
        gc.set_threshold(*usual)
    assert found == [usual]


def test_publishing_is_measured_beside_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        (publishing, "SMALL", 50), (publishing, "PLANS", 20), (publishing, "WARM", 2),
        (latency, "RATE", 20), (latency, "SECONDS", 1), (publishing, "PACE_SEC", 0.0),
        (allocation, "PACE_SEC", 0.0),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    found = list(running.figures(("publishing",), None, 1))
    assert [each.target for each in found] == [1.10, 0.87, 1.10, 1.3]
    assert all(each.value > 0 and each.beside is not None for each in found)


def test_latency_and_startup_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "RATE", 50)
    monkeypatch.setattr(latency, "CROWDED", 20)
    monkeypatch.setattr(latency, "RATES", {200: 20})
    monkeypatch.setattr(latency, "WARM", 2)
    monkeypatch.setattr(latency, "SYMBOLS", 20)
    monkeypatch.setattr(startup, "STARTS", 1)
    started: list[tuple[str, int]] = []

    def served(
        on: Stage, what: str, count: int, sets: Sequence[str] = ()
    ) -> AbstractContextManager[services.Served]:
        started.append((what, count))
        return services.served(on, what, count, sets)

    monkeypatch.setattr(latency, "served", served)
    found = list(running.figures(("latency", "startup"), None, 1))
    assert [each.suite for each in found] == ["latency"] * 5 + ["startup"] * 2
    assert started == [("governor", 1), ("governor", 1), ("all", 3)], "the recorder as well"
    assert all(each.value > 0 for each in found)


def test_the_trace_of_a_plan_alone_has_every_step(
    redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "RATE", 100)
    monkeypatch.setattr(trace, "PLANS", 10)
    monkeypatch.setattr(trace, "WARM", 3)
    said = Cli(redis_url, capsys)("bench", "latency", "--trace", "-o", "json")
    assert said.code == 0, said
    *steps, whole = json.loads(said.out)
    assert [each["step"] for each in steps] == [*trace.STEPS.values()]
    assert whole["share"] == 1
    assert 0 < next(each["median_us"] for each in steps) < whole["median_us"]


def test_only_latency_has_a_trace(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert Cli(redis_url, capsys)("bench", "governor", "--trace").code == 2


def test_steps_add_up_and_one_without_a_mark_takes_no_time() -> None:
    marks = {"woken": 1.1, "parsed": 1.2, "judging": 1.2, "packed": 1.5, "reply": 1.55}
    together = [Seen(2.0, 2.5), Seen(2.1, 2.6)]
    rows = trace.steps([Seen(1.0, 1.6), *together], [marks, {"woken": 2.3, "packed": 2.4}])
    found = {each.step: each for each in rows}
    assert round(found[trace.STEPS["packed"]].median_us) == 300_000
    assert found[trace.STEPS["score"]].median_us == 0
    assert found[trace.STEPS["reply"]].share is None
    assert sum(each.share or 0 for each in rows[:-1]) == pytest.approx(1)


def test_a_private_stage_leaves_nothing() -> None:
    with stage(None) as on:
        directory = on.directory
        assert directory.exists()
    assert not directory.exists()


def test_two_governors_share_the_plans_and_decide_each_once(
    on: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(governors, "PLANS", 2_000)
    cores = os.sched_getaffinity(0)
    (figure,) = governors.measure(on, 1)
    assert figure.measured is not None
    assert figure.measured.median > 0
    assert re.search(r"server and governors: 1: [\d.]+ and [\d.]+, 2: ", figure.note)
    assert os.sched_getaffinity(0) == cores, "as it was"
    assert os.sched_getaffinity(int(info(on.store)["process_id"])) == cores


def test_a_second_governor_must_bring_something_where_there_is_room_for_it() -> None:
    room = governors.Round(rate=9_000.0, server_cores=0.6, governors_cores=1.5)
    assert governors.target(room, 7) == governors.GROWS > 1
    assert governors.target(room, 2) == governors.STANDS, "the cores are the limit"
    busy = governors.Round(rate=3_000.0, server_cores=0.3, governors_cores=0.3)
    assert governors.target(busy, 1) == governors.STANDS, "others kept its core busy"
    server = governors.Round(rate=9_000.0, server_cores=0.95, governors_cores=1.5)
    assert governors.target(server, 8) == governors.STANDS, "the server is the limit"


def test_replays_are_measured_beside_the_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "DECISIONS", 400)
    monkeypatch.setattr(evidence, "PASSES", 4)
    monkeypatch.setattr(evidence, "SYMBOLS", 20)
    monkeypatch.setattr(reports, "_make", lambda folder: evidence._made(folder))
    monkeypatch.setattr(reports, "apart", lambda task, *given: task(*given))
    monkeypatch.setattr(reports, "HOURS", 4 / 360)
    monkeypatch.setattr(reports, "SWEPT_HOURS", 1)
    sequence, proposals, rate, report, memory, growth, value = evidence.measure(2)
    assert sequence.value > 0.05
    assert proposals.value > 0.05
    assert rate.value > 1_000
    assert 0 < report.value < 30
    assert memory.value > 10
    assert growth.value > 0.1
    assert value.value < 4


def test_the_memory_of_a_decision_is_that_of_its_key(
    on: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "DECISIONS", 30)
    assert 500 < memory.decision(on).value < 1_500


def test_plans_are_on_symbols_as_exchanges_write_them() -> None:
    """In lower case each plan alone costs one more round trip, for its score."""
    assert symbols(2, "governor0x20x") == ["GOVERNOR0X20X000000USDT", "GOVERNOR0X20X000001USDT"]


def test_the_server_has_a_core_of_its_own_and_what_is_started_meanwhile_the_others(
    on: Stage,
) -> None:
    every = os.sched_getaffinity(0)
    if len(every) < 2:
        pytest.skip("needs two cores")
    pid = int(info(on.store)["process_id"])
    with server_apart(on) as cores, started_on(cores):
        assert os.sched_getaffinity(pid).isdisjoint(cores)
        assert os.sched_getaffinity(0) == cores
        assert os.sched_getaffinity(pid) | cores == every
    assert os.sched_getaffinity(pid) == os.sched_getaffinity(0) == every


def test_the_floor_answers_plans_that_come_in_one_millisecond(on: Stage) -> None:
    """Beside other work on the machine many are sent at once; their ids are then of any length."""
    with running_bare(on, "floor") as floor:
        names = symbols(30, "B")
        floor.prepare("B", 30)
        floor.store.batch(
            [score(floor.store, name, "0.2", on.store.now_ms() // 1000) for name in names]
        )
        at = on.store.now_ms()
        for number, name in enumerate(names):
            floor.store.run(*plan(floor.store, name, at // 1000, f"{at}-{number}"))
        until(lambda: floor.store.run("ZCARD", floor.store.keys.permits) == 30, what="permits")
