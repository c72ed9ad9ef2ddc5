"""What the breaking tests break: a stretch of work for each loop, and what it must come to.

A scene is put on an empty server. What is there at the end (`outcome`) leaves out what depends on
when and how often something was tried, so that an interrupted run can be compared with one that
went through.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from qtctl import clock
from qtctl.errors import RedisUnreachable
from qtctl.services import intake
from qtctl.services.allocation import AllocationLoop
from qtctl.services.base import Service
from qtctl.services.governor import Governor
from qtctl.settings import Allocation
from qtctl.settings import Governor as GovernorSettings
from qtctl.supervisor import loop as loop_module
from qtctl.supervisor.loop import Loop
from qtctl.supervisor.progress import Progress
from qtctl.wire.allocation import proposals
from qtctl.wire.client.store import Store
from qtctl.wire.control.permits import take_permit
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.schema.keys import (
    BLOCK,
    DECISION,
    EFFICIENCY,
    GROUP,
    LAST_CLOSE,
    LEDGER,
    LIMITS,
    PERMIT,
    PROPOSED,
    SERVICE,
    TARGET,
    TRIES,
    Keys,
)
from qtctl.wire.schema.records import pairs, text
from tests.support.plans import fields

OWN, DEAD = "g1", "dead"
MORTAL = (PERMIT, DECISION, LIMITS, BLOCK, LEDGER, LAST_CLOSE, PROPOSED, TRIES, SERVICE)
"""Keys that must never be without a lifetime."""
WHEN = ("decided_at", "plan_age_sec", "queue_age_sec", "last_open_at", "last_open_age_sec",
        "last_close_age_sec", "eff_age_sec", "deliveries", "attempts", "entry_id",
        "withdrawn_at", "opens_total_5min")  # fmt: skip
"""Facts of a decision that depend on when it fell and how many tries it took, and on what came
before it: of what comes again and what is new, nobody promises which is first."""
UNTAKEN = "w"
"""Permits of plans that begin so are left lying, for a contradiction to take back."""
MOST_PASSES = 400


@pytest.fixture
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that are long for operators are short here; what happens is the same."""
    monkeypatch.setattr(intake, "BLOCK_SEC", 0.004)
    monkeypatch.setattr(intake, "RETRY_SEC", 0.02)
    monkeypatch.setattr(loop_module, "FIRST_RETRY_SEC", 0.001)
    monkeypatch.setattr(loop_module, "MOST_REDIS_SEC", 0.01)
    # Several MULTIs in a pass of a few symbols.
    monkeypatch.setattr(proposals, "SYMBOLS_PER_MULTI", 2)


# The governor's scenes --------------------------------------------------------------------------


def plan(plan_id: str, symbol: str = "BTCUSDT", **more: Any) -> dict[str, str]:
    return fields(plan_id=plan_id, symbol=symbol, **more)


CLOSE = {"action": "FULL_CLOSE_PROPOSED", "reduceOnly": "true"}
NEW = (
    plan("n1"),
    plan("n2"),  # in the cooldown of n1
    plan("n3", **CLOSE),
    plan("n4", decision="SKIP"),
    plan("n5", qty="many"),  # unreadable
    plan("n6", "SOLUSDT", kill_score="0.9"),
    plan("n1"),  # again
    plan("n3", "XRPUSDT", **CLOSE),  # contradicts n3
    plan("w1", "ETHUSDT", qty="0.01", price="2000"),  # downsized
    plan("w1", "ETHUSDT", decision="HALT"),  # takes the permit of w1 back
    plan("n7", "ADAUSDT", timestamp="1000"),  # stale
    plan("n6", "SOLUSDT"),  # judged again, and permitted
)


def first_start(store: Store) -> None:
    """No group yet, plans waiting; some lie too far back for the group to see."""
    _old(store, 2)
    send(store, NEW)


def returning(store: Store) -> None:
    """It was here before and left entries unfinished; another consumer died with some; new ones."""
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    _old(store, 1)
    send(store, [plan("o1", "O1USDT"), plan("o2", symbol=""), plan("o3", **CLOSE)], OWN)
    ids = send(
        store, [plan("a1", "A1USDT"), plan("a2", kill_score="2"), plan("a1", "A1USDT")], DEAD
    )
    store.run("XCLAIM", store.keys.plans, GROUP, DEAD, 0, *ids, "IDLE", 60_000, "JUSTID")
    send(store, NEW[:6])


def backlog(store: Store) -> None:
    """The group stood still for hours: old entries, never delivered, then new ones."""
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    _old(store, 3)
    send(store, NEW[:3])


SCENES: dict[str, Callable[[Store], None]] = {
    "first_start": first_start,
    "returning": returning,
    "backlog": backlog,
}


def _old(store: Store, count: int) -> None:
    at = store.now_ms() - 2 * 3_600_000
    for number in range(count):
        store.run("XADD", store.keys.plans, f"{at}-{number}", *_flat(plan(f"old{number}")))


