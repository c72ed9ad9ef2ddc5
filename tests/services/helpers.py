"""Services on the real server, as the tests need them."""

import re
from typing import Any

from qtctl.services.allocation import AllocationLoop
from qtctl.services.governor import Governor
from qtctl.settings import Allocation
from qtctl.settings import Governor as GovernorSettings
from qtctl.wire.client.store import Store
from qtctl.wire.control.halt import HaltRequest
from qtctl.wire.schema.keys import EFFICIENCY, TARGET
from qtctl.wire.schema.records import text
from tests.support.plans import NAMES, decision, fields


def governor(
    store: Store, name: str = "g1", allow_eviction: bool = False, start_halted: bool = False,
    publish: bool = True, **more: Any,
) -> Governor:  # fmt: skip
    """A governor on a connection of its own; rates are off unless asked for."""
    quiet = {
        "symbol_cooldown_sec": 0.0,
        "reopen_cooldown_sec": 0.0,
        "max_exec_per_5min": 0,
        "max_exec_per_hour": 0,
    }
    settings = GovernorSettings(name=name, **(quiet | more))
    return Governor(
        Store(store.url, store.keys),
        settings,
        allow_eviction=allow_eviction,
        start_halted=start_halted,
        publish=publish,
    )


def allocation(store: Store, **more: Any) -> AllocationLoop:
    return AllocationLoop(Store(store.url, store.keys), Allocation(name="a1", **more))


def send(store: Store, entry: dict[str, Any], entry_id: str = "*") -> str:
    """Adds an entry to the plan stream, undelivered; its id."""
    flat = [part for pair in entry.items() for part in pair]
    return text(store.run("XADD", store.keys.plans, entry_id, *flat))


def serve_all(service: Governor) -> None:
    """One open governor up to the last entry that is there."""
    assert service.once(), "something stayed pending"


def decide(store: Store, gov: Governor, *plan_ids: str) -> None:
    """Has an open on each of these plans judged."""
    for plan_id in plan_ids:
        send(store, fields(plan_id=plan_id))
    serve_all(gov)


def target(store: Store, symbol: str, usd: object = "1000.0") -> None:
    key = store.keys.at(TARGET, symbol)
    store.run("HSET", key, "target_usd", usd, "timestamp", store.now_ms() // 1000)


def score(
    store: Store, symbol: str, value: object, confidence: object = "0.9", age: int = 0
) -> None:
    key = store.keys.at(EFFICIENCY, symbol)
    ts = store.now_ms() // 1000 - age
    store.run("HSET", key, "efficiency_score", value, "confidence", confidence, "ts", ts)


def metric(service: Any, name: str, **labels: str) -> float | None:
    """The value of one series, None where it is not there."""
    value: float | None = service.registry.get_sample_value(name, labels)
    return value


def messages(caplog: Any, part: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if re.search(part, r.getMessage())]


def order(symbol: str = "") -> HaltRequest:
    """Of an operator, for a halt or a resume."""
    return HaltRequest("operator:alice@desk", "drill", NAMES, 1000, symbol)


def kept(store: Store) -> str:
    """The halt that a governor has kept; empty where there is none."""
    return text(store.run("GET", store.keys.halt_kept) or b"")


def verdict(store: Store, service: Governor, plan_id: str, **more: str) -> str:
    """On a new plan."""
    send(store, fields(plan_id=plan_id, **more))
    serve_all(service)
    return decision(store, plan_id)["verdict"]
