"""Streams and consumer groups, looked at from outside: one reader of XINFO and XPENDING.

What Redis says it does not know (a lag of NULL) is counted, never taken for 0.
"""

from collections.abc import Iterator, Sequence
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


LOOKED_AT = 1_000
"""Pending entries of a group that are looked at."""


class Pending(msgspec.Struct, frozen=True):
    """An entry that was given to a consumer and not acknowledged. idle_sec: since then; deliveries:
    how often it was given to any."""

    id: str
    consumer: str
    idle_sec: float
    deliveries: int


def pending(store: Store, stream: str, group: str) -> list[Pending]:
    """The oldest LOOKED_AT of what a group holds. Errors: RedisUnreachable, WireError."""
    return _pending(store.run("XPENDING", stream, group, "-", "+", LOOKED_AT))


def stuck(store: Store, stream: str, group: str, idle_sec: float) -> Iterator[list[Pending]]:
    """All that a group holds and nobody has touched for so long, LOOKED_AT at a time, the oldest
    first. Errors: RedisUnreachable, WireError."""
    after = "-"
    while True:
        idle_ms = int(idle_sec * 1000)
        reply = store.run("XPENDING", stream, group, "IDLE", idle_ms, after, "+", LOOKED_AT)
        page = _pending(reply)
        if page:
            yield page
        if len(page) < LOOKED_AT:
            return
        after = f"({page[-1].id}"


def still_there(store: Store, stream: str, ids: Sequence[str]) -> set[str]:
    """Those of these entries that are in the stream: what is pending may be trimmed from it."""
    replies = store.batch([("XRANGE", stream, id_, id_) for id_ in ids])
    return {id_ for id_, reply in zip(ids, replies, strict=True) if reply and not is_error(reply)}


def _pending(reply: Sequence[Any]) -> list[Pending]:
    return [
        Pending(text(id_), text(consumer), int(idle) / 1000, int(deliveries))
        for id_, consumer, idle, deliveries in reply
    ]


def hand_over(
    store: Store, stream: str, group: str, entries: Sequence[Pending], to: str, idle_sec: float
) -> int:
    """Gives entries that lie untouched for so long to another consumer; how many it got.

    Nothing is acknowledged, and what somebody took up meanwhile stays with them. The entry keeps
    its age and its count of deliveries, so that the new holder can claim it at once.
    """
    moved = 0
    for start in range(0, len(entries), 100):
        ids = [entry.id for entry in entries[start : start + 100]]
        oldest = int(max(entry.idle_sec for entry in entries[start : start + 100]) * 1000)
        moved += len(
            store.run(
                "XCLAIM", stream, group, to, int(idle_sec * 1000), *ids, "IDLE", oldest, "JUSTID"
            )
        )
    return moved


def remove_idle(store: Store, stream: str, group: str, idle_sec: float) -> list[str]:
    """Removes the consumers that hold nothing and asked for nothing for so long; their names.

    In one step on the server: one that is given an entry in between does not lose it.
    """
    found = store.script("drop_consumers", (stream,), (group, "", int(idle_sec * 1000)))
    return [text(name) for name in found]


def added_since(store: Store, streams: Sequence[str], since_ms: int, most: int) -> list[int | None]:
    """How many entries each stream got since then (epoch ms), at most `most`; None for no stream.

    Ids come back with their fields: keep `most` small.
    """
    replies = store.batch(
        [("XREVRANGE", stream, "+", since_ms, "COUNT", most) for stream in streams]
    )
    return [None if is_error(reply) else len(reply) for reply in replies]


def group_names(store: Store, stream: str) -> list[str]:
    """The names of a stream's groups; none where it is not there. Errors: as in Store.run."""
    (reply,) = store.batch([("XINFO", "GROUPS", stream)])
    if is_error(reply):
        if "no such key" in str(reply):
            return []
        raise reply_error(reply, stream)
    return [text(row[row.index(b"name") + 1]) for row in reply]