def send(store: Store, entries: Any, to: str = "") -> list[str]:
    """Queues entries, and delivers all that is there to a consumer where one is named."""
    added = store.batch([("XADD", store.keys.plans, "*", *_flat(entry)) for entry in entries])
    if to:
        store.run("XREADGROUP", "GROUP", GROUP, to, "STREAMS", store.keys.plans, ">")
    return [text(id_) for id_ in added]


def _flat(entry: dict[str, str]) -> list[str]:
    return [part for pair in entry.items() for part in pair]


def scores(store: Store) -> None:
    """One that downsizes, one that does not, one that is no score."""
    at = store.now_ms() // 1000
    for symbol, score in (("ETHUSDT", "0.2"), ("BTCUSDT", "0.9"), ("ADAUSDT", "nan")):
        key = store.keys.at(EFFICIENCY, symbol)
        store.run("HSET", key, "efficiency_score", score, "confidence", "0.9", "ts", at)


def targets(store: Store) -> None:
    """The allocation loop's scene: good, unreadable and of a wrong type."""
    scores(store)
    for symbol, usd in (("BTCUSDT", "1000"), ("ETHUSDT", "12.5"), ("XRPUSDT", "7"),
                        ("BADUSDT", "much"), ("ADAUSDT", "3"), ("SOLUSDT", "1e3")):  # fmt: skip
        store.run("HSET", store.keys.at(TARGET, symbol), "target_usd", usd, "mode", "live")
    store.run("SET", store.keys.at(TARGET, "TXTUSDT"), "a string")
    store.run("SET", store.keys.at(EFFICIENCY, "SOLUSDT"), "a string")


# The services -----------------------------------------------------------------------------------


def governor(url: str, timeout_sec: float = 2.0, name: str = OWN) -> Governor:
    store = Store(url, Keys(), timeout_sec=timeout_sec)
    return Governor(store, GovernorSettings(name=name), allow_eviction=False)


def allocation(url: str, timeout_sec: float = 2.0) -> AllocationLoop:
    store = Store(url, Keys(), timeout_sec=timeout_sec)
    return AllocationLoop(store, Allocation(name="a1", interval_sec=0.01))


def host(service: Service, done: Callable[[], bool], times: int = 2) -> list[str]:
    """Runs it under the supervisor's own loop until `done` holds after so many passes in a row;
    what failed."""
    stop, wait, count = threading.Event(), service.wait, service.failed
    failed: list[str] = []
    held = passes = 0

    def waiting(event: threading.Event) -> None:
        nonlocal held, passes
        passes += 1
        assert passes < MOST_PASSES, "it goes on and on"
        held = held + 1 if done() else 0
        if held == times:
            event.set()
        elif not held:
            wait(event)

    def failing(kind: str) -> None:
        failed.append(kind)
        if len(failed) > MOST_PASSES or kind == "exception":
            stop.set()
        count(kind)

    service.wait = waiting  # type: ignore
    service.failed = failing  # type: ignore[method-assign]
    Loop(service, Progress(60.0, clock.monotonic()), stop).run()
    assert held == times, f"ended by {failed[-3:]}"
    return failed


def settled(store: Store) -> bool:
    """Has the group read and acknowledged all there is?"""
    state = group_state(store)
    if state is None or state.pending:
        return False
    newest = store.run("XREVRANGE", store.keys.plans, "+", "-", "COUNT", 1)
    return not newest or state.last_id == text(newest[0][0])


def one_try(service: Service) -> None:
    """Opened, one pass, and closed whatever comes."""
    try:
        service.open()
        service.step()
    except RedisUnreachable:
        pass
    finally:
        service.close()


# What it came to --------------------------------------------------------------------------------


