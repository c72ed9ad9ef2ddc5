"""What comes again: entries that were delivered and not finished, and consumers that are gone."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from qtctl import clock
from qtctl.domain import plans
from qtctl.errors import RedisUnreachable, ServerRefusedError
from qtctl.services import governor as governor_module
from qtctl.services import intake, redelivery
from qtctl.services.governor import Governor
from qtctl.services.redelivery import MAX_TRIES
from qtctl.wire.client.store import Store
from qtctl.wire.governor import plan_queue
from qtctl.wire.governor.commit import commit
from qtctl.wire.schema.keys import GROUP
from qtctl.wire.schema.records import pairs, text
from tests.services.helpers import governor, metric, send
from tests.support.plans import decision, fields, pending, permit

Wrapped = Callable[..., Any]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes are counted here: none is cut short on a machine that is busy, and none waits long."""
    monkeypatch.setattr(redelivery, "SHARE_SEC", 60.0)
    monkeypatch.setattr(intake, "BLOCK_SEC", 0.05)


class PoisonError(Exception):
    """A bug of ours that one plan brings out."""


def poisoned(original: Wrapped) -> Wrapped:
    def reading(*args: Any) -> Any:
        plan = original(*args)
        if getattr(plan, "plan_id", "") == "poison":
            raise PoisonError
        return plan

    return reading


def passes(service: Governor, count: int) -> int:
    """So many passes as the supervisor makes them: close and open after an error."""
    errors = 0
    for _ in range(count):
        try:
            service.step()
            service.wait(threading.Event())
        except (PoisonError, RedisUnreachable):
            errors += 1
            service.close()
            service.open()
    return errors


def rejected(store: Store) -> list[dict[str, str]]:
    return [pairs(raw) for _, raw in store.run("XRANGE", store.keys.rejected, "-", "+")]


def tries_left(store: Store) -> list[str]:
    return [text(key) for key in store.run("SCAN", 0, "MATCH", "*tries*", "COUNT", 1000)[1]]


def test_a_plan_that_brings_out_a_bug_of_ours_is_rejected_after_five_tries(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "read", poisoned(plans.read))
    service = governor(store)
    service.open()
    send(store, fields(plan_id="before"))
    poison = send(store, fields(plan_id="poison"))
    send(store, fields(plan_id="after"))
    errors = passes(service, 3 * MAX_TRIES)
    assert errors == MAX_TRIES
    (kept,) = rejected(store)
    assert kept["entry_id"] == poison
    assert "5 tries" in kept["problem"]
    assert permit(store, "before") is not None
    assert permit(store, "after") is not None
    assert decision(store, "poison") == {}
    assert pending(store) == []
    assert tries_left(store) == []
    service.close()


def test_a_plan_that_kills_the_process_is_rejected_after_five_deaths(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each governor here dies with the plan in its hands: nothing of it remains in memory."""
    monkeypatch.setattr(plans, "read", poisoned(plans.read))
    send(store, fields(plan_id="poison"))
    deaths = 0
    for _ in range(MAX_TRIES + 3):
        service = governor(store)
        try:
            service.open()
            service.once()
        except PoisonError:
            deaths += 1
        service.close()
    assert deaths == MAX_TRIES
    assert len(rejected(store)) == 1
    assert pending(store) == []


def test_redis_refusing_or_going_away_never_counts_against_a_plan(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {"now": False}

    def unsteady(*args: Any) -> Any:
        if away["now"]:
            raise RedisUnreachable("cut")
        return commit(*args)

    monkeypatch.setattr("qtctl.services.judge.commit", unsteady)
    service = governor(store)
    service.open()
    send(store, fields())
    away["now"] = True
    assert passes(service, 4 * MAX_TRIES) >= 3 * MAX_TRIES
    away["now"] = False
    store.run("SADD", "quantum:governor:ledger:BTCUSDT", "in the way")
    monkeypatch.setattr(intake, "RETRY_SEC", 0)
    refused = metric(service, "p32_errors_total", kind="commit") or 0
    for _ in range(6 * MAX_TRIES):
        service.step()
    assert (metric(service, "p32_errors_total", kind="commit") or 0) >= refused + 2 * MAX_TRIES
    assert len(pending(store)) == 1
    store.run("DEL", "quantum:governor:ledger:BTCUSDT")
    passes(service, 3)
    assert permit(store) is not None
    assert decision(store)["attempts"] == "2"
    assert rejected(store) == []
    assert tries_left(store) == []
    service.close()


def test_the_cursor_over_abandoned_entries_is_carried_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one claim's worth: the second claim goes on where the first ended, at once, and
    what is new is served beside it."""
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    for number in range(250):
        send(store, fields(plan_id=f"p{number}"))
    dead = ("XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", store.keys.plans, ">")
    found = store.run(*dead)[0][1]
    ids = [text(id_) for id_, _ in found]
    store.run("XCLAIM", store.keys.plans, GROUP, "dead", 0, *ids, "IDLE", 60_000, "JUSTID")
    service = governor(store)
    service.open()
    sizes = [service.step()]
    send(store, fields(plan_id="new"))
    for _ in range(3):
        service.wait(threading.Event())
        sizes.append(service.step())
        if len(sizes) == 2:
            assert permit(store, "new") is not None
    assert max(sizes) <= 101, "bounded per pass"
    assert sum(sizes) == 251
    assert pending(store) == []
    service.close()


def test_a_dead_consumer_goes_once_it_holds_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_queue, "DEAD_AFTER_MS", 20)
    service = governor(store, "alive")
    service.open()
    send(store, fields())
    store.run("XREADGROUP", "GROUP", GROUP, "holds", "STREAMS", store.keys.plans, ">")
    store.run("XGROUP", "CREATECONSUMER", store.keys.plans, GROUP, "empty")
    threading.Event().wait(0.05)
    monkeypatch.setattr(governor_module, "HOUSEKEEP_SEC", 0)
    service.step()
    rows = store.run("XINFO", "CONSUMERS", store.keys.plans, GROUP)
    names = {pairs(row[:2])["name"] for row in rows}
    assert "empty" not in names
    assert "holds" in names, "what it holds must be claimed first"
    service.close()


