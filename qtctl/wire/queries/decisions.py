"""Decisions as they lie in Redis, and the limits they were judged by.

Source: docs/redis-contract.md#decision.
"""

from collections.abc import Iterable, Sequence

from qtctl.domain.facts import limits_of
from qtctl.domain.gates import Limits
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION, LIMITS
from qtctl.wire.schema.records import pairs

Decision = dict[str, str]
"""A record by field; plan_id is always whole (the key has it, the field may be shortened)."""


def every(store: Store) -> list[Decision]:
    """All decisions of the last 24 h, the latest first."""
    found = by_id(store, store.scan(DECISION))
    return sorted(found.values(), key=_decided_at, reverse=True)


def by_id(store: Store, plan_ids: Sequence[str]) -> dict[str, Decision]:
    """The decisions about these plans; those without one are left out."""
    replies = store.batch([("HGETALL", store.keys.at(DECISION, id_)) for id_ in plan_ids])
    return {
        id_: pairs(reply) | {"plan_id": id_}
        for id_, reply in zip(plan_ids, replies, strict=True)
        if not is_error(reply) and reply
    }


def limits(store: Store, digest: str) -> Limits | None:
    """The limits with this digest, None where they are forgotten or unreadable."""
    return limits_by_digest(store, [digest])[digest]


def limits_by_digest(store: Store, digests: Iterable[str]) -> dict[str, Limits | None]:
    """The limits with these digests, None for those that are forgotten or unreadable."""
    wanted = sorted(set(digests))
    replies = store.batch([("GET", store.keys.at(LIMITS, digest)) for digest in wanted])
    return {
        digest: None if raw is None or is_error(raw) else limits_of(raw)
        for digest, raw in zip(wanted, replies, strict=True)
    }


def _decided_at(decision: Decision) -> float:
    try:
        return float(decision.get("decided_at", ""))
    except ValueError:
        return 0.0
