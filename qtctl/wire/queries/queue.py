"""What the governors have before them: plans that none has read, and plans that one holds."""

import msgspec

from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.queries import groups
from qtctl.wire.queries.groups import STUCK_SEC, Group
from qtctl.wire.schema.ids import order
from qtctl.wire.schema.keys import GROUP
from qtctl.wire.schema.records import pairs, text

MOST = 500
"""Plans that are looked at of either kind, the oldest."""


class Queued(msgspec.Struct, frozen=True):
    """A plan in the queue. state: `waiting` for a governor to read it, `held` by a consumer, or
    `stuck` with one for a minute and more; idle_sec: since it was given to that consumer, None
    while it waits. fields: empty where its entry is gone from the stream."""

    entry_id: str
    state: str
    fields: dict[str, str]
    consumer: str = ""
    idle_sec: float | None = None
    deliveries: int = 0


class Queue(msgspec.Struct, frozen=True):
    """groups: all that read the plans; plans: those before the governors' group, the oldest first;
    cut: there are more than were looked at."""

    groups: tuple[Group, ...]
    plans: tuple[Queued, ...]
    cut: bool


def queue(store: Store) -> Queue:
    """How the queue stands. Errors: RedisUnreachable, WireError."""
    stream = store.keys.plans
    found = groups.groups(store, stream)
    own = next((each for each in found if each.name == GROUP), None)
    behind = "-" if own is None else f"({own.last_id}"
    waiting = store.run("XRANGE", stream, behind, "+", "COUNT", MOST)
    plans = [Queued(text(id_), "waiting", pairs(raw)) for id_, raw in waiting]
    held = _held(store) if own is not None and own.pending else []
    ordered = sorted((*held, *plans), key=lambda plan: order(plan.entry_id))
    return Queue(tuple(found), tuple(ordered), cut=max(len(waiting), len(held)) == MOST)


def _held(store: Store) -> list[Queued]:
    stream = store.keys.plans
    pending = xinfo.pending(store.run("XPENDING", stream, GROUP, "-", "+", MOST))
    replies = store.batch([("XRANGE", stream, each.id, each.id) for each in pending])
    return [
        Queued(
            each.id,
            "stuck" if each.idle_sec >= STUCK_SEC else "held",
            {} if is_error(reply) or not reply else pairs(reply[0][1]),
            each.consumer,
            each.idle_sec,
            each.deliveries,
        )
        for each, reply in zip(pending, replies, strict=True)
    ]