def test_several_governors_share_a_group_and_no_plan_gets_two_permits(store: Store) -> None:
    stop = threading.Event()
    services = [governor(store, f"g{number}") for number in range(4)]
    plans = 600

    def work(service: Governor) -> None:
        service.open()
        while not stop.is_set():
            service.step()
            service.wait(stop)
        service.close()

    threads = [threading.Thread(target=work, args=(service,)) for service in services]
    for thread in threads:
        thread.start()
    for number in range(plans):
        # Every plan twice: as a publisher that was not sure sends it.
        for _ in range(2):
            send(store, fields(plan_id=f"p{number}", action="CLOSE", symbol=f"S{number % 7}"))
    deadline = clock.monotonic() + 60
    while clock.monotonic() < deadline:
        info = store.run("XINFO", "GROUPS", store.keys.plans)
        state = dict(zip(info[0][::2], info[0][1::2], strict=True)) if info else {}
        if state.get(b"entries-read") == 2 * plans and state.get(b"pending") == 0:
            break
        stop.wait(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    told = [pairs(raw) for _, raw in store.run("XRANGE", store.keys.events, "-", "+")]
    permitted = [event["plan_id"] for event in told if event["event"] == "permitted"]
    assert sorted(permitted) == sorted(f"p{number}" for number in range(plans))
    duplicates = [event for event in told if event["reason"] == "duplicate_plan"]
    assert len(duplicates) == plans
    actors = {event["actor"] for event in told}
    assert len(actors) >= 2, "one governor did everything: nothing was shared"


def test_what_was_trimmed_while_a_dead_consumer_held_it_is_counted(store: Store) -> None:
    """XAUTOCLAIM lets it go by itself, and names it in its third reply."""
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    send(store, fields(plan_id="gone"))
    send(store, fields(plan_id="there"))
    store.run("XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", store.keys.plans, ">")
    # As long ago as it takes to be dead.
    for row in store.run("XPENDING", store.keys.plans, GROUP, "-", "+", 10):
        store.run("XCLAIM", store.keys.plans, GROUP, "dead", 0, row[0], "IDLE", 60_000, "JUSTID")
    store.run("XTRIM", store.keys.plans, "MAXLEN", "1")
    gov = governor(store)
    gov.open()
    assert passes(gov, 3) == 0
    assert permit(store, "there") is not None
    assert pending(store) == []
    assert metric(gov, "p32_errors_total", kind="trimmed") == 1
    gov.close()


def test_what_breaks_the_governor_is_found_among_many_and_takes_none_with_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redelivered entries share their round trips: the try that breaks counts against all of them,
    and from then on each is served alone."""
    monkeypatch.setattr(plans, "read", poisoned(plans.read))
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    for number in range(60):
        send(store, fields(plan_id="poison" if number == 20 else f"p{number}"))
    store.run("XREADGROUP", "GROUP", GROUP, "g1", "STREAMS", store.keys.plans, ">")
    service = governor(store)
    service.open()
    assert passes(service, MAX_TRIES + 2) == MAX_TRIES - 1, "the first try was somebody else's"
    (kept,) = rejected(store)
    assert kept["raw:plan_id"] == "poison"
    assert all(permit(store, f"p{number}") for number in range(60) if number != 20)
    assert pending(store) == []
    assert tries_left(store) == []
    service.close()


def test_what_redis_refuses_while_many_come_again_counts_against_none(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the refusal ends the pass: the script of the atomic step could not be loaded."""
    refuse = {"now": True}

    def refused(*args: Any) -> Any:
        if refuse["now"]:
            raise ServerRefusedError("NOPERM this user may not run SCRIPT LOAD")
        return commit(*args)

    monkeypatch.setattr("qtctl.services.judge.commit", refused)
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    for number in range(20):
        send(store, fields(plan_id=f"p{number}"))
    store.run("XREADGROUP", "GROUP", GROUP, "g1", "STREAMS", store.keys.plans, ">")
    service = governor(store)
    service.open()
    for _ in range(2 * MAX_TRIES):
        with pytest.raises(ServerRefusedError):
            service.step()
        service.close()
        service.open()
    refuse["now"] = False
    passes(service, 3)
    assert rejected(store) == []
    assert all(permit(store, f"p{number}") for number in range(20))
    assert tries_left(store) == []
    service.close()
