"""Which entries come next, on the real server: the phases of the intake, one after the other."""

import time
from collections.abc import Iterator

import pytest

from qtctl.services import intake as intake_module
from qtctl.services.intake import Batch, Intake, Phase
from qtctl.wire.client.store import Store
from qtctl.wire.governor.plan_queue import Entry, PlanQueue
from qtctl.wire.schema.keys import GROUP
from tests.services.helpers import send
from tests.support.plans import fields, pending

BATCH = 20


@pytest.fixture
def queue(store: Store) -> Iterator[PlanQueue]:
    """The group's queue as the consumer `me` sees it."""
    reader = store.reader(intake_module.BLOCK_SEC)
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    yield PlanQueue(store, reader, "me")
    reader.close()


@pytest.fixture
def taking(queue: PlanQueue) -> Intake:
    """An intake that has nothing left from before."""
    taking = Intake(queue, BATCH)
    assert len(taking.take(0)) == 0
    assert taking.idle
    return taking


def held_by(store: Store, consumer: str, count: int, idle_ms: int = 0) -> list[str]:
    """The ids of entries delivered to a consumer and not finished."""
    ids = [send(store, fields(plan_id=f"{consumer}{number}")) for number in range(count)]
    store.run("XREADGROUP", "GROUP", GROUP, consumer, "STREAMS", store.keys.plans, ">")
    store.run("XCLAIM", store.keys.plans, GROUP, consumer, 0, *ids, "IDLE", idle_ms, "JUSTID")
    return ids


def ids(entries: list[Entry]) -> list[str]:
    return [entry.id for entry in entries]


def all_ids(batch: Batch) -> list[str]:
    return ids(batch.redelivered) + ids(batch.fresh)


# Asked through functions: mypy takes a property for one that keeps its value.


def phase_of(taking: Intake) -> Phase:
    return taking.phase


def settled(taking: Intake) -> bool:
    return taking.settled


def finish(queue: PlanQueue, batch: Batch) -> None:
    queue.acknowledge(all_ids(batch))


def test_after_a_restart_own_entries_come_first_then_abandoned_then_new_ones(
    store: Store, queue: PlanQueue
) -> None:
    mine = held_by(store, "me", 2)
    theirs = held_by(store, "dead", 2, idle_ms=60_000)
    new = send(store, fields())
    taking = Intake(queue, BATCH)
    taking.restart()
    assert phase_of(taking) is Phase.OWN_PENDING
    assert ids(taking.take(0).redelivered) == mine
    assert ids(taking.take(0).redelivered) == theirs
    assert phase_of(taking) is Phase.NEW
    taking.wait()
    batch = taking.take(0)
    assert (ids(batch.fresh), batch.redelivered) == ([new], [])
    assert taking.idle


def test_own_entries_are_read_a_batch_at_a_time_and_none_twice(
    store: Store, queue: PlanQueue
) -> None:
    mine = held_by(store, "me", 2 * BATCH + 1)
    taking = Intake(queue, BATCH)
    sizes, seen = [], []
    while phase_of(taking) is Phase.OWN_PENDING:
        taking.wait()  # Returns at once: there is something to take.
        batch = taking.take(0)
        sizes.append(len(batch))
        seen += all_ids(batch)
    assert sizes == [BATCH, BATCH, 1, 0]
    assert seen == mine


def test_a_restart_gives_up_what_was_read_and_takes_it_again(
    store: Store, queue: PlanQueue, taking: Intake
) -> None:
    entry = send(store, fields())
    taking.wait()
    assert not taking.idle
    taking.restart()
    batch = taking.take(0)
    assert (ids(batch.redelivered), batch.fresh) == ([entry], [])
    finish(queue, batch)
    assert len(taking.take(0)) == 0


def test_what_redis_refused_comes_again_and_new_entries_beside_it(
    store: Store, queue: PlanQueue, taking: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "RETRY_COUNT", 2)
    refused = [send(store, fields(plan_id=f"p{number}")) for number in range(3)]
    taking.poll()
    assert ids(taking.take(0).fresh) == refused
    monkeypatch.setattr(intake_module, "RETRY_SEC", 0)
    assert settled(taking)
    taking.retry_later()
    assert not settled(taking)
    new = [send(store, fields(plan_id=f"n{number}")) for number in range(3)]
    first = taking.take(0)
    assert phase_of(taking) is Phase.RETRY
    assert (ids(first.redelivered), ids(first.fresh)) == (refused[:2], new[:2])
    finish(queue, first)
    taking.retry_later()  # Another refusal: the round goes on to its end all the same.
    second = taking.take(0)
    assert (ids(second.redelivered), ids(second.fresh)) == ([refused[2]], [new[2]])
    finish(queue, second)
    assert len(taking.take(0)) == 0
    assert not settled(taking), "a retry is due"
    assert len(taking.take(0)) == 0
    assert settled(taking)


