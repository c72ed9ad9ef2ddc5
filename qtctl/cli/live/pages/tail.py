"""The newest entries of the event stream, of which only what is new is read."""

from collections import deque
from collections.abc import Callable

from qtctl.wire.client.store import Store
from qtctl.wire.queries.streams import Follower, StreamEntry, since

LOOKED_AT = 10_000
"""Entries that are looked at for the first picture, the newest."""
MOST = 1_000
"""Rows that are kept."""
_PAGES = 20
"""Reads of new entries at once; what is left comes the next time."""


class Tail:
    """Rows made of the entries that are wanted, the newest first. Not thread safe; a new connection
    goes on where the one before was lost."""

    def __init__(
        self,
        stream: Callable[[Store], str],
        is_wanted: Callable[[StreamEntry], bool],
        rows_of: Callable[[Store, list[StreamEntry]], list[dict[str, str]]],
    ) -> None:
        self._stream, self._is_wanted, self._rows_of = stream, is_wanted, rows_of
        self._follower: Follower | None = None
        self._rows: deque[dict[str, str]] = deque(maxlen=MOST)

    def read(self, store: Store) -> list[dict[str, str]]:
        """All that are kept. Errors: RedisUnreachable, WireError."""
        if self._follower is None:
            # The place first: what comes between it and the last entries is taken once, by id.
            follower = Follower(store, self._stream(store))
            follower.to_end()
            found = since(store, self._stream(store), 0.0, LOOKED_AT)
            before = [entry for entry in found.entries if follower.is_behind(entry)]
            self._keep(store, before[::-1])
            self._follower = follower
        for _ in range(_PAGES):
            news = self._follower.read()
            if news.anew:
                self._rows.clear()
            self._keep(store, list(news.entries))
            if not news:
                break
        return list(self._rows)[::-1]

    def _keep(self, store: Store, entries: list[StreamEntry]) -> None:
        """Oldest first."""
        wanted = [entry for entry in entries if self._is_wanted(entry)][-MOST:]
        self._rows.extend(self._rows_of(store, wanted) if wanted else ())
