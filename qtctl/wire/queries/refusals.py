"""Closes that were refused lately: what must not happen but for a full stop.

An event does not say whether its plan was a close; its decision does.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from qtctl.domain.reasons import Kind, Reason, Verdict
from qtctl.wire.client.connect import is_denied, is_error
from qtctl.wire.client.store import Store
from qtctl.wire.queries.recent import Event
from qtctl.wire.schema.keys import DECISION
from qtctl.wire.schema.records import pairs, texts

WINDOW_SEC = 600.0
MOST = 1_000
"""Blocked plans whose decisions are asked for, the latest first."""
FEWER = 300
"""Of those, where only a whole decision may be read."""
_MAY_HIT_CLOSES = frozenset((Reason.KILL_SWITCH.value, Reason.STALE_PLAN.value))
"""The other gates are for opens alone; a repeated or conflicting plan had its permit."""


class Refusals(msgspec.Struct, frozen=True):
    """by_reason: the most frequent first; at_least: more were blocked than was asked about;
    last_at: the latest, epoch seconds; symbol: its symbol."""

    by_reason: dict[str, int] = {}
    at_least: bool = False
    last_at: float | None = None
    symbol: str = ""

    @property
    def count(self) -> int:
        """Of all reasons."""
        return sum(self.by_reason.values())


class RefusedCloses:
    """Looked for again, only what is new is asked for."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[bool, str]] = {}

    def read(self, store: Store, events: Sequence[Event], now: float) -> Refusals:
        """Those of the last WINDOW_SEC. Errors: RedisUnreachable."""
        lately = (it for it in events if it.at >= now - WINDOW_SEC and it.event == Verdict.BLOCKED)
        blocked = [it for it in lately if it.reason in _MAY_HIT_CLOSES]
        looked_at = blocked[-MOST:]
        self._ask(store, dict.fromkeys(it.plan_id for it in reversed(looked_at)))
        closes = [it for it in looked_at if self._known[it.plan_id][0]]
        last = closes[-1] if closes else None
        return Refusals(
            by_reason=dict(Counter(it.reason for it in closes).most_common()),
            at_least=len(blocked) > len(looked_at),
            last_at=None if last is None else last.at,
            symbol="" if last is None else self._known[last.plan_id][1],
        )

    def _ask(self, store: Store, wanted: Mapping[bytes, None]) -> None:
        """wanted: plan_ids, the latest first."""
        self._known = {id_: kind for id_, kind in self._known.items() if id_ in wanted}
        new = [id_ for id_ in wanted if id_ not in self._known]
        head = store.keys.at(DECISION, "").encode()
        replies = store.batch([("HMGET", head + id_, "kind", "symbol") for id_ in new])
        for id_, reply in zip(new, replies, strict=True):
            kind, symbol = ("", "") if is_error(reply) else texts(reply)
            self._known[id_] = kind == Kind.CLOSE, symbol
        denied = [id_ for id_, reply in zip(new, replies, strict=True) if is_denied(reply)]
        self._ask_for_all_fields(store, denied[:FEWER])

    def _ask_for_all_fields(self, store: Store, ids: Sequence[bytes]) -> None:
        """The user `viewer` may read a hash as a whole, and no part of it."""
        head = store.keys.at(DECISION, "").encode()
        replies = store.batch([("HGETALL", head + id_) for id_ in ids])
        for id_, reply in zip(ids, replies, strict=True):
            found = {} if is_error(reply) else pairs(reply)
            self._known[id_] = found.get("kind") == Kind.CLOSE, found.get("symbol", "")
