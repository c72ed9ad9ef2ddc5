"""What was really in the streams: read by a reader of its own, which knows nothing of the history.

What the nemesis takes away is read in the same transaction, so that nothing is lost unseen.
"""

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

from qtctl.errors import RedisUnreachable, WireError
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.queries.history_streams import stream_keys
from qtctl.wire.schema.ids import order

PAGE = 1_000


class Diary(threading.Thread):
    """Follows the four streams. entries: by kind, id to name, value, … to the byte."""

    def __init__(self, store: Store) -> None:
        super().__init__(daemon=True)
        self._store = store
        self._keys = stream_keys(store.keys)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.entries: dict[str, dict[str, Sequence[bytes]]] = {kind: {} for kind in self._keys}
        self._last = dict.fromkeys(self._keys, "0-0")
        self.twice: list[str] = []

    def run(self) -> None:
        while not self._ended.wait(0.02):
            with contextlib.suppress(RedisUnreachable, WireError):
                self.catch_up()

    def end(self) -> None:
        """No more is read, up to what is there now."""
        self._ended.set()
        self.join()
        self.catch_up()

    def catch_up(self) -> None:
        """Up to what is there now. Errors: RedisUnreachable, WireError."""
        with self._lock:
            while any(self._note(self._reads(), self._store.batch(self._reads()))):
                pass

    def take_away(self, *commands: tuple[Any, ...]) -> None:
        """Runs commands right behind a last reading, as one step."""
        with self._lock:
            while any(self._note(self._reads(), self._store.batch(self._reads()))):
                pass
            reads = self._reads()
            replies = self._store.batch([*reads, *commands], atomic=True)
            self._note(reads, replies[: len(reads)])
            problems = [each for each in replies[len(reads) :] if is_error(each)]
            assert not problems, problems

    def _reads(self) -> list[tuple[Any, ...]]:
        return [
            ("XRANGE", key, f"({self._last[kind]}", "+", "COUNT", PAGE)
            for kind, key in self._keys.items()
        ]

    def _note(self, reads: Sequence[Any], replies: Sequence[Any]) -> list[bool]:
        """Whether there may be more, by stream."""
        more = []
        for kind, reply in zip(self._keys, replies, strict=True):
            rows = [] if is_error(reply) else reply
            for raw_id, fields in rows:
                entry_id = raw_id.decode()
                if entry_id in self.entries[kind] or order(entry_id) <= order(self._last[kind]):
                    self.twice.append(f"{kind} {entry_id}")
                self.entries[kind][entry_id] = fields
                self._last[kind] = entry_id
            more.append(len(rows) == PAGE)
        return more
