"""Streams and the consumer groups of the plan stream, looked at from outside and counted where
Redis says that it does not know.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.records import text

COUNTED = 1_000
"""Entries behind a group's place are counted up to here where its lag is NULL."""
CONSUMERS = 1_000
"""Consumers of a group that are looked at."""


class StreamState(msgspec.Struct, frozen=True):
    """A stream. problem: why it can't be looked at (it is no stream, no permission), else "".
    first_ms, last_ms: when its oldest and newest entry were added, None where it is empty."""

    name: str
    length: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    problem: str = ""
    wrong_type: bool = False


class Consumer(msgspec.Struct, frozen=True):
    """idle_sec: since it last asked for something."""

    name: str
    pending: int
    idle_sec: float


class Group(msgspec.Struct, frozen=True):
    """A consumer group. lag: None is unknown, as Redis says; behind: entries after its place, None
    where there are more than COUNTED; oldest_behind_ms: when the first of them was added;
    stuck: pending entries that nobody has touched for a minute (at least so many), and for how long
    the one that was given first."""

    name: str
    pending: int
    lag: int | None
    behind: int | None
    oldest_behind_ms: int | None
    stuck: int
    stuck_sec: float
    consumers: tuple[Consumer, ...] | None
    """None where this user may not look at them."""


def streams(store: Store, names: Sequence[str]) -> list[StreamState]:
    """How these streams stand; one that is not there has no entries."""
    replies = store.batch([("XINFO", "STREAM", name) for name in names])
    return [_stream(name, reply) for name, reply in zip(names, replies, strict=True)]


def groups(store: Store, stream: str, stuck_ms: int) -> list[Group]:
    """The consumer groups of a stream; none where it is not there.

    stuck_ms: what is pending and untouched for so long counts as stuck.
    Errors: RedisUnreachable, WireError.
    """
    (reply,) = store.batch([("XINFO", "GROUPS", stream)])
    if is_error(reply):
        if "no such key" in str(reply):
            return []
        raise reply_error(reply, stream)
    rows = [_fields(row) for row in reply]
    asks: list[tuple[Any, ...]] = []
    for row in rows:
        name, last = row["name"], text(row["last-delivered-id"])
        asks += [
            ("XINFO", "CONSUMERS", stream, name),
            ("XRANGE", stream, f"({last}", "+", "COUNT", 1),
            ("XPENDING", stream, name, "IDLE", stuck_ms, "-", "+", CONSUMERS),
        ]
    replies = store.batch(asks)
    found = []
    for place, row in enumerate(rows):
        consumers, newer, stuck = replies[3 * place : 3 * place + 3]
        for each in (newer, stuck):
            if is_error(each):
                raise reply_error(each, stream)
        found.append(_group(store, stream, row, consumers, newer, stuck))
    return found


def _group(
    store: Store, stream: str, row: dict[str, Any], consumers: Any, newer: Any, stuck: Any
) -> Group:
    lag = None if row.get("lag") is None else int(row["lag"])
    behind = lag
    if lag is None or (lag == 0) != (not newer):
        behind = _counted(store, stream, text(row["last-delivered-id"])) if newer else 0
    return Group(
        name=text(row["name"]),
        pending=int(row["pending"]),
        lag=lag,
        behind=behind,
        oldest_behind_ms=_ms(newer[0][0]) if newer else None,
        stuck=len(stuck),
        stuck_sec=max((int(each[2]) for each in stuck), default=0) / 1000,
        consumers=None
        if is_error(consumers)
        else tuple(_consumer(_fields(each)) for each in consumers[:CONSUMERS]),
    )


def _counted(store: Store, stream: str, last: str) -> int | None:
    """XRANGE hands over the entries, too: at most COUNTED, and only where the lag is NULL."""
    found = len(store.run("XRANGE", stream, f"({last}", "+", "COUNT", COUNTED + 1))
    return found if found <= COUNTED else None


def _consumer(row: dict[str, Any]) -> Consumer:
    return Consumer(text(row["name"]), int(row["pending"]), int(row["idle"]) / 1000)


def _stream(name: str, reply: Any) -> StreamState:
    if is_error(reply):
        if "no such key" in str(reply):
            return StreamState(name)
        problem = reply_error(reply, name)
        return StreamState(name, problem=str(problem), wrong_type="WRONGTYPE" in str(reply))
    found = _fields(reply)
    first, last = found["first-entry"], found["last-entry"]
    return StreamState(
        name, int(found["length"]), _ms(first[0]) if first else None, _ms(last[0]) if last else None
    )


def _fields(row: Sequence[Any]) -> dict[str, Any]:
    return {text(name): value for name, value in zip(row[::2], row[1::2], strict=True)}


def _ms(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])
