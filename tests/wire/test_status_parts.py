"""The parts of `status` that need no server, or no services: rates, switches, databases, and a
keyspace that is too large to be walked over."""

import re

import pytest

from qtctl.services.heartbeat import Heartbeat
from qtctl.settings import Settings
from qtctl.settings.urls import database_of, with_database
from qtctl.wire.client.store import Store
from qtctl.wire.queries import plan_stream, recent, services
from qtctl.wire.queries.plan_stream import PlanStream
from qtctl.wire.queries.recent import Event
from qtctl.wire.queries.status import Watch
from qtctl.wire.queries.switches import stops


@pytest.mark.parametrize(
    ("count", "back_to", "per_minute", "at_least"),
    [
        (10, None, 2.0, False),
        (10_000, 999.999, 10_000.0, True),
        (10_000, 970.0, 10_000.0, True),
        (10_000, 880.0, 5_000.0, False),
        (10_000, 700.0, 2_000.0, False),
    ],
)
def test_a_rate_is_never_more_than_what_was_counted(
    count: int, back_to: float | None, per_minute: float, at_least: bool
) -> None:
    assert recent.rate(count, 1000.0, back_to, 300.0) == (per_minute, at_least)


@pytest.mark.parametrize(
    ("begun", "per_minute"), [(999.0, 10.0), (940.0, 10.0), (880.0, 5.0), (600.0, 2.0)]
)
def test_a_rate_is_over_the_time_since_the_first_of_all(begun: float, per_minute: float) -> None:
    assert recent.rate(10, 1000.0, None, 300.0, begun) == (per_minute, False)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("emergency_stop", "1", True), ("EMERGENCY_STOP", "yes", True), ("panic", "0", False),
        ("kill_switch:state", "active", False), ("kill_switch:state", "halted", True),
        ("trading:enabled", "1", False), ("trading:enabled", "0", True),
        ("trading:enabled", "", False), ("system:mode", "HALT", True),
        ("system:mode", "live", False), ("halt:last_reset", "1769558400", False),
        ("emergency_stop:count", "3", False), ("trading:halt", "false", False),
        ("governor:stop_all", "1", True), ("circuit_breaker:active", "true", True),
    ],
)  # fmt: skip
def test_a_switch_is_told_from_what_says_something_about_one(
    name: str, value: str, expected: bool
) -> None:
    assert stops(name, value) is expected


@pytest.mark.parametrize(
    ("url", "number", "other"),
    [
        ("redis://h", 0, "redis://h/3"),
        ("redis://u:p@h:1/7", 7, "redis://u:p@h:1/3"),
        ("rediss://h/7?timeout=1", 7, "rediss://h/3?timeout=1"),
        ("redis://h/7?db=2", 2, "redis://h/3"),
        ("unix:///tmp/s?db=7", 7, "unix:///tmp/s?db=3"),
        ("unix:///tmp/s", 0, "unix:///tmp/s?db=3"),
    ],
)
def test_the_database_of_a_url(url: str, number: int, other: str) -> None:
    assert database_of(url) == number
    assert with_database(url, 3) == other


def entries(first: str, added: int) -> PlanStream:
    """A stream that has two, of so many that were ever added."""
    return PlanStream("s", True, length=2, added=added, first=first, last_id="300000-0")


VERDICT = Event(100.0, "permitted", "ok", b"p")


@pytest.mark.parametrize(
    ("stream", "events", "expected"),
    [
        (PlanStream("s"), [VERDICT], 100.0),
        (PlanStream("s"), [], None),
        (PlanStream("s"), [Event(100.0, "halted", "", b"")], None),
        (PlanStream("s", True, added=0), [VERDICT], 100.0),
        (entries("200000-0", added=2), [VERDICT], 100.0),
        # Trimmed, or older than the verdict.
        (entries("200000-0", added=9), [VERDICT], None),
        (entries("50000-0", added=2), [VERDICT], None),
        # Redis 6.2 does not count what was added.
        (PlanStream("s", True), [VERDICT], 100.0),
        (PlanStream("s", True, length=1, first="200000-0", last_id="200000-0"), [VERDICT], None),
        (PlanStream("s", True, "string"), [VERDICT], None),
    ],
)  # fmt: skip
def test_a_verdict_older_than_the_first_entry_shows_that_a_stream_was_deleted(
    stream: PlanStream, events: list[Event], expected: float | None
) -> None:
    assert plan_stream.deleted_after(stream, events) == expected


