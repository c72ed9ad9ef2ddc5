"""Permits as they lie in Redis: listing by the index, looking at one.

Source: docs/redis-contract.md#permit. Every reader takes both encodings.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from qtctl.domain.names import plan_id_problem
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import PERMIT
from qtctl.wire.schema.permit import permit_fields
from qtctl.wire.schema.records import text


class StoredPermit(msgspec.Struct, frozen=True):
    """A permit that nobody has taken yet. fields is None where what is stored is no permit; ttl_sec
    is None where it has no lifetime (it should)."""

    plan_id: str
    ttl_sec: float | None
    fields: dict[str, Any] | None


class NewestPermits(msgspec.Struct, frozen=True):
    """The newest permits, the next to expire first. cut: the index has more, and it was not asked
    which of those are still there."""

    permits: tuple[StoredPermit, ...] = ()
    cut: bool = False


class PermitExpiry(msgspec.Struct, frozen=True):
    """A permit by its key and by the index. ttl_sec is None where it has no lifetime, or is not
    there; until: when it runs out (epoch seconds), None where the index does not have it."""

    there: bool
    ttl_sec: float | None
    until: float | None


def time_left(store: Store, plan_ids: Sequence[str]) -> dict[str, PermitExpiry]:
    """How these permits stand, those included that are not there any more."""
    if not plan_ids:
        return {}
    asks = [("PTTL", store.keys.at(PERMIT, plan_id)) for plan_id in plan_ids]
    *left, scores = store.batch([*asks, ("ZMSCORE", store.keys.permits, *plan_ids)])
    until = [None] * len(plan_ids) if is_error(scores) else scores
    return {
        plan_id: PermitExpiry(
            there=not is_error(ttl) and ttl != -2,
            ttl_sec=None if is_error(ttl) or ttl < 0 else ttl / 1000,
            until=None if end is None else float(end),
        )
        for plan_id, ttl, end in zip(plan_ids, left, until, strict=True)
    }


def listed(store: Store) -> list[StoredPermit]:
    """All permits of the governors' index that are still there, the next to expire first; never one
    of another system."""
    ids = [text(member) for member in store.run("ZRANGE", store.keys.permits, 0, -1)]
    return _held(store, [id_ for id_ in ids if plan_id_problem(id_) is None])


def newest(store: Store, most: int) -> NewestPermits:
    """The same for the newest `most` of the index: a minute of a busy governor has thousands."""
    index = store.keys.permits
    # One more, to see whether there are more: not every user may ask for the size.
    ids = [text(member) for member in store.run("ZRANGE", index, -most - 1, -1)]
    held = _held(store, [id_ for id_ in ids[-most:] if plan_id_problem(id_) is None])
    return NewestPermits(tuple(held), len(ids) > most)


def one(store: Store, plan_id: str) -> StoredPermit | None:
    """The permit of one plan, None where there is none (taken, expired, or never issued)."""
    return next(iter(_held(store, [plan_id])), None)


def _held(store: Store, ids: Sequence[str]) -> list[StoredPermit]:
    keys = [store.keys.at(PERMIT, plan_id) for plan_id in ids]
    asks = [ask for key in keys for ask in (("PTTL", key), ("GET", key), ("HGETALL", key))]
    replies = store.batch(asks)
    out = []
    for place, plan_id in enumerate(ids):
        ttl, as_text, as_hash = replies[3 * place : 3 * place + 3]
        if is_error(ttl) or ttl == -2:
            continue
        raw = as_hash if is_error(as_text) else as_text
        fields = None if raw is None or is_error(raw) else permit_fields(raw)
        out.append(StoredPermit(plan_id, None if ttl == -1 else ttl / 1000, fields))
    return out
