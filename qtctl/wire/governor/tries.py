"""How often a redelivered entry was tried, counted on the server: a try that ends its process must
count as well."""

from collections.abc import Sequence
from typing import Any

from qtctl import errors
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import TRIES, TRIES_TTL_SEC


class Tries:
    """The counts of entries, by their ids."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, ids: Sequence[str]) -> list[int | errors.WireError]:
        """Counts another try at each of these redelivered entries; the tries that are not known to
        have finished, this one and the first included, or why one could not be counted."""
        # Down and up again first: what could not be uncounted later must not be counted.
        steps = ("DECR", "INCR", "INCR")
        try:
            counted = self._store.batch(
                [each for id_ in ids for each in self._count_try(id_, *steps)], atomic=True
            )[len(steps) - 1 :: len(steps) + 1]
        except errors.WireError as refused:
            return [refused] * len(ids)
        return [
            reply_error(tries, self.key(id_)) if is_error(tries) else int(tries) + 1
            for id_, tries in zip(ids, counted, strict=True)
        ]

    def drop(self, settled: Sequence[str]) -> errors.WireError | None:
        """Drops the counts of entries that are settled; why they stay until they expire, or
        None."""
        return self._counted([("DEL", *map(self.key, settled))] if settled else [])

    def uncount(self, forgiven: Sequence[str]) -> errors.WireError | None:
        """Uncounts a try at each of these entries, where it failed because of Redis; why none could
        be, or None."""
        # Sets the lifetime again: where the server has lost the count, DECR creates it.
        return self._counted([each for id_ in forgiven for each in self._count_try(id_, "DECR")])

    def _counted(self, commands: Sequence[tuple[Any, ...]]) -> errors.WireError | None:
        try:
            self._store.batch(commands, atomic=True)
        except errors.WireError as refused:
            return refused
        return None

    def _count_try(self, entry_id: str, *steps: str) -> list[tuple[Any, ...]]:
        key = self.key(entry_id)
        return [*((step, key) for step in steps), ("EXPIRE", key, TRIES_TTL_SEC)]

    def key(self, entry_id: str) -> str:
        """Where the count of an entry stands."""
        return self._store.keys.at(TRIES, entry_id)


def count_of(reply: Any) -> int:
    """A count of tries; one that can't be read holds something against the entry."""
    if reply is None:
        return 0
    return int(reply) if isinstance(reply, bytes) and reply.lstrip(b"-").isdigit() else 1
