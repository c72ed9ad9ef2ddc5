"""The opens that governors permitted in the last hour, from the ledger that they share.

For metrics only: no gate goes by it, since the atomic step counts the ledger itself.
"""

from qtctl import clock
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION, LEDGER_KEEP_SEC
from qtctl.wire.schema.records import text

PAGE = 200
MOST = 20_000
"""Opens that are looked at, the newest; more in an hour are not counted."""
WHOLE_SEC = 60.0
"""How often all of it is read again, not only what is new: entries may go, or come late."""

Open = tuple[float, str]
"""When it was permitted, epoch seconds, and its symbol; "" where no decision tells."""


class RecentOpens:
    """Read again and again, in one round trip where nothing is new."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Open] = {}
        self._whole_at: float | None = None

    def read(self, now: float) -> tuple[Open, ...]:
        """The opens up to an hour before now (epoch seconds on the server's clock). Errors:
        RedisUnreachable, WireError."""
        begun = clock.monotonic()
        whole = self._whole_at is None or begun - self._whole_at >= WHOLE_SEC
        known = {} if whole else self._known
        for at in range(0, MOST, PAGE):
            page = self._page(at)
            new = {plan_id: when for plan_id, when in page.items() if plan_id not in known}
            known = known | self._with_symbols(new)
            if len(new) < PAGE or min(new.values()) <= now - LEDGER_KEEP_SEC:
                break  # What follows is known, or too old.
        self._known = {id_: it for id_, it in known.items() if it[0] > now - LEDGER_KEEP_SEC}
        if whole:
            self._whole_at = begun
        # What lies ahead of the clock, which stepped back, was not in this hour.
        return tuple(it for it in self._known.values() if it[0] <= now)

    def _page(self, at: int) -> dict[str, float]:
        flat = self._store.run(
            "ZREVRANGE", self._store.keys.ledger_total, at, at + PAGE - 1, "WITHSCORES"
        )
        return {text(id_): float(when) for id_, when in zip(flat[::2], flat[1::2], strict=True)}

    def _with_symbols(self, new: dict[str, float]) -> dict[str, Open]:
        keys = self._store.keys
        replies = self._store.batch([("HMGET", keys.at(DECISION, id_), "symbol") for id_ in new])
        return {
            id_: (when, "" if is_error(reply) or reply[0] is None else text(reply[0]))
            for (id_, when), reply in zip(new.items(), replies, strict=True)
        }
