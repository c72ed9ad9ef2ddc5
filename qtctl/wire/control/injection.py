"""Synthetic scores, targets and plans: written so that they can be removed again.

What they cover is kept (DUMP) with the time it expires, beside a digest of what was written; what
somebody else has changed since is left alone. Source: docs/integration.md#trying-it-out.
"""

from collections.abc import Mapping

import msgspec

from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import INJECTED
from qtctl.wire.schema.records import flag, pairs, text

PLAN_RECORD_TTL_SEC = 86_400


class InTheWay(msgspec.Struct, frozen=True):
    """What is stored under a key and is not ours. type: as Redis names it; fields: those of a hash
    that identify it; ttl_sec: None where it has no lifetime."""

    type: str
    fields: dict[str, str]
    ttl_sec: float | None


class Cleared(msgspec.Struct, frozen=True):
    """What `clear` did with one key: removed, restored (what it covered is back), left (changed
    by somebody else) or gone (expired before)."""

    key: str
    did: str
    count: int = 1


def cover(
    store: Store,
    key: str,
    fields: Mapping[str, str],
    ttl_sec: int,
    *,
    force: bool,
    dry_run: bool = False,
) -> InTheWay | None:
    """Writes a hash and remembers what it covers, in one step; None when written (or, in a dry
    run, when it would be). Without force, what inject did not write itself is returned and nothing
    is written. Errors: RedisUnreachable, WireError."""
    flat = [part for pair in fields.items() for part in pair]
    how = (ttl_sec, flag(force), flag(dry_run))
    reply = store.script("inject_hash", (key, _record(store, key)), (*how, *flat))
    if text(reply[0]) != "refused":
        return None
    ttl_ms = int(reply[2])
    return InTheWay(text(reply[1]), pairs(reply[3:]), None if ttl_ms < 0 else ttl_ms / 1000)


def cover_many(
    store: Store, hashes: Mapping[str, Mapping[str, str]], ttl_sec: int, *, force: bool
) -> list[str]:
    """The same for many hashes, by key; the keys that were refused. Errors: RedisUnreachable,
    WireError."""
    head = (ttl_sec, flag(force), flag(False))
    calls = [
        ((key, _record(store, key)), (*head, *(part for pair in fields.items() for part in pair)))
        for key, fields in hashes.items()
    ]
    refused: list[str] = []
    for key, reply in zip(hashes, store.scripts("inject_hash", calls), strict=True):
        if is_error(reply):
            raise reply_error(reply, key)
        if text(reply[0]) == "refused":
            refused.append(key)
    return refused


def send_plan(store: Store, fields: Mapping[str, str]) -> str:
    """Puts a plan on the stream and remembers it for `clear`; the id of its entry."""
    flat = [part for pair in fields.items() for part in pair]
    entry_id = text(store.run("XADD", store.keys.plans, "*", *flat))
    record = _record(store, store.keys.plans)
    remember = ("HSET", record, entry_id, fields["plan_id"])
    store.batch([remember, ("EXPIRE", record, PLAN_RECORD_TTL_SEC)], atomic=True)
    return entry_id


def injected(store: Store) -> list[Cleared]:
    """What `clear` would look at."""
    head = store.keys.prefix + INJECTED.head
    records = sorted(set(store.scan_keys(store.keys.pattern(INJECTED))))
    return [Cleared(record[len(head) :], "would look at") for record in records]


def clear(store: Store) -> list[Cleared]:
    """Removes what was injected and is unchanged, and restores what it covered."""
    done = []
    for found in injected(store):
        record = _record(store, found.key)
        if found.key == store.keys.plans:
            done.append(_clear_plans(store, record))
        else:
            did = store.script("inject_clear", (found.key, record), ())
            done.append(Cleared(found.key, text(did)))
    return done


def _clear_plans(store: Store, record: str) -> Cleared:
    ids = list(pairs(store.run("HGETALL", record)))
    removed = store.run("XDEL", store.keys.plans, *ids) if ids else 0
    store.run("DEL", record)
    return Cleared(store.keys.plans, "removed", int(removed))


def _record(store: Store, key: str) -> str:
    return store.keys.at(INJECTED, key)
