"""The server reports new targets: they are in the next pass, and no pass looks for them."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from qtctl.services.allocation import AllocationLoop
from qtctl.settings import Allocation
from qtctl.wire.allocation import symbols as symbols_module
from qtctl.wire.allocation.symbols import SPREAD, Symbols
from qtctl.wire.client import tracking as tracking_module
from qtctl.wire.client.connect import Access
from qtctl.wire.client.store import Store
from qtctl.wire.client.tracking import CHANNEL
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.queries.services import running
from qtctl.wire.schema.keys import Keys
from tests.security.servers import redis_server
from tests.services.helpers import allocation, messages, metric
from tests.support.ports import free_port
from tests.support.processes import until

HEAD = "quantum:allocation:target:"
FOREIGN = 1_000_000 if os.environ.get("TESTS_LONG") == "1" else 200_000
"""More than a keyspace that is small enough for SCAN."""


@pytest.fixture(scope="module", params=["valkey", "redis-server"])
def crowded_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server with very many keys of others."""
    port, debug = free_port(), {"enable-debug-command": "local"}
    url = f"redis://127.0.0.1:{port}/0"
    if request.param == "valkey":
        with temporary(port=port, extra=debug):
            crowd(url)
            yield url
    else:
        with redis_server({"port": str(port), **debug}, port):
            crowd(url)
            yield url


def crowd(url: str) -> None:
    admin = Store(url, Keys(), timeout_sec=60)
    admin.run("DEBUG", "POPULATE", FOREIGN, "foreign", 1)
    admin.close()


@pytest.fixture
def crowded(crowded_url: str) -> Iterator[Store]:
    """A connection to it; what a test wrote is gone afterwards."""
    store = Store(crowded_url, Keys(), timeout_sec=60)
    yield store
    names = set(store.scan_keys("quantum:*"))
    if names:
        store.run("DEL", *names)
    if store.run("DBSIZE") < FOREIGN:
        crowd(crowded_url)
    store.close()


@pytest.fixture
def loop(crowded: Store) -> Iterator[AllocationLoop]:
    """A loop that has passed, and has ended its first rounds of SCAN."""
    put(crowded, "OLD")
    service = allocation(crowded)
    service.open()
    for _ in range(SPREAD + 1):
        assert service.step() == 1
    yield service
    service.close()


def put(store: Store, *names: str) -> None:
    store.batch([("HSET", HEAD + name, "target_usd", "1") for name in names])


def seen(loop: AllocationLoop) -> list[str]:
    """The symbols of a pass, by what it proposes."""
    proposals = loop._store.run("XLEN", loop._store.keys.proposed_stream)
    count = loop.step()
    raw = loop._store.run("XRANGE", loop._store.keys.proposed_stream, "-", "+")[proposals:]
    assert len(raw) == count
    return [entry[entry.index(b"symbol") + 1].decode() for _, entry in raw]


def calls(store: Store, command: str) -> int:
    stats: bytes = store.run("INFO", "commandstats")
    rows = [row for row in stats.decode().splitlines() if row.startswith(f"cmdstat_{command}:")]
    return sum(int(row.partition("calls=")[2].partition(",")[0]) for row in rows)


def write_plainly(store: Store) -> None:
    put(store, "NEW")


def write_in_a_script(store: Store) -> None:
    store.run("EVAL", "redis.call('HSET', KEYS[1], 'target_usd', '1')", 1, HEAD + "NEW")


def write_in_a_multi(store: Store) -> None:
    commands = [("HSET", HEAD + "NEW", "target_usd", "1"), ("EXPIRE", HEAD + "NEW", 60)]
    store.batch(commands, atomic=True)


def rename(store: Store) -> None:
    store.run("HSET", "elsewhere", "target_usd", "1")
    store.run("RENAME", "elsewhere", HEAD + "NEW")


def restore(store: Store) -> None:
    store.run("RESTORE", HEAD + "NEW", 0, store.run("DUMP", HEAD + "OLD"))


@pytest.mark.parametrize(
    "write", [write_plainly, write_in_a_script, write_in_a_multi, rename, restore]
)
def test_a_new_target_is_in_the_next_pass_and_none_scans(
    crowded: Store, loop: AllocationLoop, write: Callable[[Store], None]
) -> None:
    scans = calls(crowded, "scan") + calls(crowded, "dbsize")
    write(crowded)
    assert seen(loop) == ["NEW", "OLD"]
    assert seen(loop) == ["NEW", "OLD"]
    assert calls(crowded, "scan") + calls(crowded, "dbsize") == scans
    assert metric(loop, "p29_shadow_discovery_by_scan") == 0


