"""A governor far away from its server: what comes again keeps no fresh close waiting."""

import contextlib
import signal
import time
from collections.abc import Iterator
from functools import partial
from itertools import count

import pytest

from qtctl.domain.entry_ids import ms_of
from qtctl.wire.client.store import Store
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.private_server.folder import SOCKET
from qtctl.wire.schema.keys import DECISION, GROUP
from qtctl.wire.schema.records import pairs
from tests.services.helpers import send
from tests.support.plans import fields, pending
from tests.support.processes import Process, qtctl, until
from tests.support.proxy import SlowLink
from tests.support.timing import least

REDELIVERED = 500
FRESH, APART_SEC = 20, 0.04
MOST_SEC = 1.2


@contextlib.contextmanager
def governed(url: str, name: str = "g1") -> Iterator[Process]:
    """A governor of its own process; it serves when this begins."""
    free = ("--set", "governor.metrics_port=0")
    with qtctl("serve", "governor", "--redis-url", url, "--name", name, *free) as child:
        yield child


def serving(store: Store, name: str = "g1") -> bool:
    return bool(store.run("EXISTS", store.keys.service("governor", name)))


def close(plan_id: str) -> dict[str, str]:
    return fields(plan_id=plan_id, action="FULL_CLOSE", reduceOnly="true")


def hold(store: Store, consumer: str) -> None:
    """Entries that were delivered to a consumer, which did not finish them."""
    for number in range(REDELIVERED):
        send(store, close(f"old-{number}"))
    store.run("XREADGROUP", "GROUP", GROUP, consumer, "STREAMS", store.keys.plans, ">")


def abandon(store: Store, consumer: str) -> None:
    """So long ago that any other may claim them."""
    ids = [row[0] for row in store.run("XPENDING", store.keys.plans, GROUP, "-", "+", 1000)]
    store.run("XCLAIM", store.keys.plans, GROUP, consumer, 0, *ids, "IDLE", 60_000, "JUSTID")


def waits(store: Store) -> list[float]:
    """Sends closes, one after the other; how long each was queued before its verdict, seconds."""
    ids = {}
    for number in range(FRESH):
        ids[f"new-{number}"] = send(store, close(f"new-{number}"))
        time.sleep(APART_SEC)
    return [permitted(store, plan_id) - ms_of(id_) / 1000 for plan_id, id_ in ids.items()]


def permitted(store: Store, plan_id: str) -> float:
    """When it was, epoch seconds by the server's clock."""
    key = store.keys.at(DECISION, plan_id)
    until(lambda: store.run("EXISTS", key), what=f"a verdict on {plan_id}")
    decision = pairs(store.run("HGETALL", key))
    assert decision["verdict"] == "permitted", decision
    return float(decision["decided_at"])


@pytest.mark.parametrize("claimed", [False, True], ids=["own", "claimed"])
@pytest.mark.parametrize("round_trip_ms", [1, 5, 20])
def test_after_a_killed_governor_fresh_closes_do_not_wait_behind_what_it_held(
    server: Embedded, store: Store, round_trip_ms: int, claimed: bool
) -> None:
    measure = partial(_after_a_kill, server, store, round_trip_ms, claimed)
    assert least(measure, MOST_SEC) <= MOST_SEC


def _after_a_kill(server: Embedded, store: Store, round_trip_ms: int, claimed: bool) -> float:
    """The longest wait of a fresh close, seconds."""
    store.run("FLUSHALL")
    with SlowLink(server.directory / SOCKET, round_trip_ms / 1000) as link:
        with governed(link.url) as first:
            until(lambda: serving(store))
            first.signal(signal.SIGSTOP)
            hold(store, "g1")
            first.signal(signal.SIGKILL)
            first.wait()
        store.run("DEL", store.keys.service("governor", "g1"))
        if claimed:
            abandon(store, "g1")
        name = "g2" if claimed else "g1"
        with governed(link.url, name):
            until(lambda: serving(store, name))
            longest = max(waits(store))
            until(lambda: not pending(store))
    return longest


@pytest.mark.parametrize("claimed", [False, True], ids=["own", "claimed"])
@pytest.mark.parametrize("round_trip_ms", [5, 20])
def test_after_a_cut_connection_fresh_closes_do_not_wait_behind_what_was_held(
    server: Embedded, store: Store, round_trip_ms: int, claimed: bool
) -> None:
    measure = partial(_after_a_cut, server, store, round_trip_ms, claimed)
    assert least(measure, MOST_SEC) <= MOST_SEC


def _after_a_cut(server: Embedded, store: Store, round_trip_ms: int, claimed: bool) -> float:
    """The longest wait of a fresh close, seconds."""
    store.run("FLUSHALL")
    with SlowLink(server.directory / SOCKET, round_trip_ms / 1000) as link, governed(link.url):
        until(lambda: serving(store))
        hold(store, "dead" if claimed else "g1")
        if claimed:
            abandon(store, "dead")
        link.cut()
        until(lambda: (group := group_state(store)) and group.pending < REDELIVERED)
        longest = max(waits(store))
        until(lambda: not pending(store))
    return longest


NEAR_SEC, FAR_SEC = 0.001, 0.2
MOST_ROUND_TRIPS = 4


def test_a_lone_close_has_its_permit_after_four_round_trips(server: Embedded, store: Store) -> None:
    """Whatever the governor is at when it comes: at 200 ms it looks at the server all the time, and
    finds opens of other governors."""
    fifth = (MOST_ROUND_TRIPS + 1) * FAR_SEC
    with SlowLink(server.directory / SOCKET, NEAR_SEC) as link, governed(link.url):
        until(lambda: serving(store))
        lone_waits(store, 1, "first")  # It teaches the server the script, and ends the start.
        link.take(FAR_SEC)
        lone_waits(store, 1, "second")  # What was under way when the link became longer.
        names = count(1)
        longest = least(lambda: max(lone_waits(store, 10, f"lone{next(names)}")), fifth)
    assert longest < fifth


def lone_waits(store: Store, sent: int, name: str) -> list[float]:
    """Sends closes, each when the one before has its permit; how long each was queued, seconds."""
    found = []
    for number in range(sent):
        plan_id = f"{name}-{number}"
        store.run("ZADD", store.keys.ledger_total, store.now_ms() / 1000, f"other-{plan_id}")
        id_ = send(store, close(plan_id))
        found.append(permitted(store, plan_id) - ms_of(id_) / 1000)
        time.sleep(0.07 * (number % 10))
    return found
