"""Targets and efficiency scores as stored in Redis, read many at a time."""

from collections.abc import Sequence
from typing import Any

from qtctl.domain.readings import EFF_FIELDS, Unusable
from qtctl.wire.client import shapes
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.packing import packed

Reading = dict[str, str] | Unusable | None
"""The fields of a hash, why they can't be read, or None where there is no hash."""
FEW = 10
"""So many are all asked whether they exist, which saves the round trip where one does not."""
ASK_TIME: shapes.Command = ("TIME",)
_LISTS = frozenset({list})


def efficiencies(store: Store, keys: Sequence[str]) -> tuple[float, list[Reading]]:
    """The server's clock, epoch seconds, and the efficiency hashes at these keys, in their order;
    other fields are not read. Without keys nothing is asked. Errors: RedisUnreachable, WireError.
    """
    if not keys:
        return 0.0, []
    asks = [ASK_TIME, *(ask(key, EFF_FIELDS) for key in keys)]
    few = len(keys) <= FEW
    now, *replies = store.batch(asks + ask_existence(keys) if few else asks, decoded=True)
    found = replies[: len(keys)]
    places = unsure(found, EFF_FIELDS)
    if few:
        there = [replies[len(keys) + place] for place in places]
    else:
        there = store.batch(ask_existence([keys[place] for place in places]))
    settle(found, places, there)
    return time_of(now), [reading(reply, EFF_FIELDS) for reply in found]


def time_of(reply: Any) -> float:
    """Epoch seconds from the reply to TIME. Errors: WireError where it was refused."""
    if is_error(reply):
        raise reply_error(reply)
    seconds, micros = reply
    return int(seconds) + int(micros) / 1e6


def ask(key: str, fields: Sequence[str]) -> bytes:
    """The command that reads these fields of a hash, packed for the wire."""
    return packed(("HMGET", key, *fields))


def ask_existence(keys: Sequence[str]) -> list[shapes.Command]:
    """HMGET does not distinguish a missing hash from one with renamed fields; this does."""
    return [("EXISTS", key) for key in keys]


def unsure(replies: Sequence[Any], fields: Sequence[str]) -> list[int]:
    """The places of the replies without any field: there may be no hash. See `settle`."""
    nothing = [None] * len(fields)
    if nothing not in replies:
        return []
    return [place for place, reply in enumerate(replies) if reply == nothing]


def settle(replies: list[Any], places: Sequence[int], there: Sequence[Any]) -> None:
    """Sets the reply to None at those of the unsure places whose key does not exist."""
    for place, exists in zip(places, there, strict=True):
        if exists == 0:
            replies[place] = None


def reading(reply: Any, fields: Sequence[str]) -> Reading:
    """The reading in one decoded reply, or in None."""
    if reply is None:
        return None
    if is_error(reply):
        return Unusable(str(reply_error(reply)))
    if len(reply) != len(fields):
        raise shapes.odd("HMGET", reply)
    named = zip(fields, reply, strict=True)
    return {name: value for name, value in named if value is not None}


def columns(replies: Sequence[Any], fields: Sequence[str]) -> list[Sequence[str]]:
    """The texts in the same replies, by field; "" where there is none. Without an object for each
    reply, since this is done for every symbol of every pass."""
    whole = replies
    if not _LISTS.issuperset(map(type, replies)):
        nothing = [None] * len(fields)
        whole = [reply if isinstance(reply, list) else nothing for reply in replies]
    if {*map(len, whole)} != {len(fields)}:
        raise shapes.odd("HMGET", replies)
    found = [*zip(*whole, strict=True)]
    return [[value or "" for value in column] if None in column else column for column in found]
