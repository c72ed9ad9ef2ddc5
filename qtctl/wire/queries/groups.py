"""Consumer groups, for whoever looks after them: deliveries, hand over, tidy up.

How a group stands is queue_inspection.py. Source: section 3 of the specification, and the incidents
that made `group list` necessary (a lag of NULL taken for 0, entries that dead consumers held).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.records import text

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
