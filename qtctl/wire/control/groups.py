"""What changes a consumer group on purpose: entries handed over, dead consumers removed."""

from collections.abc import Sequence

from qtctl.wire.client.store import Store
from qtctl.wire.client.xinfo import Pending
from qtctl.wire.schema.records import text


def hand_over(
    store: Store, stream: str, group: str, entries: Sequence[Pending], to: str, idle_sec: float
) -> int:
    """Gives entries that nobody has touched for so long to another consumer; how many it got. They
    keep age and deliveries, so that the new holder can claim them at once."""
    moved = 0
    for start in range(0, len(entries), 100):
        ids = [entry.id for entry in entries[start : start + 100]]
        oldest = int(max(entry.idle_sec for entry in entries[start : start + 100]) * 1000)
        claim = ("XCLAIM", stream, group, to, int(idle_sec * 1000), *ids, "IDLE", oldest, "JUSTID")
        moved += len(store.run(*claim))
    return moved


def remove_idle(store: Store, stream: str, group: str, idle_sec: float) -> list[str]:
    """Removes the consumers that hold nothing and asked for nothing for so long, in one step on the
    server; their names."""
    found = store.script("drop_consumers", (stream,), (group, "", int(idle_sec * 1000)))
    return [text(name) for name in found]
