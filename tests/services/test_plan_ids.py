"""Entry ids that a publisher makes itself, in seconds, microseconds or nanoseconds."""

import shlex

import pytest

from qtctl.domain.facts import facts_of, unrecorded
from qtctl.domain.gates import Limits, judge
from qtctl.domain.reasons import Verdict
from qtctl.services.governor import Governor
from qtctl.wire.client.store import Store
from qtctl.wire.queries import plan_ids
from qtctl.wire.schema.ids import queued_at_ms, unit_of
from qtctl.wire.schema.keys import GROUP
from tests.services.helpers import governor, messages, metric, send, serve_all
from tests.support.plans import decision, events, fields, pending, permit

CLOSE = {"action": "FULL_CLOSE_PROPOSED", "reduceOnly": "true"}
NOW_MS = 1_795_701_877_000


@pytest.mark.parametrize(
    ("ms", "unit"),
    [
        (NOW_MS, "ms"),
        (NOW_MS - 86_400_000 * 365 * 5, "ms"),
        (NOW_MS + 7_200_000, "ms"),
        (NOW_MS // 1000, "s"),
        (NOW_MS * 1000, "µs"),
        (NOW_MS * 1_000_000, "ns"),
        (0, "ms"),
        (1, "ms"),
    ],
)
def test_the_unit_of_an_id_is_told_by_the_servers_clock(ms: int, unit: str) -> None:
    assert unit_of(ms, NOW_MS) == unit
    assert queued_at_ms(ms, NOW_MS) == (ms * 1000 if unit == "s" else ms)


FACTORS = {"s": 0.001, "µs": 1000, "ns": 1_000_000}
FOREIGN = pytest.mark.parametrize("unit", FACTORS)


def own_id(store: Store, unit: str, number: int = 0, ago_ms: int = 0) -> str:
    return f"{int((store.now_ms() - ago_ms) * FACTORS[unit])}-{number}"


@FOREIGN
def test_a_close_passes_and_an_open_is_blocked_with_a_record(
    store: Store, gov: Governor, unit: str
) -> None:
    send(store, fields(plan_id="close", **CLOSE), own_id(store, unit))
    send(store, fields(plan_id="open"), own_id(store, unit, 1))
    serve_all(gov)
    closed, opened = decision(store, "close"), decision(store, "open")
    assert permit(store, "close") is not None
    assert closed["queue_age_sec"] == "", "unknown, and said so"
    assert permit(store, "open") is None
    assert opened["reason"] in ("future_plan", "failover_quarantine", "stale_plan")
    for record in (closed, opened):
        assert judge(facts_of(record), Limits()).reason == record["reason"]
        assert unrecorded(record) == {}
    assert metric(gov, "p32_queue_age_unknown_total") == 1
    assert metric(gov, "p32_plan_to_permit_seconds_count") == 0
    assert pending(store) == []


@FOREIGN
def test_a_first_start_behind_such_ids_skips_none_of_the_last_hour(store: Store, unit: str) -> None:
    send(store, fields(plan_id="close", **CLOSE), own_id(store, unit, ago_ms=1_000))
    first = governor(store)
    first.open()
    serve_all(first)
    first.close()
    assert permit(store, "close") is not None
    assert [it["event"] for it in events(store)] == ["permitted"]


@FOREIGN
def test_a_governor_names_the_unit_and_the_publisher_once(
    store: Store, gov: Governor, caplog: pytest.LogCaptureFixture, unit: str
) -> None:
    assert gov.warning() is None
    send(store, fields(source="harvest"), own_id(store, unit))
    serve_all(gov)
    for _ in range(3):
        gov.open()
    label = {"µs": "us"}.get(unit, unit)
    assert metric(gov, "p32_plan_ids_off", unit=label) == 1
    assert f"are in {unit}, not in ms" in (gov.warning() or "")
    assert "from harvest" in (gov.warning() or "")
    found = [it for it in events(store) if it["event"] == "plan_ids"]
    assert [(it["reason"], it["source"]) for it in found] == [(unit, "harvest")]
    assert len(messages(caplog, "plan ids are not by Redis's clock")) == 1
    assert gov.not_ready() is None, "closes go on"


def test_who_is_dragged_along_is_not_blamed(store: Store, gov: Governor) -> None:
    send(store, fields(plan_id="p0", source="harvest"), own_id(store, "µs"))
    for number in range(1, 300):
        send(store, fields(plan_id=f"p{number}", source="intent"))
    found = plan_ids.plan_ids(store, store.now_ms())
    assert found is not None
    assert found.sources == ("harvest",)
    assert found.last_id.endswith("-299")


def test_ids_far_ahead_in_ms_are_found_too(store: Store, gov: Governor) -> None:
    send(store, fields(source="fast"), f"{store.now_ms() + 7_200_000}-0")
    found = plan_ids.plan_ids(store, store.now_ms())
    assert found is not None
    assert found.trouble == plan_ids.AHEAD
    assert 7_190 < found.ahead_sec <= 7_200
    assert found.sources == ("fast",)


def test_sound_ids_are_no_trouble(store: Store, gov: Governor) -> None:
    assert plan_ids.plan_ids(store, store.now_ms()) is None
    send(store, fields())
    assert plan_ids.plan_ids(store, store.now_ms()) is None
    serve_all(gov)
    gov.open()
    for label in ("s", "us", "ns", "ahead"):
        assert metric(gov, "p32_plan_ids_off", unit=label) == 0
    assert metric(gov, "p32_queue_age_unknown_total") == 0


def test_in_seconds_only_what_is_over_an_hour_old_by_them_is_skipped_and_that_is_traced(
    store: Store, gov: Governor
) -> None:
    old = send(store, fields(plan_id="old", **CLOSE), own_id(store, "s", ago_ms=2 * 3_600_000))
    send(store, fields(plan_id="new", **CLOSE), own_id(store, "s"))
    serve_all(gov)
    assert decision(store, "new")["verdict"] == Verdict.PERMITTED
    assert decision(store, "old") == {}
    (event,) = [it for it in events(store) if it["event"] == "backlog_skipped"]
    assert (event["count"], event["first"], event["last"]) == ("1", old, old)


@pytest.mark.parametrize("unit", ["µs", "ns"])
def test_the_way_out_leads_out(store: Store, gov: Governor, unit: str) -> None:
    send(store, fields(source="harvest"), own_id(store, unit))
    store.run("XGROUP", "CREATE", store.keys.plans, "apply_layer", "0")
    serve_all(gov)
    found = plan_ids.plan_ids(store, store.now_ms())
    assert found is not None
    steps = found.way_out(lambda *words: shlex.join(("redis-cli", *words)))
    for step in steps:
        _, is_command, command = step.partition("redis-cli ")
        if is_command:
            store.run(*shlex.split(command))
        gov.open()
    assert found.groups == ("apply_layer",)
    send(store, fields(plan_id="after"))
    serve_all(gov)
    assert permit(store, "after") is not None
    gov.open()
    assert gov.warning() is None
    assert store.run("XLEN", f"{store.keys.plans}.wrong-ids") == 1
    names = {row[1] for row in store.run("XINFO", "GROUPS", store.keys.plans)}
    assert names == {GROUP.encode(), b"apply_layer"}


def test_in_seconds_ids_of_redis_are_all_it_takes(store: Store, gov: Governor) -> None:
    send(store, fields(plan_id="own"), own_id(store, "s"))
    serve_all(gov)
    found = plan_ids.plan_ids(store, store.now_ms())
    assert found is not None
    (step,) = found.way_out(lambda *words: "")
    assert "XADD … *" in step
    send(store, fields(plan_id="after"))
    serve_all(gov)
    assert permit(store, "after") is not None
    assert plan_ids.plan_ids(store, store.now_ms()) is None