def test_a_target_that_is_deleted_or_expires_leaves_and_may_come_back(
    crowded: Store, loop: AllocationLoop
) -> None:
    put(crowded, "NEW", "BRIEF")
    assert seen(loop) == ["BRIEF", "NEW", "OLD"]
    crowded.run("PEXPIRE", HEAD + "BRIEF", 1)
    crowded.run("DEL", HEAD + "OLD")
    until(lambda: not crowded.run("EXISTS", HEAD + "BRIEF"), what="the expiry")
    assert seen(loop) == ["NEW"]
    looked, _ = loop._symbols.look()
    assert [symbol.name for symbol in looked] == ["NEW"], "they are read no more"
    put(crowded, "OLD")
    assert seen(loop) == ["NEW", "OLD"]


def test_a_key_that_can_be_no_target_is_named_while_it_is_there(
    crowded: Store, loop: AllocationLoop
) -> None:
    put(crowded, "BTC/USDT:USDT", "proposed:OTHER")
    assert list(loop._symbols.look()[1]) == [HEAD + "BTC/USDT:USDT"]
    put(crowded, "BTC/USDT:USDT")
    assert list(loop._symbols.look()[1]) == [HEAD + "BTC/USDT:USDT"]
    crowded.run("DEL", HEAD + "BTC/USDT:USDT")
    assert loop._symbols.look()[1] == {}


def test_a_key_in_another_database_is_no_target(crowded: Store, loop: AllocationLoop) -> None:
    other = Store(crowded.url.removesuffix("/0") + "/1", Keys())
    put(other, "ELSEWHERE")
    assert seen(loop) == ["OLD"]
    assert [symbol.name for symbol in loop._symbols.look()[0]] == ["OLD"]
    other.run("FLUSHDB")
    put(crowded, "NEW")
    assert seen(loop) == ["NEW", "OLD"]
    other.close()


def test_after_a_flush_what_is_written_is_found(crowded: Store, loop: AllocationLoop) -> None:
    put(crowded, "A B")
    seen(loop)
    crowded.run("FLUSHALL")
    put(crowded, "OTHER")
    loop.step()
    assert [symbol.name for symbol in loop._symbols.look()[0]] == ["OTHER"]
    assert loop._symbols.look()[1] == {}


def test_a_killed_listener_is_noticed_in_the_next_pass(
    crowded: Store, loop: AllocationLoop, caplog: pytest.LogCaptureFixture
) -> None:
    for number, again in enumerate((False, True)):
        assert crowded.run("CLIENT", "KILL", "TYPE", "pubsub") == 1
        put(crowded, f"NEW{number}")
        found = {name for _ in range(SPREAD) for name in seen(loop)}
        assert f"NEW{number}" in found
        assert bool(messages(caplog, "does not report new targets")) is again, "twice in a minute"
        assert metric(loop, "p29_shadow_discovery_by_scan") == again
    assert messages(caplog, "may have been missed")


def test_a_killed_writer_starts_over(crowded: Store, loop: AllocationLoop) -> None:
    """Tracking goes with the connection; redis-py may make a new one unasked."""
    crowded.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    put(crowded, "NEW")
    try:
        loop.step()
    except Exception:  # noqa: BLE001 - as the supervisor does
        loop.close()
        loop.open()
    assert seen(loop) == ["NEW", "OLD"]
    put(crowded, "LATER")
    assert seen(loop) == ["LATER", "NEW", "OLD"]


@pytest.mark.parametrize("names", [1, 10_000, 100_000])
def test_a_flood_of_writes_between_two_passes_does_not_hold_the_second(
    crowded: Store, names: int
) -> None:
    """100,000 writes, to that many targets; nobody listened meanwhile."""
    put(crowded, *(f"S{number}" for number in range(min(names, 10_000))))
    symbols = Symbols(Store(crowded.url, Keys(), timeout_sec=60))
    while symbols.look() and symbols._scanning:
        pass
    crowded.batch([("HSET", f"{HEAD}S{number % names}", "target_usd", "1")
                   for number in range(100_000)])  # fmt: skip
    begun = time.process_time()
    changed = symbols.tracking.changed()
    taken = time.process_time() - begun
    assert symbols.tracking.problem is None
    assert (symbols.tracking.gap is None) is (names <= 10_000), "too many: by SCAN"
    assert len(changed) <= tracking_module.MOST_CHANGES + 500
    assert taken < 0.5
    symbols.forget()


