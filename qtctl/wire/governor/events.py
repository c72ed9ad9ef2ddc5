"""Writes to the governor's event stream from Python; the atomic step writes its own events."""

import msgspec

from qtctl.wire.client.store import Store


class Event(msgspec.Struct, frozen=True):
    """One event. ts: epoch seconds; plan_id and symbol are empty where it concerns no single
    plan."""

    event: str
    reason: str
    ts: int
    actor: str
    plan_id: str = ""
    symbol: str = ""


def write(store: Store, event: Event, maxlen: int, count: int | None = None) -> None:
    """Adds one event; count: the number of plans that it stands for, where that is known."""
    fields = [
        "event", event.event, "plan_id", event.plan_id, "symbol", event.symbol,
        "reason", event.reason, "ts", str(event.ts), "actor", event.actor,
    ]  # fmt: skip
    if count is not None:
        fields += ["count", str(count)]
    store.run("XADD", store.keys.events, "MAXLEN", "~", maxlen, "*", *fields)
