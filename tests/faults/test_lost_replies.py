"""A connection that breaks at any command, before it, after it, or in silence: for every command of
both loops in turn, the loop goes on and every promise holds."""

import os
from typing import Any

import pytest

from qtctl.errors import RedisUnreachable
from qtctl.services import intake, judge
from qtctl.services.redelivery import MAX_TRIES
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.private_server.folder import SOCKET
from qtctl.wire.schema.keys import GROUP
from tests.faults import scenes
from tests.support.plans import decision
from tests.support.proxy import AFTER, BEFORE, HALF_OPEN, KINDS, LATE, MUTE, RESET, Fault, Proxy

LONG = os.environ.get("TESTS_LONG") == "1"
STEPS = {BEFORE: 2, AFTER: 2, RESET: 7, HALF_OPEN: 19, MUTE: 19, LATE: 19}
"""At every so manieth command, from the first: a cut before one is much like a cut after the one
before it, a reset is much like a cut, and the last three take a time-out each. In the long form
every kind is tried at every command."""
SLOW = (HALF_OPEN, MUTE, LATE)
TIMEOUT_SEC = 0.25
LATE_SEC = 0.5

pytestmark = [pytest.mark.usefixtures("swift"), pytest.mark.timeout(1800 if LONG else 120)]
LISTENING = ("CLIENT", "SUBSCRIBE", "PING")
"""What sets up and asks the connection for invalidations: without it a pass goes on by SCAN."""


def governed(server: Embedded, store: Store, scene: str, fault: Fault | None) -> Any:
    """One run of the governor through the proxy: what it came to, what failed, what was sent."""
    with scenes.on_empty(store) as taker, Proxy(server.directory / SOCKET, fault) as proxy:
        scenes.scores(store)
        scenes.SCENES[scene](store)
        timeout_sec = TIMEOUT_SEC if fault and fault.kind in SLOW else 2.0
        service = scenes.governor(proxy.url, timeout_sec)

        def done() -> bool:
            taker.take()
            return scenes.settled(store) and (fault is None or proxy.fired)

        failed = scenes.host(service, done)
        proxy.settle()
        if not scenes.settled(store):
            # A command that came late took entries that nobody waits for any more.
            failed += scenes.host(scenes.governor(proxy.url), done)
        scenes.assert_promises(store, taker)
        return scenes.outcome(store, taker), failed, proxy


@pytest.mark.parametrize("scene", scenes.SCENES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_governor_goes_on_wherever_its_connection_breaks(
    server: Embedded, store: Store, scene: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "ABANDONED_MS", 200 if kind == LATE else 5_000)
    expected, failed, clean = governed(server, store, scene, None)
    assert not failed
    assert expected["permits"]
    positions = range(1, len(clean.seen) + 1, 1 if LONG else STEPS[kind])
    for at in positions:
        fault = Fault(kind, at, late_sec=LATE_SEC)
        found, failed, proxy = governed(server, store, scene, fault)
        where = f"{kind} {at}: {proxy.seen[at - 1]}"
        assert proxy.fired, where
        if failed or proxy.seen[at - 1] != "XREADGROUP":
            # The answer to a read may come, or not, when all is done and nobody waits for it.
            assert set(failed) == {"redis_unreachable"}, where
        again = found["events"] - expected["events"]
        if kind in SLOW:
            # Late by the fault, or by the short time-out on a machine that is busy. The atomic step
            # came twice for one entry, the second time after its acknowledgement: what repeats a
            # plan is then told again. No verdict changes, and no permit comes of it.
            assert {reason for _, _, reason in again} <= {"duplicate_plan", "plan_conflict"}, where
            found["events"] -= again
        assert found == expected, where


def allocated(server: Embedded, store: Store, fault: Fault | None) -> Any:
    with scenes.on_empty(store), Proxy(server.directory / SOCKET, fault) as proxy:
        scenes.targets(store)
        before = scenes.live(store)
        timeout_sec = TIMEOUT_SEC if fault and fault.kind in SLOW else 2.0
        service = scenes.allocation(proxy.url, timeout_sec)
        failed = scenes.host(service, lambda: fault is None or proxy.fired, times=1)
        proxy.settle()
        assert scenes.live(store) == before
        assert scenes.without_lifetime(store) == []
        return scenes.proposed(store), failed, proxy


@pytest.mark.parametrize("kind", KINDS)
def test_the_allocation_loop_goes_on_wherever_its_connection_breaks(
    server: Embedded, store: Store, kind: str
) -> None:
    expected, failed, clean = allocated(server, store, None)
    assert not failed
    assert len(expected["latest"]) == 5
    positions = range(1, len(clean.seen) + 1, 1 if LONG else STEPS[kind])
    for at in positions:
        found, failed, proxy = allocated(server, store, Fault(kind, at, late_sec=LATE_SEC))
        name = proxy.seen[at - 1]
        where = f"{kind} {at}: {name}"
        assert proxy.fired, where
        if failed or name not in LISTENING:
            assert set(failed) == {"redis_unreachable"}, where
        assert found == expected, where


@pytest.mark.parametrize("name", ["INCR", "EVALSHA", "DECR"])
def test_a_try_that_only_lost_a_reply_does_not_count_against_the_plan(
    server: Embedded, store: Store, name: str
) -> None:
    """However often that happens: five tries that count would reject it."""
    with scenes.on_empty(store):
        store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
        scenes.send(store, [scenes.plan("p1")], scenes.OWN)
        with Proxy(server.directory / SOCKET) as proxy:
            service = scenes.governor(proxy.url)
            for _ in range(2 * MAX_TRIES):
                proxy.arm(Fault(AFTER, name=name))
                if name == "DECR":  # It comes after a reply was lost, and is lost itself.
                    proxy.arm(Fault(BEFORE, name="EVALSHA"))
                scenes.one_try(service)
                if name == "DECR":
                    proxy.arm(Fault(AFTER, name=name))
                    scenes.one_try(service)
                if scenes.settled(store):
                    break
            scenes.host(service, lambda: scenes.settled(store))
        record = decision(store)
        assert record["verdict"] == "permitted"
        assert int(record["attempts"]) <= 2
        assert store.run("XLEN", store.keys.rejected) == 0
        assert scenes.without_lifetime(store) == []


def test_a_count_of_tries_that_the_server_forgot_does_not_come_back_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise RedisUnreachable("cut")

    with scenes.on_empty(store):
        store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
        scenes.send(store, [scenes.plan("p1")], scenes.OWN)
        service = scenes.governor(store.url)
        with monkeypatch.context() as patched:
            patched.setattr(judge, "commit", away)
            scenes.one_try(service)
        store.run("FLUSHALL")
        service.open()
        service.close()
        assert scenes.without_lifetime(store) == []
