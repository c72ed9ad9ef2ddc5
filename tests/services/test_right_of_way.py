"""A pass gives way to plans in the same process, and is not stopped by them."""

import threading
from typing import Any

import pytest

from qtctl.bench.governor import NO_LIMIT, queue
from qtctl.bench.stage import Stage, put_targets, symbols
from qtctl.services import right_of_way
from qtctl.services.allocation import AllocationLoop
from qtctl.services.governor import Governor
from qtctl.services.judge import Judge
from qtctl.services.right_of_way import RightOfWay
from qtctl.settings import Allocation
from qtctl.settings import Governor as GovernorSettings
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.schema.keys import GROUP, Keys


class Noted(RightOfWay):
    """Counts how often a pass gave way."""

    given = 0

    def give(self) -> None:
        self.given += 1
        super().give()


def test_who_gives_way_goes_on_when_the_other_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(right_of_way, "MOST_SEC", 60.0)
    way, passed = RightOfWay(), threading.Event()

    def gives() -> None:
        way.give()
        passed.set()

    with way.held():
        thread = threading.Thread(target=gives)
        thread.start()
        assert not passed.wait(0.05), "it waits"
    assert passed.wait(30)
    thread.join(30)


def test_who_gives_way_does_not_wait_for_ever() -> None:
    way = RightOfWay()
    with way.held():
        way.give()
        way.give()


def test_a_pass_gives_way_between_small_pieces(redis_url: str, store: Store) -> None:
    put_targets(store, symbols(300))
    way = Noted()
    loop = AllocationLoop(Store(redis_url, Keys()), Allocation(name="way"), way=way)
    loop.open()
    assert loop.step() == 300
    loop.close()
    assert way.given >= 9, "three times for each chunk of 100"


def test_a_governor_goes_first_while_it_serves_plans(
    server: Embedded, redis_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(Stage(redis_url, server.directory, True, store), symbols(3, "W"), GROUP)
    way = RightOfWay()
    seen: list[bool] = []
    settings = GovernorSettings(
        name="way", max_queue_age_sec=3600, max_plan_age_sec=3600,
        max_opens_per_5min_total=NO_LIMIT,
    )  # fmt: skip
    governor = Governor(Store(redis_url, Keys()), settings, allow_eviction=False, way=way)
    serve = Judge.serve

    def noted(judge: Judge, *given: Any) -> list[str]:
        seen.append(way.free)
        return serve(judge, *given)

    monkeypatch.setattr(Judge, "serve", noted)
    governor.open()
    governor.once()
    governor.close()
    assert seen
    assert not any(seen), "held while plans are judged"
    assert way.free
