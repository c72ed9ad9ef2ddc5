"""What `qtctl group recover` does: nothing is acknowledged, so nothing is lost by it."""

from typing import TYPE_CHECKING, Any, NamedTuple

from qtctl.cli.commands.group import STUCK_SEC
from qtctl.wire.governor.plan_queue import PlanQueue
from qtctl.wire.queries import groups, services
from qtctl.wire.schema.keys import GROUP

if TYPE_CHECKING:
    from qtctl.wire.client.store import Store

ALIVE_SEC = 60.0
"""A consumer of another group that asked for something within this is alive."""


class Recovered(NamedTuple):
    """done: rows of what was (or would be) done. stuck: entries that stay stuck, since nobody lives
    who could take them. trimmed: stuck ones that are not in the stream any more."""

    done: list[dict[str, Any]]
    stuck: int = 0
    trimmed: int = 0


def recover(store: "Store", stream: str, group: str, *, dry_run: bool) -> Recovered:
    """Creates the governors' group where it is gone; hands what the dead hold to one who lives.

    Errors: RedisUnreachable, WireError.
    """
    if group not in groups.group_names(store, stream):
        if not dry_run:
            PlanQueue(store, store, "").ensure_group()
        return Recovered([did(group, "create, from an hour ago")])
    to = _living(store, stream, group)
    moved = left = trimmed = 0
    for page in groups.stuck(store, stream, group, STUCK_SEC):
        theirs = [entry for entry in page if entry.consumer != to]
        there = groups.still_there(store, stream, [entry.id for entry in theirs])
        # XCLAIM would drop those: the living find them by themselves, and count them.
        trimmed += len(theirs) - len(there)
        found = [entry for entry in theirs if entry.id in there]
        if to is None:
            left += len(found)
        elif dry_run:
            moved += len(found)
        else:
            moved += groups.hand_over(store, stream, group, found, to, STUCK_SEC)
    done = [did(group, "hand over", to, moved)] if to is not None and moved else []
    return Recovered(done, left, trimmed)


def did(group: str, what: str, consumer: str = "", entries: int = 0) -> dict[str, Any]:
    """A row of what was done."""
    return {"group": group, "did": what, "consumer": consumer, "entries": entries}


def _living(store: "Store", stream: str, group: str) -> str | None:
    """A consumer that lives: a governor with a record, elsewhere the one that asked last."""
    if group == GROUP and stream == store.keys.plans:
        running = services.running(store, "governor")
        return running[0].name if running else None
    for found in groups.groups(store, stream, int(STUCK_SEC * 1000)):
        if found.name == group and found.consumers:
            latest = min(found.consumers, key=lambda each: each.idle_sec)
            return latest.name if latest.idle_sec < ALIVE_SEC else None
    return None
