"""Streams and consumer groups, looked at from outside.

A lag that Redis does not know is counted, never taken for 0.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from qtctl.domain.entry_ids import ms_of
from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.ids import order

COUNTED = 1_000
"""Entries behind a group's place are counted up to here where its lag is NULL."""
STUCK_SEC = 60.0
"""What has been pending and untouched for this long is held by no live consumer."""
STUCK_MS = int(STUCK_SEC * 1000)
CONSUMERS = 1_000
"""Consumers of a group that are looked at."""
LOOKED_AT = 1_000
"""Pending entries of a group that are looked at."""


class StreamState(msgspec.Struct, frozen=True):
    """A stream. first_ms, last_ms: when its oldest and newest entry were added, None where it is
    empty; problem: why it can't be read, else ""."""

    name: str
    length: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    problem: str = ""
    wrong_type: bool = False


class Group(msgspec.Struct, frozen=True):
    """A consumer group. lag: None is unknown; behind: entries after its place, None for more than
    COUNTED; oldest_behind_ms: when the first of them was added; stuck: pending entries that nobody
    has touched for a minute (at least so many), stuck_sec: the longest; ahead_of: the last id of
    the stream, where the group lies ahead of it and is given nothing, else ""."""

    name: str
    pending: int
    lag: int | None
    behind: int | None
    oldest_behind_ms: int | None
    stuck: int
    stuck_sec: float
    consumers: tuple[xinfo.Consumer, ...] | None
    """None where this user may not look at them."""
    last_id: str = ""
    ahead_of: str = ""
    oldest_pending_ms: int | None = None
    """When the first pending entry was added; retries do not make it younger."""


def streams(store: Store, names: Sequence[str]) -> list[StreamState]:
    """How these streams stand; one that is not there has no entries."""
    replies = store.batch([("XINFO", "STREAM", name) for name in names])
    return [_stream(name, reply) for name, reply in zip(names, replies, strict=True)]


def groups(store: Store, stream: str) -> list[Group]:
    """The consumer groups of a stream; none where it is not there. Errors: RedisUnreachable,
    WireError."""
    rows = xinfo.groups(store, stream)
    asks: list[tuple[Any, ...]] = []
    for row in rows:
        asks += [
            ("XINFO", "CONSUMERS", stream, row.name),
            ("XRANGE", stream, f"({row.last_id}", "+", "COUNT", 1),
            ("XPENDING", stream, row.name, "IDLE", STUCK_MS, "-", "+", CONSUMERS),
            ("XPENDING", stream, row.name, "-", "+", 1),
        ]
    *replies, whole = store.batch([*asks, ("XINFO", "STREAM", stream)])
    last_id = "" if is_error(whole) else xinfo.stream(whole).last_id
    found = []
    for place, row in enumerate(rows):
        consumers, newer, stuck, first = replies[4 * place : 4 * place + 4]
        for each in (newer, stuck, first):
            if is_error(each):
                raise reply_error(each, stream)
        ahead_of = last_id if last_id and order(row.last_id) > order(last_id) else ""
        row = msgspec.structs.replace(row, lag=row.lag_before(last_id) if last_id else row.lag)
        group = _group(store, stream, row, consumers, newer, stuck)
        oldest = ms_of(first[0][0]) if first else None
        found.append(msgspec.structs.replace(group, ahead_of=ahead_of, oldest_pending_ms=oldest))
    return found


def _group(
    store: Store, stream: str, row: xinfo.GroupInfo, consumers: Any, newer: Any, stuck: Any
) -> Group:
    behind = row.lag
    if row.lag is None or (row.lag == 0) != (not newer):
        behind = _counted(store, stream, row.last_id) if newer else 0
    return Group(
        name=row.name,
        last_id=row.last_id,
        pending=row.pending,
        lag=row.lag,
        behind=behind,
        oldest_behind_ms=ms_of(newer[0][0]) if newer else None,
        stuck=len(stuck),
        stuck_sec=max((each.idle_sec for each in xinfo.pending(stuck)), default=0.0),
        consumers=None if is_error(consumers) else tuple(xinfo.consumers(consumers[:CONSUMERS])),
    )


def _counted(store: Store, stream: str, last: str) -> int | None:
    """XRANGE hands over the entries, too: at most COUNTED, and only where the lag is NULL."""
    found = len(store.run("XRANGE", stream, f"({last}", "+", "COUNT", COUNTED + 1))
    return found if found <= COUNTED else None


def _stream(name: str, reply: Any) -> StreamState:
    if is_error(reply):
        if xinfo.is_missing(reply):
            return StreamState(name)
        problem = reply_error(reply, name)
        return StreamState(name, problem=str(problem), wrong_type="WRONGTYPE" in str(reply))
    found = xinfo.stream(reply)
    first, last = (ms_of(id_) if id_ else None for id_ in (found.first, found.last))
    return StreamState(name, found.length, first, last)


def pending(store: Store, stream: str, group: str) -> list[xinfo.Pending]:
    """The oldest LOOKED_AT of what a group holds. Errors: RedisUnreachable, WireError."""
    return xinfo.pending(store.run("XPENDING", stream, group, "-", "+", LOOKED_AT))


def stuck(store: Store, stream: str, group: str) -> Iterator[list[xinfo.Pending]]:
    """All that a group holds and nobody has touched for STUCK_SEC, LOOKED_AT at a time, the oldest
    first. Errors: RedisUnreachable, WireError."""
    after = "-"
    while True:
        reply = store.run("XPENDING", stream, group, "IDLE", STUCK_MS, after, "+", LOOKED_AT)
        page = xinfo.pending(reply)
        if page:
            yield page
        if len(page) < LOOKED_AT:
            return
        after = f"({page[-1].id}"


def still_there(store: Store, stream: str, ids: Sequence[str]) -> set[str]:
    """Those of these entries that are in the stream: what is pending may be trimmed from it."""
    replies = store.batch([("XRANGE", stream, id_, id_) for id_ in ids])
    return {id_ for id_, reply in zip(ids, replies, strict=True) if reply and not is_error(reply)}


def added_since(store: Store, streams: Sequence[str], since_ms: int, most: int) -> list[int | None]:
    """How many entries each stream got since then (epoch ms), at most `most`; None for no stream.
    Ids come back with their fields: keep `most` small."""
    replies = store.batch([("XREVRANGE", it, "+", since_ms, "COUNT", most) for it in streams])
    return [None if is_error(reply) else len(reply) for reply in replies]