def test_between_passes_the_loop_takes_in_what_changed(
    crowded: Store, loop: AllocationLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a flood fills no buffer of the server, which would end the connection."""
    monkeypatch.setattr("qtctl.services.allocation.LISTEN_SEC", 0.05)
    stop = threading.Event()
    waiting = threading.Thread(target=loop.wait, args=(stop,))
    waiting.start()
    put(crowded, "NEW")
    listener = loop._symbols.tracking._listener
    assert listener is not None
    until(lambda: (HEAD + "NEW").encode() in listener._changed, what="the change")
    stop.set()
    waiting.join()
    assert seen(loop) == ["NEW", "OLD"]


def test_more_changes_than_are_remembered_mean_a_scan(
    crowded: Store, loop: AllocationLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking_module, "MOST_CHANGES", 10)
    many = [f"N{number:02}" for number in range(40)]
    put(crowded, *many)
    found = {name for _ in range(SPREAD) for name in seen(loop)}
    assert found == {"OLD", *many}
    put(crowded, "ONE")
    assert "ONE" in seen(loop)


def test_after_a_swap_of_databases_all_targets_are_found_within_two_passes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server reports nothing of a swap. In a small keyspace; a large one takes four."""
    with temporary() as server:
        stores = [Store(f"{server.url}?db={number}", Keys()) for number in (0, 1)]
        for store, name in zip(stores, ("OLD", "NEW"), strict=True):
            put(store, name)
        service = allocation(stores[0])
        service.open()
        assert service.step() == service.step() == 1
        stores[0].run("SWAPDB", 0, 1)
        service._heartbeat._last = 0.0
        service.step()
        assert seen(service) == ["NEW"]
        assert metric(service, "p29_shadow_errors_total", kind="discovery") == 1
        assert messages(caplog, "may have been missed")
        assert "SWAPDB" in str(caplog.records[-1].__dict__["fields"]["problem"])
        put(stores[0], "LATER")
        assert seen(service) == ["LATER", "NEW"]
        assert len(messages(caplog, "may have been missed")) == 1
        service.close()
        for store in stores:
            store.close()


def test_now_and_then_a_round_of_scan_finds_what_was_not_reported(
    crowded: Store, loop: AllocationLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(symbols_module, "ROUND_SEC", 0.0)
    loop._symbols._round_due = 0.0
    scans = calls(crowded, "scan")
    loop.step()
    assert calls(crowded, "scan") > scans


@pytest.mark.parametrize("right", ["client|tracking", "client|trackinginfo", "client|id", "sub"])
def test_where_the_server_refuses_each_pass_scans_and_says_so(
    crowded: Store, right: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    less = ["resetchannels"] if right == "sub" else ["&*", f"-{right}"]
    crowded.run("ACL", "SETUSER", "less", "reset", "on", "nopass", "~*", "+@all", *less)
    access = Access(username="less", password=lambda: "any")
    loop = AllocationLoop(Store(crowded.url, Keys(), access=access), Allocation(name="less"))
    put(crowded, "OLD")
    loop.open()
    for _ in range(SPREAD):
        assert seen(loop) == ["OLD"]
    assert len(messages(caplog, "each pass looks for them by SCAN")) == 1
    assert metric(loop, "p29_shadow_discovery_by_scan") == 1
    (record,) = running(crowded, "allocation")
    assert "permission" in record.scans_because.lower() or "NOPERM" in record.scans_because
    put(crowded, "NEW")
    assert "NEW" in {name for _ in range(SPREAD) for name in seen(loop)}
    crowded.run("ACL", "SETUSER", "less", "+@all", "&*")
    loop._symbols.tracking._retry_at = 0.0
    for _ in range(SPREAD + 1):
        loop.step()
    assert messages(caplog, "reports new targets again")
    assert metric(loop, "p29_shadow_discovery_by_scan") == 0
    loop.close()
    crowded.run("ACL", "DELUSER", "less")


def test_a_pass_costs_the_same_beside_very_many_keys_of_others(
    crowded: Store, redis_url: str, loop: AllocationLoop
) -> None:
    """Counted, not timed: commands and bytes of a pass on both servers."""
    alone = Store(redis_url, Keys())
    put(alone, "OLD")
    beside = allocation(alone)
    beside.open()
    beside.step()

    def cost(store: Store, service: AllocationLoop) -> int:
        before = _commands(store)
        service.step()
        return _commands(store) - before

    assert cost(crowded, loop) == pytest.approx(cost(alone, beside), abs=3)
    beside.close()
    alone.close()


def _commands(store: Store) -> int:
    stats: bytes = store.run("INFO", "stats")
    return int(stats.partition(b"total_commands_processed:")[2].split()[0])


def test_symbols_let_their_connections_go(store: Store) -> None:
    looking = Store(store.url, Keys())
    symbols = Symbols(looking)
    symbols.look()
    assert CHANNEL.encode() in store.run("PUBSUB", "CHANNELS")
    symbols.forget()
    until(lambda: CHANNEL.encode() not in store.run("PUBSUB", "CHANNELS"), what="its end")
    looking.close()
