"""What a server has lost: an open that may have had its permit before gets none."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from qtctl import clock
from qtctl.errors import RedisUnreachable
from qtctl.services import server_watch
from qtctl.services.governor import Governor
from qtctl.services.server_watch import RecentPermits
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.schema.keys import BLOCK, DECISION, PERMIT, Keys
from tests.services.helpers import governor, send, serve_all
from tests.support.plans import decision, fields, permit
from tests.support.processes import until

SECOND_TRIES = 20


@contextmanager
def that_lost_its_tail(directory: Path) -> Iterator[tuple[Store, Governor]]:
    """A server that permitted the open `lost`, lost the end of its append-only file behind the
    entry, and is back within the same second; and the governor that permitted it."""
    for attempt in range(SECOND_TRIES):
        with Embedded.start(directory / str(attempt), appendonly=True) as server:
            store = Store(server.url, Keys())
            first = governor(store, "first")
            first.open()
            serve_all(first)
            time.sleep(1.0 - time.time() % 1)
            second = int(time.time())
            send(store, fields(plan_id="lost"))
            (log,) = server.directory.glob("appendonlydir/*.incr.aof")
            # The server answers before it writes while an fsync is under way.
            until(lambda log=log: b"lost" in log.read_bytes())  # type: ignore[misc]
            length = log.stat().st_size
            serve_all(first)
            assert permit(store, "lost") is not None
            store.close()
            server.kill()
        with log.open("r+b") as file:
            file.truncate(length)
        with Embedded.start(directory / str(attempt), appendonly=True) as server:
            same = int(time.time()) == second
            if same:
                yield store, first
            store.close()
            if same:
                return
            first.close()
    pytest.fail("this host is too slow for a start of a server within a second")


def test_a_restart_within_the_second_permits_no_open_twice(tmp_path: Path) -> None:
    with that_lost_its_tail(tmp_path) as (store, first):
        assert decision(store, "lost") == {}, "the server has lost it"
        then = governor(store, "then")
        then.open()
        send(store, fields(plan_id="fresh"))
        first.close()
        time.sleep(0.01)
        # The entry is pending for the first one, if the group's own state was not lost as well.
        then._queue.claim("0-0", 0, 10)
        then._intake.restart()
        serve_all(then)
        assert decision(store, "lost")["reason"] == "failover_quarantine"
        assert decision(store, "lost")["queued_before_server"] == "1"
        assert permit(store, "lost") is None
        assert permit(store, "fresh") is not None, "it came in the server's first second"
        then.close()


def test_the_governor_that_permitted_it_permits_it_no_more(tmp_path: Path) -> None:
    with that_lost_its_tail(tmp_path) as (store, first):
        with suppress(RedisUnreachable):
            first.open()  # It notices that the connection is gone.
        first.open()
        send(store, fields(plan_id="lost", source="sent again"))
        serve_all(first)
        assert decision(store, "lost")["permitted_before"] == "1"
        assert decision(store, "lost")["reason"] == "failover_quarantine"
        assert permit(store, "lost") is None
        first.close()


def _forget(store: Store, plan_id: str) -> None:
    for spec in (DECISION, PERMIT, BLOCK):
        store.run("DEL", store.keys.at(spec, plan_id))


def test_what_was_permitted_is_remembered_for_a_minute(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has lost the decision: a failover, a FLUSHALL, a hand."""
    gov = governor(store)
    gov.open()
    entries = {name: fields(plan_id=name) for name in ("again", "later")}
    close = fields(plan_id="close", action="FULL_CLOSE_PROPOSED")
    for entry in (*entries.values(), close):
        send(store, entry)
    serve_all(gov)
    for name in ("again", "later", "close"):
        _forget(store, name)
    send(store, entries["again"])
    send(store, close)
    serve_all(gov)
    assert permit(store, "again") is None
    assert permit(store, "close") is not None, "no close is held"
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + server_watch.REMEMBER_SEC + 1)
    send(store, entries["later"])
    serve_all(gov)
    assert permit(store, "later") is not None
    gov.close()


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_watch, "REMEMBER_MOST", 3)
    recent = RecentPermits()
    for number in range(10):
        recent.note(f"{number}-0", f"p{number}")
        recent.forget_old()
    assert [recent.has(f"{n}-0", "") and recent.has("", f"p{n}") for n in range(10)] == [
        *[False] * 7, *[True] * 3,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["1-0", "p1"])
def test_what_is_remembered_counts_for_a_minute_whenever_the_old_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    recent, now = RecentPermits(), clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    recent.note("1-0", "p1")
    held = []
    for after_sec in (0, 60, 60.5):
        monkeypatch.setattr(clock, "monotonic", lambda at=now + after_sec: at)
        held.append((recent.has(name, ""), recent.has("", name)))
    assert held == [(True, True), (True, True), (False, False)]
    recent.note("2-0", "p1")
    assert recent.has("1-0", "p1"), "the later of both counts"
