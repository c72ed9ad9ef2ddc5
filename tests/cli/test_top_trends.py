"""Trend lines: what is not known is blank, never zero."""

import pytest

from qtctl.cli.live.trends import Trends
from qtctl.cli.output.sparks import bars
from qtctl.settings import load
from qtctl.wire.client.store import Store
from qtctl.wire.queries import trends
from qtctl.wire.queries.status import Watch
from tests.support.cli import NO_FILE


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((None, 0, 1, 2, 7), " ▁▂▃█"), ((0, 0), "▁▁"), ((None, None), "  "), ((), ""),
        ((1000, 1, 0), "█▂▁"), ((1,), "█"),
    ],
)  # fmt: skip
def test_a_bar_a_minute(values: tuple[int | None, ...], shown: str) -> None:
    assert bars(values) == shown


def add(store: Store, at_ms: int, event: str, plan_id: str = "p") -> None:
    store.run("XADD", store.keys.events, f"{at_ms}-*", "event", event, "plan_id", plan_id)


def seen(store: Store, keeper: Trends) -> dict[str, list[int | None]]:
    watch = Watch(store, load(config=None, environ=NO_FILE).settings, 3600)
    return {trend.name: list(trend.values) for trend in keeper.of(watch.read())}


def test_permits_and_blocks_are_counted_by_the_minute_since_the_stream_begins(store: Store) -> None:
    now = store.now_ms()
    minute = now // 60_000 * 60_000
    for ago, event in ((3, "permitted"), (3, "permitted"), (2, "blocked"), (0, "permitted")):
        add(store, minute - ago * 60_000, event)
    found = seen(store, Trends(store))
    assert found["permits"] == [None] * 26 + [2, 0, 0, 1]
    assert found["blocks"] == [None] * 26 + [0, 1, 0, 0]
    assert found["lag"] == [None] * 30, "no group: nobody knows"


def test_a_minute_whose_beginning_was_trimmed_is_unknown(store: Store) -> None:
    now = store.now_ms()
    minute = now // 60_000 * 60_000
    for ago_ms in (119_000, 61_000, 60_000):
        add(store, minute - ago_ms, "permitted")
    add(store, minute, "permitted")
    store.run("XTRIM", store.keys.events, "MAXLEN", "=", 3)
    assert seen(store, Trends(store))["permits"] == [None] * 28 + [1, 1]


def test_what_was_seen_stays_known_when_the_stream_forgets_it(store: Store) -> None:
    minute = store.now_ms() // 60_000 * 60_000
    add(store, minute - 60_000, "permitted")
    keeper = Trends(store)
    assert seen(store, keeper)["permits"][-2] == 1
    store.run("DEL", store.keys.events)
    assert seen(store, keeper)["permits"][-2] == 1


def test_without_events_nothing_is_known(store: Store) -> None:
    found = seen(store, Trends(store))
    assert set(found["permits"] + found["blocks"]) == {None}


def test_the_queue_of_the_past_comes_from_a_few_decisions(store: Store) -> None:
    now = store.now_ms()
    minute = now // 60_000 * 60_000 - 120_000
    for place in range(10):
        store.run("XADD", store.keys.plans, f"{minute + place}-0", "plan_id", f"p{place}")
    # p2 was judged 5 ms after the first came: p3, p4 and p5 stood behind it.
    decision = {"entry_id": f"{minute + 2}-0", "decided_at": f"{(minute + 5) / 1000:.3f}"}
    flat = [part for pair in decision.items() for part in pair]
    store.run("HSET", "quantum:governor:decision:p2", *flat)
    add(store, minute + 5, "permitted", "p2")
    assert trends.queued(store, now / 1000) == {minute // 60_000: 3}
    # Where the entry itself is trimmed, more may be.
    store.run("XTRIM", store.keys.plans, "MINID", f"{minute + 4}-0")
    assert trends.queued(store, now / 1000) == {}


def test_a_stream_of_a_wrong_type_costs_no_picture(store: Store) -> None:
    store.run("SET", store.keys.events, "x")
    store.run("SET", store.keys.plans, "x")
    keeper = Trends(store)
    keeper.look_back(store.now_ms() / 1000)
    assert set(seen(store, keeper)["permits"]) == {None}
