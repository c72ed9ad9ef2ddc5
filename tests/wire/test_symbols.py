"""Which symbols have a target is known in each pass, however many keys lie around, on a server that
reports no changes (test_tracking.py: on one that does)."""

from collections.abc import Iterator
from typing import Any

import pytest

from qtctl.wire.allocation import symbols as module
from qtctl.wire.allocation.symbols import SPREAD, Symbols
from qtctl.wire.client.connect import Access
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import Keys

HEAD = "quantum:allocation:target:"


def put(store: Store, *names: str) -> None:
    store.batch([("HSET", HEAD + name, "target_usd", "1") for name in names])


def names(symbols: Symbols) -> list[str]:
    return [symbol.name for symbol in symbols.look()[0]]


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """A connection of a user whom the server refuses client tracking."""
    admin = Store(redis_url, Keys())
    admin.run("ACL", "SETUSER", "scans", "on", "nopass", "~*", "&*", "+@all", "-client|tracking")
    scans = Store(redis_url, Keys(), access=Access(username="scans", password=lambda: "any"))
    yield scans
    scans.close()
    admin.run("ACL", "DELUSER", "scans")
    admin.close()


@pytest.fixture
def crowded(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A keyspace that counts as large, most of it of others."""
    monkeypatch.setattr(module, "SMALL_KEYSPACE", 100)
    monkeypatch.setattr(module, "COUNT", 50)
    store.batch([("SET", f"foreign:{number}", "x") for number in range(3_000)])
    return store


def test_a_small_keyspace_is_seen_whole_in_each_pass(store: Store) -> None:
    put(store, "B", "A")
    symbols = Symbols(store)
    assert names(symbols) == ["A", "B"]
    put(store, "C")
    store.run("DEL", HEAD + "A")
    assert names(symbols) == ["B", "C"]


def test_the_first_look_sees_all_of_a_large_keyspace(crowded: Store) -> None:
    put(crowded, *(f"S{number}" for number in range(40)))
    assert len(names(Symbols(crowded))) == 40


def test_in_a_large_keyspace_a_new_target_is_seen_within_three_passes(crowded: Store) -> None:
    put(crowded, "OLD")
    symbols = Symbols(crowded)
    assert names(symbols) == ["OLD"]
    for number in range(12):
        put(crowded, f"NEW{number}")
        seen = [names(symbols) for _ in range(SPREAD)]
        assert f"NEW{number}" in seen[-1]
        assert all("OLD" in each for each in seen)


def test_in_a_large_keyspace_a_pass_looks_at_a_third_of_it(
    crowded: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(crowded, "OLD")
    symbols = Symbols(crowded)
    symbols.look()
    scans = []
    ask = Store.reply

    def counted(*args: Any) -> Any:
        scans.append(args)
        return ask(*args)

    monkeypatch.setattr(Store, "reply", counted)
    for _ in range(2 * SPREAD):
        symbols.look()
    assert len(scans) == pytest.approx(2 * 3_000 / 50, rel=0.15)


def test_a_target_that_went_is_forgotten_within_a_round(crowded: Store) -> None:
    put(crowded, "OLD", "GONE")
    symbols = Symbols(crowded)
    symbols.look()
    crowded.run("DEL", HEAD + "GONE")
    assert [names(symbols) for _ in range(2 * SPREAD)][-1] == ["OLD"]


def test_another_server_is_looked_at_from_scratch(crowded: Store) -> None:
    put(crowded, "OLD")
    symbols = Symbols(crowded)
    symbols.look()
    crowded.run("FLUSHALL")
    crowded.batch([("SET", f"foreign:{number}", "x") for number in range(3_000)])
    put(crowded, "OTHER")
    symbols.forget()
    assert names(symbols) == ["OTHER"]


def test_keys_that_can_be_no_target_are_named_and_proposals_are_none(store: Store) -> None:
    put(store, "A", "proposed:A", "two words")
    found, bad = Symbols(store).look()
    assert [each.name for each in found] == ["A"]
    assert list(bad) == [HEAD + "two words"]
