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


def efficiencies(store: Store, keys: Sequence[str]) -> tuple[float, list[Reading]]:
    """The server's clock, epoch seconds, and the efficiency hashes at these keys, in their order;
    other fields are not read. Without keys nothing is asked. Errors: RedisUnreachable, WireError.
    """
    if not keys:
        return 0.0, []
    asks = [ASK_TIME, *(ask(key, EFF_FIELDS) for key in keys)]
    few = len(keys) <= FEW
    now, *replies = store.batch(asks + ask_existence(keys) if few else asks, decoded=True)
    found = readings(replies[: len(keys)], EFF_FIELDS)
    unsure = [place for place, reading in enumerate(found) if reading == {}]
    if few:
        there = [replies[len(keys) + place] for place in unsure]
    else:
        there = store.batch(ask_existence([keys[place] for place in unsure]))
    settle(found, unsure, there)
    return time_of(now), found


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


def readings(replies: Sequence[Any], fields: Sequence[str]) -> list[Reading]:
    """The readings in the decoded replies; {} where there was no field, until `settle`."""
    out: list[Reading] = []
    for reply in replies:
        if is_error(reply):
            out.append(Unusable(str(reply_error(reply))))
            continue
        if len(reply) != len(fields):
            raise shapes.odd("HMGET", reply)
        named = zip(fields, reply, strict=True)
        out.append({name: value for name, value in named if value is not None})
    return out


def columns(replies: Sequence[Any], fields: Sequence[str]) -> list[Sequence[str]]:
    """The texts in the same replies, by field; "" where there is none. Without an object for each
    reply, since this is done for every symbol of every pass."""
    try:
        found = [*zip(*replies, strict=True)]
    except TypeError:  # One of them is an error.
        nothing = [None] * len(fields)
        whole = [nothing if is_error(reply) else reply for reply in replies]
        found = [*zip(*whole, strict=True)]
    return [[value or "" for value in column] if None in column else column for column in found]


def settle(found: list[Reading], unsure: Sequence[int], there: Sequence[Any]) -> None:
    """Sets the reading to None at those of the unsure places whose key does not exist."""
    for place, exists in zip(unsure, there, strict=True):
        if exists == 0:
            found[place] = None
