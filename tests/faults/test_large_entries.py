"""A stream of entries of many megabytes: what the governor holds in memory, and a close behind."""

import signal
import socket
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import hiredis
import pytest

from qtctl.domain.entry_ids import ms_of
from qtctl.wire.client.store import Store
from qtctl.wire.governor.paging import FIRST_PAGE, READ_BYTES
from qtctl.wire.governor.plan_queue import PlanQueue
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.private_server.folder import SOCKET
from qtctl.wire.schema.keys import DECISION, GROUP
from qtctl.wire.schema.records import pairs
from tests.faults.test_slow_links import close, governed, permitted, serving
from tests.services.helpers import send
from tests.support.plans import fields
from tests.support.processes import until
from tests.support.timing import least

ENTRIES, BYTES = 40, 8_000_000
MOST_MB = 200
TIMES, WORK_SEC = 2.0, 0.2
"""Of what a reader needs that does nothing else; and what a busy machine may need beside it."""


def most_mb(pid: int) -> float:
    """The most memory that a process ever had."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    (row,) = (row for row in rows if row.startswith("VmHWM"))
    return int(row.split()[1]) / 1024


def bare_read_sec(path: Path, store: Store) -> float:
    """How long a reader takes that only reads the same entries, as many at once as the governor,
    parses and acknowledges them."""
    plans = store.keys.plans
    store.run("XGROUP", "CREATE", plans, "bare", "0")
    count = READ_BYTES // (BYTES + 1_000)
    read = ("XREADGROUP", "GROUP", "bare", "c", "COUNT", count, "STREAMS", plans, ">")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        begun = time.monotonic()
        while found := _asked(connection, read):
            _asked(connection, ("XACK", plans, "bare", *(entry[0] for entry in found[0][1])))
        took = time.monotonic() - begun
    store.run("XGROUP", "DESTROY", plans, "bare")
    return took


def _asked(connection: socket.socket, command: tuple[object, ...]) -> Any:
    connection.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]
    reader = hiredis.Reader()
    while (reply := reader.gets()) is False:
        reader.feed(connection.recv(65_536))
    return reply


def first_verdict(store: Store) -> float:
    """When the first of the large entries had one, epoch seconds by the server's clock."""
    rejected = store.run("XRANGE", store.keys.rejected, "-", "+", "COUNT", 1)
    if rejected:
        return ms_of(rejected[0][0]) / 1000
    decision = pairs(store.run("HGETALL", store.keys.at(DECISION, "large-0")))
    return float(decision["decided_at"])


def none_pending(store: Store) -> bool:
    return bool(store.run("XPENDING", store.keys.plans, GROUP)[0] == 0)


def hold_all(store: Store) -> None:
    """All that is there was delivered to the governor before, and is pending."""
    read = ("XREADGROUP", "GROUP", GROUP, "g1", "COUNT", 1, "STREAMS", store.keys.plans, ">")
    while store.run(*read):
        pass


def permits_by_plan(store: Store) -> Counter[str]:
    """How many permits each plan_id had, by the events."""
    rows = (pairs(raw) for _, raw in store.run("XRANGE", store.keys.events, "-", "+"))
    return Counter(row["plan_id"] for row in rows if row["event"] == "permitted")


@pytest.mark.parametrize("held", [False, True], ids=["new", "held before"])
@pytest.mark.parametrize("kind", ["open", "close"])
def test_large_entries_fill_no_memory_and_a_close_behind_them_is_served(
    server: Embedded, store: Store, kind: str, held: bool
) -> None:
    assert least(partial(_too_long, server, store, kind, held), 0.0) <= 0.0


def _too_long(server: Embedded, store: Store, kind: str, held: bool) -> float:
    """How much longer than granted the close behind them waited, seconds."""
    store.run("FLUSHALL")
    plan = (fields() if kind == "open" else close("")) | {"note": "x" * BYTES}
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    for number in range(ENTRIES):
        send(store, plan | {"plan_id": f"large-{number}"})
    if held:
        hold_all(store)
    send(store, close("behind"))
    bare = bare_read_sec(server.directory / SOCKET, store)
    with governed(server.url) as child:
        waited = permitted(store, "behind") - first_verdict(store)
        until(lambda: none_pending(store))
        most = most_mb(child.pid)
    assert most <= MOST_MB
    bare = max(bare, bare_read_sec(server.directory / SOCKET, store))
    return waited - TIMES * bare - WORK_SEC


