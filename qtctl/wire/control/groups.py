"""What changes a consumer group on purpose: entries handed over, dead consumers removed."""

from collections.abc import Sequence

from qtctl.wire.client.store import Store
from qtctl.wire.client.xinfo import Pending
from qtctl.wire.schema.records import text


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
