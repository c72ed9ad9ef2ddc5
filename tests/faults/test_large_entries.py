"""A stream of entries of many megabytes: what the governor holds in memory, and a close behind."""

import socket
import time
from pathlib import Path

import hiredis
import pytest

from qtctl.wire.client.store import Store
from qtctl.wire.governor.plan_queue import FIRST_PAGE, PlanQueue
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.private_server.folder import SOCKET
from qtctl.wire.schema.keys import GROUP
from tests.faults.test_slow_links import close, governed, permitted, serving
from tests.services.helpers import send
from tests.support.plans import fields
from tests.support.processes import until

ENTRIES, BYTES = 60, 8_000_000
MOST_MB = 200
TIMES, WORK_SEC = 3.0, 1.0
"""Of what a reader needs that does nothing else; and what a busy machine may need beside it."""


def most_mb(pid: int) -> float:
    """The most memory that a process ever had."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    (row,) = (row for row in rows if row.startswith("VmHWM"))
    return int(row.split()[1]) / 1024


def bare_read_sec(path: Path, store: Store) -> float:
    """How long a reader takes that only reads the same entries, one by one."""
    store.run("XGROUP", "CREATE", store.keys.plans, "bare", "0")
    read = b"XREADGROUP GROUP bare c COUNT 1 STREAMS %b >\r\n" % store.keys.plans.encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        begun = time.monotonic()
        reply: object = False
        while reply is not None:
            connection.sendall(read)
            reader = hiredis.Reader()
            while (reply := reader.gets()) is False:
                reader.feed(connection.recv(65_536))
        return time.monotonic() - begun


@pytest.mark.parametrize("held", [False, True], ids=["new", "held before"])
@pytest.mark.parametrize("kind", ["open", "close"])
def test_large_entries_fill_no_memory_and_a_close_behind_them_is_served(
    server: Embedded, store: Store, kind: str, held: bool
) -> None:
    plan = (fields() if kind == "open" else close("")) | {"note": "x" * BYTES}
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    for number in range(ENTRIES):
        send(store, plan | {"plan_id": f"large-{number}"})
    if held:
        read = ("XREADGROUP", "GROUP", GROUP, "g1", "COUNT", 1, "STREAMS", store.keys.plans, ">")
        while store.run(*read):
            pass
    send(store, close("behind"))
    begun = time.monotonic()
    with governed(server.url) as child:
        until(lambda: serving(store), 10)
        permitted(store, "behind")
        waited = time.monotonic() - begun
        until(lambda: store.run("XPENDING", store.keys.plans, GROUP)[0] == 0, 20)
        most = most_mb(child.pid)
    assert most <= MOST_MB
    assert waited <= TIMES * bare_read_sec(server.directory / SOCKET, store) + WORK_SEC


def test_reads_begin_small_and_grow_while_entries_are_small(store: Store) -> None:
    """One batch of small entries takes three reads; of large ones comes what fits."""
    queue = PlanQueue(store, store, "me")
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    for number in range(100):
        send(store, fields(plan_id=f"small-{number}"))
    for number in range(10):
        send(store, fields(plan_id=f"large-{number}", note="x" * BYTES))
    assert len(queue.new(100)) == 100
    sizes = [len(queue.new(100)) for _ in range(5)]
    assert max(sizes) <= FIRST_PAGE
    assert min(sizes) >= 1
