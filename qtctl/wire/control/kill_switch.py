"""The kill switch as it stands: every name in `kill_keys`, the symbols that are halted
individually, and who halted them, if it was `qtctl halt`.

Source: docs/rules.md#the-gates. For one batch with other reads: `asks` gives the commands,
`rows_of` makes rows of their replies.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from qtctl.domain.gates import kill_level
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.pipe import Command
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import HALTED_SYMBOLS, Keys
from qtctl.wire.schema.records import pairs, text

OTHER_TYPE = "<another type>"
"""Stands for the value where a key is no string (or no hash); it stops everything."""
_WRONG_TYPE = "WRONGTYPE"


class Mode(StrEnum):
    """What a kill key does, by strictness."""

    NORMAL = "normal"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"

    @property
    def level(self) -> int:
        """0 normal, 1 only closes pass, 2 everything stops."""
        return tuple(Mode).index(self)


class HaltRecord(msgspec.Struct, frozen=True):
    """What `qtctl halt` keeps beside a value it has set. since: epoch seconds, the server's clock;
    before: what it covered, None where there was nothing; before_until_ms: when that would have
    run out (epoch milliseconds), None for never."""

    value: str
    who: str = ""
    why: str = ""
    since: float = 0.0
    before: str | None = None
    before_until_ms: int | None = None


class KillKey(msgspec.Struct, frozen=True):
    """One name of the kill switch. key: the full name of the key in Redis; symbol: where it stops
    that one only (the key is then the hash of all such symbols); value: "" where it is absent;
    record: None where the value is not what `qtctl halt` has set (nobody knows who has)."""

    key: str
    value: str
    mode: Mode
    symbol: str = ""
    record: HaltRecord | None = None

    @property
    def who(self) -> str:
        """`operator:alice@host`, empty where it is not known."""
        return self.record.who if self.record else ""

    @property
    def why(self) -> str:
        """The reason given, empty where it is not known."""
        return self.record.why if self.record else ""

    @property
    def since(self) -> float | None:
        """Epoch seconds, None where it is not known."""
        return self.record.since if self.record else None


def read(store: Store, names: Iterable[str]) -> list[KillKey]:
    """All kill keys (names as in `kill_keys`, without the prefix), in their order, normal ones too;
    then other keys that a halt has set, then the symbols that are stopped, by name.

    One round trip, or a second where a halt has set a key that is not among the names.
    Errors: RedisUnreachable.
    """
    names = tuple(names)
    replies = store.batch(asks(store.keys, names))
    found = rows_of(store.keys, names, replies)
    known = {store.keys.prefix + name for name in names}
    further = [name for name in _records(replies[-1]) if _is_key(name, store.keys, known)]
    if not further:
        return found
    values = store.batch([("GET", store.keys.prefix + name) for name in further])
    more = rows_of(store.keys, tuple(further), [*values, *replies[-2:]])
    return [*found[: len(names)], *more]


def level(store: Store, names: Sequence[str]) -> int:
    """How strict the strictest of these names is for all symbols: 0 normal, 1 only closes pass,
    2 everything stops. One round trip. Errors: RedisUnreachable."""
    values = store.batch([("GET", key) for key in store.keys.kills(names)])
    decisive = strictest(rows_of(store.keys, names, [*values, (), ()]))
    return 0 if decisive is None else decisive.mode.level


def asks(keys: Keys, names: Sequence[str]) -> list[Command]:
    """The commands whose replies `rows_of` takes: len(names) + 2 of them."""
    return [
        *(("GET", key) for key in keys.kills(names)),
        ("HGETALL", keys.halted_symbols),
        ("HGETALL", keys.halt_records),
    ]


def rows_of(keys: Keys, names: Sequence[str], replies: Sequence[Any]) -> list[KillKey]:
    """The kill keys in their order, then the symbols that are stopped, by name.

    A key that may not be read (no permission) counts as normal here: nothing is known of it.
    """
    *values, symbols, kept = replies
    records = _records(kept)
    rows = [
        _row(key, value, records.get(name))
        for name, key, value in zip(names, keys.kills(names), map(_value, values), strict=True)
    ]
    if is_error(symbols):
        if _value(symbols):
            rows.append(_row(keys.halted_symbols, OTHER_TYPE, None))
        return rows
    for symbol, value in sorted(pairs(symbols).items()):
        record = records.get(record_name(symbol))
        row = _row(keys.halted_symbols, value, record, symbol)
        if row.mode is not Mode.NORMAL:
            rows.append(row)
    return rows


def record_name(symbol: str) -> str:
    """The field of the halt records for a symbol; that of a kill key is its name."""
    return f"{HALTED_SYMBOLS.template}:{symbol}"


def strictest(rows: Iterable[KillKey], symbol: str | None = None) -> KillKey | None:
    """The one that decides, the first of equals; None where all are normal.

    With a symbol: for that one. Without: for all, so symbols that are stopped do not count.
    """
    chosen: KillKey | None = None
    for row in rows:
        counts = not row.symbol or row.symbol == symbol
        if counts and row.mode.level > (chosen.mode.level if chosen else 0):
            chosen = row
    return chosen


def _is_key(name: str, keys: Keys, known: set[str]) -> bool:
    return not name.startswith(record_name("")) and keys.prefix + name not in known


def _value(reply: Any) -> str:
    if is_error(reply):
        return OTHER_TYPE if str(reply).startswith(_WRONG_TYPE) else ""
    return "" if reply is None else text(reply)


def _row(key: str, value: str, record: HaltRecord | None, symbol: str = "") -> KillKey:
    # Somebody else may have set another value since; then the record is about a past one.
    held = record if record is not None and record.value == value else None
    return KillKey(key, value[:64], tuple(Mode)[kill_level(value)], symbol, held)


def _records(reply: Any) -> dict[str, HaltRecord]:
    """The halt records by name; one that can't be read is left out."""
    out: dict[str, HaltRecord] = {}
    if is_error(reply):
        return out
    for place in range(0, len(reply), 2):
        raw = reply[place + 1].decode("utf-8", "replace")
        try:
            out[text(reply[place])] = msgspec.json.decode(raw, type=HaltRecord, strict=False)
        except (msgspec.DecodeError, RecursionError):
            continue
    return out
