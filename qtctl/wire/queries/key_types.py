"""Keys of the control plane that hold another type than they should: Redis refuses every step that
would write them, and with it the verdict about a plan."""

from collections.abc import Iterable

import msgspec

from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.queries import groups
from qtctl.wire.schema.keys import (
    CONTRACT,
    GROUP,
    HALT_RECORDS,
    LEDGER_TOTAL,
    PERMITS,
    KeySpec,
)
from qtctl.wire.schema.records import pairs, text

_FIXED = (LEDGER_TOTAL, PERMITS, HALT_RECORDS)
_OURS = tuple(it for it in CONTRACT if it.writer in ("governor", "allocation loop"))
_OF_SYMBOL = tuple(it for it in _OURS if it.template.endswith("{symbol}"))
_OF_PLAN = tuple(it for it in _OURS if it.template.endswith("{plan_id}"))
_SPOKEN = {"zset": "sorted set"}
PENDING = 50
"""Pending plans whose keys are looked at, the oldest first."""


class WrongType(msgspec.Struct, frozen=True):
    """A key, what it holds, and what it should."""

    key: str
    found: str
    wanted: str

    @property
    def sentence(self) -> str:
        """`quantum:governor:ledger:X is a string, and should be a sorted set`."""
        return f"{self.key} is a {self.found}, and should be a {self.wanted}"


def wrong(store: Store, symbols: Iterable[str], plan_ids: Iterable[str] = ()) -> list[WrongType]:
    """Those among the keys of these symbols and plans, and those that every plan needs. What this
    user may not ask about (TYPE) is left out. Errors: RedisUnreachable."""
    wanted = {store.keys.at(spec, ""): spec for spec in _FIXED}
    wanted |= {store.keys.at(spec, each): spec for each in symbols for spec in _OF_SYMBOL}
    wanted |= {store.keys.at(spec, each): spec for each in plan_ids for spec in _OF_PLAN}
    replies = store.batch([("TYPE", key) for key in wanted])
    return [
        WrongType(key, _SPOKEN.get(text(reply), text(reply)), spec.type)
        for (key, spec), reply in zip(wanted.items(), replies, strict=True)
        if not is_error(reply) and text(reply) not in ("none", *_types(spec))
    ]


def of_pending(store: Store) -> list[WrongType]:
    """Those that keep a pending plan of the governors from its verdict. Errors: RedisUnreachable,
    WireError."""
    held = groups.pending(store, store.keys.plans, GROUP)[:PENDING]
    replies = store.batch([("XRANGE", store.keys.plans, it.id, it.id) for it in held])
    plans = [pairs(reply[0][1]) for reply in replies if reply and not is_error(reply)]
    symbols = dict.fromkeys(plan.get("symbol", "").strip() for plan in plans)
    plan_ids = dict.fromkeys(plan.get("plan_id", "").strip() for plan in plans)
    return wrong(store, symbols, plan_ids)


def _types(spec: KeySpec) -> tuple[str, ...]:
    """What TYPE may say of a key of this template."""
    words = {"sorted set": "zset", "string (JSON)": "string"}
    return tuple(words.get(word, word) for word in spec.type.split(" or "))
