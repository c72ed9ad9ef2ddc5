"""The opens that governors permitted in the last hour, from the ledger that they share.

For metrics only: no gate goes by it, since the atomic step counts the ledger itself.
"""

from collections.abc import Iterator

from qtctl import clock
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION, LEDGER_KEEP_SEC
from qtctl.wire.schema.records import text

PAGE = 200
MOST = 5_000
"""Opens that are counted, the newest of the hour."""
NEW_MOST = 1_000
"""New opens that are looked up in one read: more a second are left to the next whole one, so that
metrics never hold up permits."""
WHOLE_SEC = 60.0
"""How often all of it is read again, not only what is new: entries may go, or come late."""

Open = tuple[float, str]
"""When it was permitted, epoch seconds, and its symbol; "" where no decision tells."""


class RecentOpens:
    """Read again and again, in one round trip where nothing is new. known: what was read last."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Open] = {}
        self.known: tuple[Open, ...] = ()
        self._whole_at: float | None = None

    def read(self, now: float) -> Iterator[None]:
        """Reads the opens up to an hour before now (epoch seconds on the server's clock); yields
        between two round trips. Errors: RedisUnreachable, WireError."""
        begun, old = clock.monotonic(), now - LEDGER_KEEP_SEC
        whole = self._whole_at is None or begun - self._whole_at >= WHOLE_SEC
        found: dict[str, Open] = {} if whole else self._known.copy()
        for at in range(0, MOST if whole else NEW_MOST, PAGE):
            page = {id_: when for id_, when in self._page(at).items() if id_ not in found}
            yield
            if page:
                found |= self._with_symbols(page)
                yield
            if len(page) < PAGE or min(page.values()) <= old:
                break  # What follows is known, or too old.
        newest = sorted(found.items(), key=lambda it: it[1][0], reverse=True)[:MOST]
        self._known = {id_: it for id_, it in newest if it[0] > old}
        if whole:
            self._whole_at = begun
        self.known = tuple(self._known.values())

    def _page(self, at: int) -> dict[str, float]:
        flat = self._store.run(
            "ZREVRANGE", self._store.keys.ledger_total, at, at + PAGE - 1, "WITHSCORES"
        )
        return {text(id_): float(when) for id_, when in zip(flat[::2], flat[1::2], strict=True)}

    def _with_symbols(self, page: dict[str, float]) -> dict[str, Open]:
        known, keys = self._known, self._store.keys
        new = [id_ for id_ in page if id_ not in known]
        replies = self._store.batch([("HMGET", keys.at(DECISION, id_), "symbol") for id_ in new])
        symbols = {
            id_: "" if is_error(reply) or reply[0] is None else text(reply[0])
            for id_, reply in zip(new, replies, strict=True)
        }
        return {
            id_: known[id_] if id_ in known else (when, symbols[id_]) for id_, when in page.items()
        }
