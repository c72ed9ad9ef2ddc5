"""Between two plans a governor goes through what it does with one, and nothing comes of it."""

import logging
import threading
import time
from typing import Any

import pytest
from prometheus_client import generate_latest

from qtctl.services import judge, rehearsal
from qtctl.services.governor import Governor
from qtctl.wire.client.store import Store
from qtctl.wire.governor import commit
from qtctl.wire.schema.keys import LEDGER
from tests.services.helpers import decide, governor, send, serve_all
from tests.support.plans import fields


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The steps of all rehearsals, as they would be sent."""
    found: list[bytes] = []
    calls = commit.packed_calls

    def noted(*args: Any) -> Any:
        found.extend(calls(*args))
        return iter(())

    monkeypatch.setattr(judge, "packed_calls", noted)
    return found


def wait(gov: Governor, times: int) -> None:
    """One rehearsal each, where there is one: whoever is to stop does not go on."""
    stop = threading.Event()
    stop.set()
    for _ in range(times):
        gov.wait(stop)


def open_governor(store: Store, **more: Any) -> Governor:
    gov = governor(store, **more)
    gov.open()
    serve_all(gov)
    return gov


def test_the_whole_step_is_packed_and_nothing_is_sent_counted_or_logged(
    store: Store, packed: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    gov = open_governor(store)
    decide(store, gov, "p1")
    gov.step()  # What is due each second is done, and the next read waits on the server.
    with caplog.at_level(logging.DEBUG):
        caplog.clear()
        wait(gov, 1)
        keys, metrics = store.run("KEYS", "*"), generate_latest(gov.registry)
        events = store.run("XLEN", store.keys.events)
        packed.clear()
        wait(gov, 5)
    assert [b"EVALSHA" in each[:32] and b"rehearsal" in each for each in packed] == [True] * 5
    assert sorted(store.run("KEYS", "*")) == sorted(keys)
    assert store.run("XLEN", store.keys.events) == events
    assert _without_process(generate_latest(gov.registry)) == _without_process(metrics)
    assert not [record for record in caplog.records if record.name.startswith("qtctl")]
    gov.close()


def test_a_plan_that_comes_meanwhile_is_served_at_once(store: Store, packed: list[bytes]) -> None:
    gov = open_governor(store)
    decide(store, gov, "p1")
    for place in range(20):
        wait(gov, 2)
        send(store, fields(plan_id=f"q{place}", symbol=f"S{place}"))
        wait(gov, 1)
        assert gov.step() == 1
    assert packed
    assert store.run("ZCARD", store.keys.permits) == 21
    gov.close()


def test_a_governor_without_work_does_not_rehearse(
    store: Store, packed: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    gov = open_governor(store)
    wait(gov, 1)
    assert not packed, "no plan came yet"
    decide(store, gov, "p1")
    wait(gov, 3)
    assert packed
    monkeypatch.setattr(rehearsal, "AFTER_SEC", 0.0)
    packed.clear()
    wait(gov, 1)
    assert not packed, "the last plan is long ago"
    gov.close()


def test_a_wait_with_rehearsals_is_as_long_as_one_without(
    store: Store, packed: list[bytes]
) -> None:
    """The loop counts its passes, and what is due each second is due in between."""
    gov = open_governor(store)
    decide(store, gov, "p1")
    gov.step()
    wait(gov, 1)  # The read waits on the server.
    packed.clear()
    begun = time.monotonic()
    gov.wait(threading.Event())
    assert time.monotonic() - begun > 0.9
    assert len(packed) > 5
    gov.close()


def test_what_there_is_to_do_does_not_wait_for_rehearsals(
    store: Store, packed: list[bytes]
) -> None:
    """Abandoned plans are claimed after each look."""
    gov = open_governor(store)
    decide(store, gov, "p1")
    gov._intake.look()
    packed.clear()
    gov.wait(threading.Event())
    assert len(packed) == 1
    gov.close()


def test_what_redis_refused_is_awaited_with_rehearsals_and_not_with_passes(
    store: Store, packed: list[bytes]
) -> None:
    gov = open_governor(store)
    store.run("SADD", store.keys.at(LEDGER, "BTCUSDT"), "in the way")
    send(store, fields())
    errors = gov.metrics.errors.labels("commit")._value
    while not errors.get():
        wait(gov, 1)
        gov.step()
    refused, passes = errors.get(), 0
    packed.clear()
    while errors.get() == refused:
        gov.wait(threading.Event())
        gov.step()
        passes += 1
    assert passes < 10, "a look, a claim, the try"
    assert len(packed) > 2 * passes
    gov.close()


def test_an_open_that_must_have_all_fields_is_rehearsed(store: Store, packed: list[bytes]) -> None:
    gov = open_governor(store, require=("kill_score", "price", "action"))
    decide(store, gov, "p1")
    wait(gov, 3)
    assert packed
    gov.close()


def test_a_made_up_plan_that_lacks_what_is_required_harms_nobody(
    store: Store, packed: list[bytes]
) -> None:
    gov = open_governor(store, require=("close_qty",))
    send(store, fields(plan_id="p1", close_qty="1"))
    serve_all(gov)
    wait(gov, 3)
    assert not packed
    assert store.run("ZCARD", store.keys.permits) == 1
    gov.close()


def _without_process(page: bytes) -> list[bytes]:
    return [line for line in page.splitlines() if b"last_success" not in line]