def test_a_retry_waits_its_time_and_is_not_waited_past(
    store: Store, taking: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "RETRY_SEC", 0.2)
    monkeypatch.setattr(intake_module, "BLOCK_SEC", 20.0)
    refused = send(store, fields())
    taking.poll()
    assert ids(taking.take(0).fresh) == [refused]
    taking.retry_later()
    assert len(taking.take(0)) == 0, "not yet"
    begun = time.monotonic()
    taking.wait()
    assert 0.1 < time.monotonic() - begun < intake_module.BLOCK_SEC
    while not (batch := taking.take(0)):
        taking.wait()
    assert ids(batch.redelivered) == [refused]


def test_entries_in_hand_are_served_before_a_retry_that_would_deliver_them_again(
    store: Store, queue: PlanQueue, taking: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "RETRY_SEC", 0)
    new = send(store, fields())
    taking.poll()
    taking.retry_later()
    batch = taking.take(0)
    assert (ids(batch.fresh), batch.redelivered) == ([new], [])
    finish(queue, batch)
    assert len(taking.take(0)) == 0


def test_claims_go_on_where_they_ended_and_new_entries_are_read_beside_them(
    store: Store, queue: PlanQueue, taking: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "CLAIM_COUNT", 2)
    monkeypatch.setattr(intake_module, "BLOCK_SEC", 20.0)
    theirs = held_by(store, "dead", 5, idle_ms=60_000)
    assert taking.look().group is not None
    assert phase_of(taking) is Phase.CLAIM
    assert ids(taking.take(0).redelivered) == theirs[:2]
    new = send(store, fields())
    taking.wait()
    batch = taking.take(0)
    assert (ids(batch.redelivered), ids(batch.fresh)) == (theirs[2:4], [new])
    begun = time.monotonic()
    taking.wait()
    assert time.monotonic() - begun < 10, "there is something to claim: no wait"
    assert ids(taking.take(0).redelivered) == theirs[4:]
    assert phase_of(taking) is Phase.NEW


def test_nothing_is_claimed_while_own_entries_are_read(store: Store, queue: PlanQueue) -> None:
    held_by(store, "me", 1)
    taking = Intake(queue, BATCH)
    taking.look()
    assert phase_of(taking) is Phase.OWN_PENDING


def test_entries_that_a_live_consumer_holds_are_left_to_it(store: Store, taking: Intake) -> None:
    held_by(store, "alive", 3, idle_ms=100)
    taking.look()
    assert len(taking.take(0)) == 0
    assert taking.idle


def test_a_trimmed_entry_is_handed_over_without_its_fields(store: Store, queue: PlanQueue) -> None:
    mine = held_by(store, "me", 1)
    store.run("XTRIM", store.keys.plans, "MAXLEN", 0)
    batch = Intake(queue, BATCH).take(0)
    (entry,) = batch.redelivered + batch.fresh
    assert (entry.id, entry.raw) == (mine[0], None)


def test_old_entries_are_acknowledged_and_counted_and_read_in_bulk(
    store: Store, queue: PlanQueue, taking: Intake
) -> None:
    now_ms = store.now_ms()
    old_ms = now_ms - intake_module.OLD_MS - 10_000
    for number in range(3 * BATCH):
        send(store, fields(plan_id=f"old{number}"), f"{old_ms + number}-0")
    young = send(store, fields())
    taking.wait()
    first = taking.take(now_ms)
    assert (first.skipped, len(first)) == (BATCH, BATCH)
    taking.wait()
    rest = taking.take(now_ms)
    assert (rest.skipped, ids(rest.fresh)) == (2 * BATCH, [young])
    assert pending(store) == [young]


def test_the_look_tells_how_the_group_stands(store: Store, taking: Intake) -> None:
    held_by(store, "me", 2)
    group = taking.look().group
    assert group is not None
    assert group.pending == 2
    store.run("XGROUP", "DESTROY", store.keys.plans, GROUP)
    assert taking.look().group is None


def test_a_wait_ends_with_the_first_new_entry(store: Store, taking: Intake) -> None:
    taking.wait()
    assert taking.idle, "it ends without one as well"
    entry = send(store, fields())
    taking.wait()
    assert ids(taking.take(0).fresh) == [entry]
