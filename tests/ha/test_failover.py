"""The primary dies, or is replaced, in the middle of traffic: both loops go on in their process."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from functools import partial

import pytest
import redis

from qtctl.errors import QtctlError, RedisUnreachable
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION, PERMIT, PROPOSED
from qtctl.wire.schema.records import pairs
from tests.ha.services import serving, targets
from tests.support import plans
from tests.support.nodes import DOWN_MS, SERVICE, Node, Nodes, cluster, sentinels
from tests.support.processes import until
from tests.support.timing import least

Report = Callable[[str, object], None]


class Publisher:
    """Upstream: an open of a symbol of its own every 20 ms, tried until it is on the stream, and
    whatever becomes of the plans, by the events."""

    def __init__(self, nodes: Nodes) -> None:
        self._store = Store(nodes.url, nodes.keys, timeout_sec=1.0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent: list[str] = []
        self.permitted: Counter[str] = Counter()
        self.blocked: dict[str, str] = {}
        self.last_permit = 0.0
        self._after = "0-0"

    def __enter__(self) -> "Publisher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._store.close()

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(0.02):
            with suppress(QtctlError):
                plan_id, symbol = f"p{number}", f"S{number}USDT"
                send(self._store, plan_id=plan_id, symbol=symbol)
                self.sent.append(plan_id)
                number += 1
                self._look()

    def _look(self) -> None:
        events = self._store.keys.events
        for entry_id, raw in self._store.run("XRANGE", events, f"({self._after}", "+"):
            self._after = entry_id.decode()
            event = pairs(raw)
            if event["event"] == "permitted":
                self.permitted[event["plan_id"]] += 1
                self.last_permit = time.monotonic()
            elif event["event"] == "blocked":
                self.blocked[event["plan_id"]] = event["reason"]


def send(store: Store, entry_id: str = "*", **changes: str | None) -> str:
    flat = [part for pair in plans.fields(**changes).items() for part in pair]
    return str(store.run("XADD", store.keys.plans, entry_id, *flat).decode())


@pytest.mark.parametrize("make", [sentinels, cluster])
def test_the_primary_is_killed_in_the_middle_of_traffic(
    make: Callable[[], AbstractContextManager[Nodes]], record_property: Report
) -> None:
    with make() as nodes, serving(nodes) as services, Publisher(nodes) as upstream:
        until(lambda: len(upstream.permitted) > 20, what="permits")
        old, begun = nodes.primary(), time.monotonic()
        old.kill()
        until(lambda: upstream.last_permit > begun + DOWN_MS / 1000, what="permits again")
        governed = upstream.last_permit - begun
        store = Store(nodes.url, nodes.keys)
        targets(store)
        key = nodes.keys.at(PROPOSED, "BTCUSDT")
        until(
            lambda: float(store.run("HGET", key, "ts_epoch") or 0) > time.time() - 2,
            what="a proposal by the clock",
        )
        proposed = time.monotonic() - begun
        until(lambda: len(upstream.permitted) > 200, what="many permits")
        assert services.code is None
        assert nodes.primary() is not old
        assert max(upstream.permitted.values()) == 1
        until(lambda: services.stderr.count("Redis is back") >= 2, what=str(services))
        assert "Traceback" not in services.stderr
        record_property("recovery", f"{nodes.kind}: permits {governed:.1f} s, proposals "
                        f"{proposed:.1f} s after the primary was killed")  # fmt: skip
        # It comes back as a replica, and nothing is disturbed by it.
        old.start()
        so_far = len(upstream.permitted)
        until(lambda: len(upstream.permitted) > so_far + 20, what="permits")
        store.close()


def test_an_isolated_primary_is_left_although_it_answers(record_property: Report) -> None:
    """Sentinel has made another one; nobody told the old one, which takes every write."""
    with sentinels() as nodes, serving(nodes) as services:
        store, old = Store(nodes.url, nodes.keys), nodes.primary()
        send(store, plan_id="before")
        until(lambda: store.run("EXISTS", nodes.keys.at(PERMIT, "before")))
        # A server that forgets who is a replica of whom: as it is behind a partition.
        new = next(each for each in nodes.servers if each is not old)
        until(lambda: _offset(new) == _offset(old), what="the replica to have caught up")
        new.run("REPLICAOF", "NO", "ONE")
        for sentinel in nodes.asked:
            sentinel.run("SENTINEL", "REMOVE", SERVICE)
            sentinel.run("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", str(new.port), "2")
        begun = time.monotonic()
        until(lambda: services.stderr.count("Redis is back") == 2, what=str(services))
        record_property("recovery", f"sentinel: {time.monotonic() - begun:.1f} s until both loops "
                        "left a primary that answers for the one that is named")  # fmt: skip
        store.close()
        send(store, plan_id="after", symbol="ETHUSDT")
        until(lambda: new.run("EXISTS", nodes.keys.at(PERMIT, "after")), what="a permit there")
        assert old.run("ROLE")[0] == b"master"
        until(lambda: "is not the primary any more" in services.stderr, what=str(services))
        store.close()


def test_a_sentinel_that_is_behind_is_not_believed() -> None:
    """It names a primary that was replaced, and that still takes itself for one."""
    with sentinels(replicas=1) as nodes:
        old, stale = nodes.primary(), nodes.asked[0]
        new = next(each for each in nodes.servers if each is not old)
        nodes.asked[1].run("SENTINEL", "FAILOVER", SERVICE)
        until(lambda: all(_names(each) == new.port for each in nodes.asked), what="the failover")
        store = Store(nodes.url, nodes.keys)
        assert store.server_url().endswith(f":{new.port}/0")
        store.close()
        nodes.asked[2].signal(signal.SIGSTOP)
        waited = least(partial(_nine_times_confirmed, nodes), 1.0)
        assert 0.4 < waited < 1.0, "one that is silent is waited for once"
        nodes.asked[2].signal(signal.SIGCONT)
        stale.run("SENTINEL", "REMOVE", SERVICE)
        stale.run("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", str(old.port), "2")
        old.run("REPLICAOF", "NO", "ONE")
        store = Store(nodes.url, nodes.keys)
        assert nodes.url.partition("://")[2].startswith(f"127.0.0.1:{stale.port},")
        assert store.server_url().endswith(f":{new.port}/0")
        for _ in nodes.asked:
            store.confirm()  # Each of them is asked in its turn.
        assert (_names(stale), old.run("ROLE")[0]) == (old.port, b"master"), "it was so all along"
        store.close()


def _nine_times_confirmed(nodes: Nodes) -> float:
    """Each of the three sentinels is asked three times; in seconds."""
    with closing(Store(nodes.url, nodes.keys)) as store:
        store.run("PING")
        begun = time.monotonic()
        for _ in range(9):
            store.confirm()
        return time.monotonic() - begun


def _names(sentinel: Node) -> int:
    return int(sentinel.run("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])


def _is_primary(node: Node) -> bool:
    with suppress(redis.RedisError):  # As it is promoted, it drops its clients.
        return bool(node.run("ROLE")[0] == b"master")
    return False


def _offset(node: Node) -> int:
    found = node.run("INFO", "replication").decode()
    lines = dict(line.split(":", 1) for line in found.split() if ":" in line)
    return int(lines["master_repl_offset"])


def test_the_slot_is_moved_to_another_primary_in_the_middle_of_traffic(
    record_property: Report,
) -> None:
    with cluster(replicas=0) as nodes, serving(nodes) as services, Publisher(nodes) as upstream:
        until(lambda: len(upstream.permitted) > 20, what="permits")
        old = nodes.primary()
        new = next(each for each in nodes.servers if each is not old)
        begun = time.monotonic()
        _move_slot(nodes, old, new)
        moved = time.monotonic()
        until(lambda: upstream.last_permit > moved, what="permits again")
        record_property("recovery", f"cluster: a slot moved in {moved - begun:.1f} s, permits "
                        f"{upstream.last_permit - moved:.1f} s after")  # fmt: skip
        assert nodes.primary() is new
        until(lambda: len(upstream.permitted) > 200, what="many permits")
        assert services.code is None
        assert max(upstream.permitted.values()) == 1
        assert set(upstream.blocked.values()) <= {"failover_quarantine", "stale_plan"}


def _move_slot(nodes: Nodes, old: Node, new: Node) -> None:
    slot = str(old.run("CLUSTER", "KEYSLOT", nodes.prefix))
    to, origin = new.run("CLUSTER", "MYID"), old.run("CLUSTER", "MYID")
    new.run("CLUSTER", "SETSLOT", slot, "IMPORTING", origin)
    old.run("CLUSTER", "SETSLOT", slot, "MIGRATING", to)
    while keys := old.run("CLUSTER", "GETKEYSINSLOT", slot, "100"):
        old.run("MIGRATE", "127.0.0.1", str(new.port), "", "0", "5000", "KEYS", *keys)
    for each in (new, old, *nodes.servers):
        each.run("CLUSTER", "SETSLOT", slot, "NODE", to)


# The decisions are lost -------------------------------------------------------------------------


def test_no_open_gets_a_second_permit_where_the_decisions_were_not_replicated() -> None:
    """The replica has the plans and not what became of them; it takes over."""
    with sentinels(replicas=1) as nodes, serving(nodes, "governor") as governor:
        store, old = Store(nodes.url, nodes.keys), nodes.primary()
        replica = next(each for each in nodes.servers if each is not old)
        until(lambda: store.run("EXISTS", nodes.keys.at(DECISION, "x")) or _grouped(store))
        governor.signal(signal.SIGSTOP)
        send(store, plan_id="open")
        send(store, plan_id="close", action="FULL_CLOSE_PROPOSED")
        until(lambda: _offset(replica) == _offset(old), what="the plans on the replica")
        replica.run("REPLICAOF", "127.0.0.1", "1")  # Cut off: what is decided now is not there.
        governor.signal(signal.SIGCONT)
        for plan_id in ("open", "close"):
            until(partial(old.run, "EXISTS", nodes.keys.at(PERMIT, plan_id)), what=plan_id)
        old.kill()
        _never_again(nodes, governor, store)


def test_no_open_gets_a_second_permit_after_a_failover_to_an_empty_replica() -> None:
    """The replica has nothing at all; upstream replays its plans under their ids."""
    with sentinels(replicas=1) as nodes, serving(nodes, "governor") as governor:
        store, old = Store(nodes.url, nodes.keys), nodes.primary()
        replica = next(each for each in nodes.servers if each is not old)
        ids = _permitted(store, nodes)
        old.signal(signal.SIGSTOP)
        replica.run("REPLICAOF", "NO", "ONE")
        replica.run("FLUSHALL")
        replica.run("REPLICAOF", "127.0.0.1", str(old.port))
        old.kill()
        until(lambda: _is_primary(replica), what="the failover")
        _replay(replica, nodes, ids)
        _never_again(nodes, governor, store)


def test_no_open_gets_a_second_permit_after_a_restart_without_persistence() -> None:
    """Nobody took over: the server itself came back, and knows nothing."""
    with sentinels(replicas=0) as nodes, serving(nodes, "governor") as governor:
        store, server = Store(nodes.url, nodes.keys), nodes.primary()
        ids = _permitted(store, nodes)
        server.forget()
        time.sleep(1.1)  # INFO tells a start to the second, and so it is judged.
        server.start()
        _replay(server, nodes, ids)
        _never_again(nodes, governor, store)


def _grouped(store: Store) -> bool:
    with suppress(QtctlError):
        return bool(store.run("XINFO", "GROUPS", store.keys.plans))
    return False


def _permitted(store: Store, nodes: Nodes) -> dict[str, str]:
    ids = {
        "open": send(store, plan_id="open"),
        "close": send(store, plan_id="close", action="FULL_CLOSE_PROPOSED"),
    }
    for plan_id in ids:
        key = nodes.keys.at(PERMIT, plan_id)
        until(partial(store.run, "EXISTS", key), what=f"the permit of {plan_id}")
    return ids


def _replay(server: Node, nodes: Nodes, ids: dict[str, str]) -> None:
    actions = {"open": "OPEN_PROPOSED", "close": "FULL_CLOSE_PROPOSED"}
    for plan_id, entry_id in ids.items():
        flat = [p for pair in plans.fields(plan_id=plan_id, action=actions[plan_id]).items()
                for p in pair]  # fmt: skip
        server.run("XADD", nodes.keys.plans, entry_id, *flat)


def _never_again(nodes: Nodes, governor: object, store: Store) -> None:
    """The open is blocked, the close goes, and a new open is permitted."""

    def decision(plan_id: str) -> dict[str, str]:
        with suppress(RedisUnreachable):
            return plans.decision(store, plan_id)
        return {}

    found = until(lambda: decision("open"), what=f"a decision again\n{governor}")
    assert (found["verdict"], found["reason"]) == ("blocked", "failover_quarantine"), found
    assert store.run("EXISTS", nodes.keys.at(PERMIT, "open")) == 0
    until(lambda: decision("close").get("verdict") == "permitted", what="the close")
    send(store, plan_id="new", symbol="NEWUSDT")
    until(lambda: decision("new").get("verdict") == "permitted", what="a new open")
    store.close()