def test_in_a_large_keyspace_a_governor_is_found_by_its_consumer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = "for i = 1, 30000 do redis.call('SET', 'other:' .. i, 'x') end"
    store.run("EVAL", fill, 0)
    now = store.now_ms() // 1000
    for kind, name in (("governor", "far-1"), ("allocation", "far-1"), ("allocation", "far-2")):
        key = store.keys.service(kind, name)
        store.run("HSET", key, "started_at", now, "last_pass_at", now, "settings", "{}")
    store.run("XADD", store.keys.plans, "*", "plan_id", "p1")
    store.run("XGROUP", "CREATE", store.keys.plans, "governor", "0")
    store.run("XREADGROUP", "GROUP", "governor", "far-1", "STREAMS", store.keys.plans, ">")
    monkeypatch.setattr(services, "WALK_SEC", 0.0)
    watch = Watch(store, Settings(), 3600)
    found = watch.read()
    likely = {("allocation", "far-1"), ("governor", "far-1")}
    assert likely <= {(it.service, it.name) for it in found.services}
    assert found.unsure, "far-2 may be there or not"
    # Where one is missing it goes on looking, a little at each look, until it has seen all.
    store.run("DEL", store.keys.service("allocation", "far-1"))
    names = []
    for _ in range(40):
        names = [(it.service, it.name) for it in watch.read().services]
        if ("allocation", "far-2") in names:
            break
    assert ("allocation", "far-2") in names


@pytest.fixture
def large(store: Store) -> Store:
    """A keyspace that a walk of no time does not come to the end of."""
    store.run("EVAL", "for i = 1, 30000 do redis.call('SET', 'other:' .. i, 'x') end", 0)
    return store


def runs(store: Store, kind: str, name: str) -> None:
    now = store.now_ms() // 1000
    beat = Heartbeat(store, kind, name, Settings().governor, 1.0)
    beat.beat(now, "127.0.0.1:1", 0.0)


def scans(store: Store) -> int:
    found = re.search(rb"cmdstat_scan:calls=(\d+)", store.run("INFO", "commandstats"))
    return int(found[1]) if found else 0


def test_services_are_found_by_their_index_without_a_scan(large: Store) -> None:
    for kind, name in (("governor", "far-2"), ("governor", "far-1"), ("allocation", "far-3")):
        runs(large, kind, name)
    large.run("CONFIG", "RESETSTAT")
    found = services.every(large, ("allocation", "governor"))
    names = [(it.service, it.name) for it in found]
    assert names == [("allocation", "far-3"), ("governor", "far-1"), ("governor", "far-2")]
    assert services.names(large, ("governor",)) == {("governor", "far-1"), ("governor", "far-2")}
    assert scans(large) == 0
    seen = Watch(large, Settings(), 3600).read()
    assert {(it.service, it.name) for it in seen.services} == set(names)
    assert not seen.unsure
    # One that is gone is not taken for running, and it is certain that it does not.
    large.run("DEL", large.keys.service("allocation", "far-3"))
    seen = Watch(large, Settings(), 3600).read()
    assert {it.service for it in seen.services} == {"governor"}
    assert not seen.unsure


def test_a_service_of_a_version_before_is_found_without_the_index(
    large: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "WALK_SEC", 30.0)
    runs(large, "governor", "old")
    runs(large, "allocation", "old-2")
    large.run("DEL", large.keys.services)
    large.run("XADD", large.keys.plans, "*", "plan_id", "p1")
    large.run("XGROUP", "CREATE", large.keys.plans, "governor", "0")
    large.run("XGROUP", "CREATECONSUMER", large.keys.plans, "governor", "old")
    large.run("CONFIG", "RESETSTAT")
    assert [it.name for it in services.running(large, "governor")] == ["old"]
    assert scans(large) == 0
    # For one that is no consumer there is the walk, as far as its time goes.
    assert [it.name for it in services.running(large, "allocation")] == ["old-2"]


def test_without_the_right_to_the_index_the_record_is_written_all_the_same(store: Store) -> None:
    store.run("SET", store.keys.services, "no sorted set")
    runs(store, "governor", "g1")
    assert [it.name for it in services.running(store, "governor")] == ["g1"]


def test_a_large_keyspace_has_the_usual_names_of_switches_looked_up(store: Store) -> None:
    store.run("EVAL", "for i = 1, 30000 do redis.call('SET', 'other:' .. i, 'x') end", 0)
    store.run("SET", "quantum:trading:halt", "1")
    (found,) = Watch(store, Settings(), 3600).read().switches
    assert (found.key, found.value) == ("quantum:trading:halt", "1")
