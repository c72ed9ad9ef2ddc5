"""A page of the newest entries of the event stream, of which only what is new is read."""

from collections import deque
from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.cli.live.page import ListPage, Moment
from qtctl.wire.client.store import Store
from qtctl.wire.queries.streams import Follower, StreamEntry, since

LOOKED_AT = 10_000
"""Entries that are looked at for the first picture, the newest."""
MOST = 1_000
"""Rows that are kept."""
_PAGES = 20
"""Reads of new entries at once; what is left comes the next time."""


class TailPage(ListPage):
    """Rows made of the events that are wanted, the newest first. A new connection goes on where the
    one before was lost."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self._follower: Follower | None = None
        self._rows: deque[dict[str, str]] = deque(maxlen=MOST)

    def is_wanted(self, entry: StreamEntry) -> bool:
        """False for an event that is not listed here."""
        return True

    def rows_of(self, store: Store, entries: list[StreamEntry]) -> list[dict[str, str]]:
        """A row for each of these events, in their order."""
        return [{"id": entry.id} | entry.fields | {"id": entry.id} for entry in entries]

    def read(self, store: Store) -> Any:
        """All that are kept. Errors: RedisUnreachable, WireError."""
        if self._follower is None:
            # The place first: what comes between it and the last entries is taken once, by id.
            follower = Follower(store, store.keys.events)
            follower.to_end()
            found = since(store, store.keys.events, 0.0, LOOKED_AT)
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
        wanted = [entry for entry in entries if self.is_wanted(entry)][-MOST:]
        self._rows.extend(self.rows_of(store, wanted) if wanted else ())

    def limit(self, moment: Moment, listed: int) -> str:
        """Older ones are let go of."""
        return f"the newest {MOST:,} are kept" if listed >= MOST else ""
