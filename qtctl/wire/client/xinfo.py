"""Streams, their groups, consumers and pending entries: the one reader of XINFO and XPENDING.

A lag of NULL means that Redis does not know it: None here, never 0.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from qtctl.errors import WrongTypeError
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.ids import order
from qtctl.wire.schema.records import text

_MOVES_IT = "'qtctl doctor' has the command that moves it out of the way"


class StreamInfo(msgspec.Struct, frozen=True):
    """added: entries ever added, None before Redis 7.0; first, last: the ids of the oldest and the
    newest entry, "" for none; last_id: the highest id ever given."""

    length: int
    added: int | None
    first: str
    last: str
    last_id: str


class GroupInfo(msgspec.Struct, frozen=True):
    """last_id: the last entry that was delivered; lag: entries behind it; read: entries up to it,
    of all that were ever added; None for unknown."""

    name: str
    pending: int
    lag: int | None
    last_id: str
    read: int | None = None

    def lag_before(self, last_id: str) -> int | None:
        """The lag, where the highest id that the stream ever gave is known: what is at its end is
        behind nothing, though Redis 7.0 counts on after a restart or a failover (neither its
        append-only file nor a replica knows how many entries the group has read)."""
        at_end = bool(self.lag) and order(self.last_id) >= order(last_id)
        return 0 if at_end else self.lag


class Consumer(msgspec.Struct, frozen=True):
    """idle_sec: since it last asked for something."""

    name: str
    pending: int
    idle_sec: float


class Pending(msgspec.Struct, frozen=True):
    """An entry that was given to a consumer idle_sec ago and not acknowledged; deliveries counts
    those to any consumer."""

    id: str
    consumer: str
    idle_sec: float
    deliveries: int


def groups(store: Store, stream: str) -> list[GroupInfo]:
    """The groups of a stream; none where it is not there. Errors: RedisUnreachable, WireError."""
    (reply,) = store.batch([("XINFO", "GROUPS", stream)])
    if is_error(reply):
        if is_missing(reply):
            return []
        problem = reply_error(reply, stream)
        if isinstance(problem, WrongTypeError):
            raise WrongTypeError(f"{stream}: WRONGTYPE, not a stream: {_MOVES_IT}")
        raise problem
    return groups_of(reply)


def not_a_stream(name: str) -> WrongTypeError:
    """A key that holds another type, in words, with what helps."""
    return WrongTypeError(f"{name} is not a stream (WRONGTYPE): {_MOVES_IT}")


def groups_of(reply: Any) -> list[GroupInfo]:
    """From the reply to XINFO GROUPS."""
    return [
        GroupInfo(
            text(it["name"]), it["pending"], it.get("lag"), text(it["last-delivered-id"]),
            it.get("entries-read"),
        )
        for it in map(_fields, reply)
    ]  # fmt: skip


def is_missing(reply: Any) -> bool:
    """True if XINFO failed because there is no such stream."""
    return "no such key" in str(reply)


def stream(reply: Any) -> StreamInfo:
    """From the reply to XINFO STREAM."""
    row = _fields(reply)
    first, last = (row[name] for name in ("first-entry", "last-entry"))
    return StreamInfo(
        length=int(row["length"]),
        added=row.get("entries-added"),
        first=text(first[0]) if first else "",
        last=text(last[0]) if last else "",
        last_id=text(row["last-generated-id"]),
    )


def consumers(reply: Sequence[Any]) -> list[Consumer]:
    """From the reply to XINFO CONSUMERS."""
    rows = map(_fields, reply)
    return [Consumer(text(it["name"]), int(it["pending"]), int(it["idle"]) / 1000) for it in rows]


def pending(reply: Sequence[Any]) -> list[Pending]:
    """From the reply to XPENDING with a range."""
    return [
        Pending(text(id_), text(consumer), int(idle) / 1000, int(deliveries))
        for id_, consumer, idle, deliveries in reply
    ]


def _fields(row: Sequence[Any]) -> dict[str, Any]:
    return {text(name): value for name, value in zip(row[::2], row[1::2], strict=True)}