SMALL, LARGE = 90, 20


@pytest.mark.parametrize("held", [False, True], ids=["new", "held before"])
def test_large_entries_behind_small_ones_in_one_read_fill_no_memory(
    server: Embedded, store: Store, held: bool
) -> None:
    """Such a read is cut off; all of its entries are served all the same, and each of them once."""
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    names = [f"small-{number}" for number in range(SMALL)]
    for name in names:
        send(store, close(name))
    for number in range(LARGE):
        send(store, close(f"large-{number}") | {"note": "x" * BYTES})
        names.append(f"large-{number}")
    if held:
        hold_all(store)
    send(store, close("behind"))
    with governed(server.url) as child:
        permitted(store, "behind")
        until(lambda: none_pending(store))
        child.wait_for_line("a read of plans was cut off")
        assert most_mb(child.pid) <= MOST_MB
    assert permits_by_plan(store) == Counter([*names, "behind"])


def test_one_entry_of_any_size_fills_no_memory(server: Embedded, store: Store) -> None:
    """Of a field that is too long the beginning is kept, of too many fields the first."""
    with governed(server.url) as child:
        until(lambda: serving(store))
        patient = Store(server.url, store.keys, timeout_sec=30)
        send(patient, close("long") | {"note": "x" * 160_000_000})
        many = {f"field-{number}": "x" for number in range(250_000)}
        send(patient, close("many") | many)
        patient.close()
        send(store, close("behind"))
        permitted(store, "behind")
        permitted(store, "long")
        assert most_mb(child.pid) <= MOST_MB
    ((_, rejected),) = store.run("XRANGE", store.keys.rejected, "-", "+")
    assert pairs(rejected[:8])["problem"] == "the entry has more fields than memory allows"


def test_a_server_that_drops_who_reads_too_much_is_asked_for_less(
    server: Embedded, store: Store
) -> None:
    limit = "client-output-buffer-limit"
    before = store.run("CONFIG", "GET", limit)[1]
    store.run("CONFIG", "SET", limit, "normal 20mb 0 0")
    try:
        with governed(server.url) as child:
            until(lambda: serving(store))
            child.signal(signal.SIGSTOP)
            for number in range(10):
                send(store, close(f"large-{number}") | {"note": "x" * BYTES})
            send(store, close("behind"))
            child.signal(signal.SIGCONT)
            permitted(store, "behind")
            until(lambda: none_pending(store))
    finally:
        store.run("CONFIG", "SET", limit, before)


def test_a_long_field_is_judged_as_it_is_and_its_rest_by_nobody(
    server: Embedded, store: Store
) -> None:
    """Cut in the middle a number would be another one."""
    long = "0" * 300_000 + "5"
    sent = {
        "a-qty": {"qty": long},
        "a-close": {"note": long, "price": long},
        "an-open": {"action": "ENTRY_PROPOSED", "reduceOnly": "false", "note": long},
        "a-word": {"decision": "EXECUTE" + long},
    }
    with governed(server.url):
        until(lambda: serving(store))
        for plan_id, more in sent.items():
            send(store, close(plan_id) | more | {"padding": "x" * 1_000_000})
        send(store, close("behind"))
        permitted(store, "behind")
    problems = [pairs(raw[:8])["problem"] for _, raw in store.run(
        "XRANGE", store.keys.rejected, "-", "+")]  # fmt: skip
    assert problems == [
        "qty '0000000000000000000000000000000000000000' is not a number",
        "note is longer than 65536 characters",
        "decision is longer than 65536 characters",
    ]
    assert permits_by_plan(store) == Counter(["a-close", "behind"])


def test_reads_begin_small_and_grow_while_entries_are_small(store: Store) -> None:
    """One batch of small entries takes three reads; of large ones comes what fits."""
    queue = PlanQueue(store, store, "me")
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    for number in range(100):
        send(store, fields(plan_id=f"small-{number}"))
    for number in range(10):
        send(store, fields(plan_id=f"large-{number}", note="x" * BYTES))
    assert len(queue.new(100)) == 100
    assert [len(queue.new(100)) for _ in range(5)] == [FIRST_PAGE, 2, 2, 2, 0]
    assert len(queue.large()) == 10
