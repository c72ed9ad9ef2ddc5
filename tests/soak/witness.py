"""Follows the events and notes when it saw each, by a clock that never steps."""

import threading
import time

from qtctl.errors import RedisUnreachable, WireError
from qtctl.wire.client.store import Store
from qtctl.wire.schema.records import pairs, text

BLOCK_MS = 20


class Witness(threading.Thread):
    """seen: by era and id of the event."""

    def __init__(self, store: Store) -> None:
        super().__init__(name="witness", daemon=True)
        self.seen: dict[tuple[int, str], float] = {}
        self.decisions: list[float] = []
        self.lock = threading.Lock()
        """Whoever empties the server holds it meanwhile."""
        self._store = store
        self._era, self._last = 0, "0"
        self._stop_event = threading.Event()

    def run(self) -> None:
        """Until `finish`."""
        while not self._stop_event.is_set():
            try:
                with self.lock:
                    self.look()
            except (RedisUnreachable, WireError):
                pass
            self._stop_event.wait(0.002)
        self._store.close()

    def look(self) -> None:
        """What is new; by the holder of the lock. Errors: RedisUnreachable, WireError."""
        events = self._store.keys.events
        reply = self._store.run(
            "XREAD", "COUNT", 1000, "BLOCK", BLOCK_MS, "STREAMS", events, self._last
        )
        now = time.monotonic()
        for id_, raw in reply[0][1] if reply else ():
            self._last = text(id_)
            self.seen[self._era, self._last] = now
            if pairs(raw).get("event") in ("permitted", "blocked"):
                self.decisions.append(now)

    def next_era(self) -> None:
        """The server is empty now; by the holder of the lock."""
        self._era, self._last = self._era + 1, "0"

    def finish(self) -> None:
        """Ends it."""
        self._stop_event.set()
        self.join()
