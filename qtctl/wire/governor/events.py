"""Writes to the governor's event stream from Python; the atomic step writes its own events."""

from collections.abc import Mapping

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


def write(store: Store, event: Event, maxlen: int, more: Mapping[str, object] = {}) -> None:
    """Adds one event; more: fields that only this one has."""
    fields = [
        "event", event.event, "plan_id", event.plan_id, "symbol", event.symbol,
        "reason", event.reason, "ts", str(event.ts), "actor", event.actor,
    ]  # fmt: skip
    fields += [str(part) for pair in more.items() for part in pair]
    store.run("XADD", store.keys.events, "MAXLEN", "~", maxlen, "*", *fields)