class Taker:
    """A consumer that takes permits as they come. `issued`: how many each plan got in all."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.taken: Counter[str] = Counter()
        self.permits: dict[str, dict[str, Any]] = {}

    def take(self) -> None:
        head = self._store.keys.prefix + PERMIT.head
        for key in set(self._store.scan_keys(self._store.keys.pattern(PERMIT))):
            plan_id = key[len(head) :]
            if not plan_id.startswith(UNTAKEN):
                self._take(plan_id)

    def _take(self, plan_id: str) -> None:
        found = take_permit(self._store, plan_id)
        if found is not None:
            self.taken[plan_id] += 1
            found.pop("created_at")
            self.permits[plan_id] = found


def outcome(store: Store, taker: Taker) -> dict[str, Any]:
    """All that the governor left behind, but for times and counts of tries."""
    taker.take()
    left = sorted(store.scan(PERMIT))
    labels = _labels(store)
    return {
        "decisions": {id_: _timeless(store, id_, labels) for id_ in store.scan(DECISION)},
        "permits": taker.permits,
        "untaken": left,
        "ledgers": {key: _members(store, key) for key in _ledgers(store)},
        "blocks": {id_: _block(store, id_) for id_ in store.scan(BLOCK)},
        "rejected": {labels[row["entry_id"]] for row in _rows(store, store.keys.rejected)},
        "events": Counter(
            (row["event"], row["plan_id"], row["reason"])
            for row in _rows(store, store.keys.events)
            if row["event"] != "backlog_skipped"
        ),
        "settled": settled(store),
    }


def _labels(store: Store) -> dict[str, str]:
    """Entry id to its place in the stream."""
    entries = store.run("XRANGE", store.keys.plans, "-", "+")
    return {text(id_): f"entry {place}" for place, (id_, _) in enumerate(entries)}


def _timeless(store: Store, plan_id: str, labels: dict[str, str]) -> dict[str, str]:
    record = pairs(store.run("HGETALL", store.keys.at(DECISION, plan_id)))
    kept = {name: value for name, value in record.items() if name not in WHEN}
    withdrawn = {"withdrawn": "yes"} if "withdrawn_at" in record else {}
    return kept | withdrawn | {"entry": labels[record["entry_id"]]}


def _block(store: Store, plan_id: str) -> str:
    raw = text(store.run("GET", store.keys.at(BLOCK, plan_id)))
    return raw.partition(',"timestamp":')[0] + raw[raw.index(',"symbol"') :]


def _ledgers(store: Store) -> list[str]:
    named = [store.keys.at(LEDGER, symbol) for symbol in store.scan(LEDGER)]
    return [*named, store.keys.ledger_total]


def _members(store: Store, key: str) -> list[str]:
    return sorted(text(member) for member in store.run("ZRANGE", key, 0, -1))


def _rows(store: Store, stream: str) -> list[dict[str, str]]:
    return [pairs(raw) for _, raw in store.run("XRANGE", stream, "-", "+")]


def assert_promises(store: Store, taker: Taker) -> None:
    """What must hold after any interruption whatever, whether or not anything can be compared."""
    permitted = Counter(
        row["plan_id"] for row in _rows(store, store.keys.events) if row["event"] == "permitted"
    )
    assert max(permitted.values(), default=0) <= 1, f"permitted twice: {permitted}"
    assert max(taker.taken.values(), default=0) <= 1, f"taken twice: {taker.taken}"
    assert set(taker.taken) <= set(permitted), "a permit that no event tells of"
    opens: Counter[str] = Counter()
    for id_ in store.scan(DECISION):
        record = pairs(store.run("HGETALL", store.keys.at(DECISION, id_)))
        if (record["verdict"], record["kind"]) == ("permitted", "open"):
            opens[record["symbol"]] += 1
        assert (record["verdict"] == "permitted") == (id_ in permitted)
    for symbol in store.scan(LEDGER):
        assert store.run("ZCARD", store.keys.at(LEDGER, symbol)) == opens[symbol]
    assert store.run("ZCARD", store.keys.ledger_total) == opens.total()
    assert settled(store), "something stays pending"
    assert without_lifetime(store) == []


def without_lifetime(store: Store) -> list[str]:
    """Keys that would stay for ever and should not."""
    keys = [key for key in set(store.scan_keys("*")) if _mortal(store, key)]
    ttls = store.batch([("TTL", key) for key in keys])
    return [key for key, ttl in zip(keys, ttls, strict=True) if ttl < 0]


def _mortal(store: Store, key: str) -> bool:
    if key == store.keys.ledger_total:
        return True
    return any(key.startswith(store.keys.prefix + spec.head) for spec in MORTAL)


def proposed(store: Store) -> dict[str, Any]:
    """What the allocation loop left behind, but for times and the number of passes."""
    rows = _rows(store, store.keys.proposed_stream)
    latest = {}
    for symbol in store.scan(PROPOSED):
        key = store.keys.at(PROPOSED, symbol)
        latest[symbol] = _without(pairs(store.run("HGETALL", key)), "ts_epoch")
        assert 570 <= store.run("TTL", key) <= 600, key
    told = {row["symbol"]: _without(row, "ts_epoch") for row in rows}
    assert all(_without(row, "ts_epoch") == told[row["symbol"]] for row in rows)
    return {"latest": latest, "told": told}


def _without(record: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in record.items() if key != name}


def live(store: Store) -> dict[str, bytes]:
    """Every live target, byte for byte."""
    head = store.keys.prefix + TARGET.head
    keys = {key for key in store.scan_keys(head + "*") if "proposed" not in key}
    return {key: store.run("DUMP", key) for key in sorted(keys)}


@contextmanager
def on_empty(store: Store) -> Iterator[Taker]:
    """A server with nothing on it, not even a script; its blocking reads end in time."""
    store.batch([("FLUSHALL",), ("SCRIPT", "FLUSH"), ("CONFIG", "SET", "hz", "500")])
    yield Taker(store)
    store.run("CONFIG", "SET", "hz", "10")
