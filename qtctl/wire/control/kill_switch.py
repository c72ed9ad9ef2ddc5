"""The kill switch as it stands: every kill key and halt key, the symbols that are halted
individually, and who halted them, if it was `qtctl halt`.

Source: docs/rules.md#the-gates. For one batch with other reads: `asks` gives the commands,
`rows_of` makes rows of their replies.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from qtctl.domain.gates import kill_level
from qtctl.domain.names import ascii_upper
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.shapes import Command
from qtctl.wire.client.store import Store
from qtctl.wire.control import clock_jump
from qtctl.wire.schema.keys import HALT_KEPT, HALTED_SYMBOLS, Keys
from qtctl.wire.schema.kill_names import KillNames
from qtctl.wire.schema.records import pairs, text

OTHER_TYPE = "<another type>"
"""Stands for the value where a key is no string (or no hash); it stops everything."""


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
    """What `qtctl halt` keeps beside a value it has set. level: how strict that was, None in a
    record of a version before; since: epoch seconds, the server's clock; before: what it covered,
    if anything; before_until_ms: when that expires (epoch milliseconds), None for never."""

    value: str
    level: int | None = None
    who: str = ""
    why: str = ""
    since: float = 0.0
    before: str | None = None
    before_until_ms: int | None = None


class KillKey(msgspec.Struct, frozen=True):
    """One name of the kill switch. key: its full name in Redis; symbol: where it stops that one
    only (the key is then the hash of all such symbols); value: "" where it is absent; record: None
    where `qtctl halt` has not set the value; jump: where it is no halt, but the quarantine after a
    jump of the server's clock."""

    key: str
    value: str
    mode: Mode
    symbol: str = ""
    record: HaltRecord | None = None
    jump: clock_jump.ClockJump | None = None

    @property
    def by_clock(self) -> bool:
        """True if it is no halt, but the quarantine after a jump of the server's clock."""
        return self.jump is not None

    @property
    def is_ours(self) -> bool:
        """True if `qtctl resume` lifts it: a halt has set it, or a governor has kept it."""
        return self.record is not None or self.key.endswith(HALT_KEPT.template)

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


def read(store: Store, names: KillNames) -> list[KillKey]:
    """All kill keys and halt keys, in their order, normal ones too; then other keys that a halt has
    set, then a jump of the server's clock, which stops opens too, then the symbols that are
    stopped, by name.

    One round trip, or a second where a halt has set a key that is not among the names.
    Errors: RedisUnreachable.
    """
    replies = store.batch(asks(store.keys, names))
    found = rows_of(store.keys, names, replies)
    records = _records(replies[-1])
    of_keys = (name for name in records if not name.startswith(record_name("")))
    further = [name for name in of_keys if name not in names.names]
    if not further:
        return found
    values = store.batch([("GET", store.keys.prefix + name) for name in further])
    more = [
        _row(store.keys.prefix + name, value, records[name])
        for name, value in zip(further, map(_value, values), strict=True)
    ]
    at = len(names.names)
    return [*found[:at], *more, *found[at:]]


def asks(keys: Keys, names: KillNames) -> list[Command]:
    """The commands whose replies `rows_of` takes: one for each name, and three."""
    return [
        *(("GET", key) for key in keys.kills(names.names)),
        ("GET", keys.clock_jump),
        ("HGETALL", keys.halted_symbols),
        ("HGETALL", keys.halt_records),
    ]


def rows_of(keys: Keys, names: KillNames, replies: Sequence[Any]) -> list[KillKey]:
    """The keys in their order, then the symbols that are stopped, by name. A key that may not be
    read (no permission) counts as normal here: nothing is known of it."""
    *values, jump, symbols, kept = replies
    records = _records(kept)
    halts = set(names.halts)
    rows = [
        _row(keys.prefix + name, value, records.get(name), halts=name in halts)
        for name, value in zip(names.names, map(_value, values), strict=True)
    ]
    if jump is not None and (not is_error(jump) or _value(jump)):
        rows.append(_jump_row(keys.clock_jump, clock_jump.of_reply(jump)))
    if is_error(symbols):
        if _value(symbols):
            rows.append(_row(keys.halted_symbols, OTHER_TYPE, None))
        return rows
    for symbol, value in sorted(pairs(symbols).items()):
        row = _row(keys.halted_symbols, value, records.get(record_name(symbol)), symbol, halts=True)
        if row.mode is not Mode.NORMAL:
            rows.append(row)
    return rows


def record_name(symbol: str) -> str:
    """The field of the halt records for a symbol; that of a kill key is its name."""
    return f"{HALTED_SYMBOLS.template}:{symbol}"


def strictest(rows: Iterable[KillKey], symbol: str | None = None) -> KillKey | None:
    """The one that decides, the first of equals; None where all are normal. With a symbol for that
    one, as sent or else in upper case; without for all, so symbols that are stopped do not count.
    """
    rows = list(rows)
    if symbol is not None and not any(row.symbol == symbol for row in rows):
        symbol = ascii_upper(symbol)
    stops = [row for row in rows if row.mode.level and row.symbol in ("", symbol)]
    return max(stops, key=lambda row: row.mode.level, default=None)


def _value(reply: Any) -> str:
    if is_error(reply):
        return OTHER_TYPE if str(reply).startswith("WRONGTYPE") else ""
    return "" if reply is None else text(reply)


def _row(
    key: str, value: str, record: HaltRecord | None, symbol: str = "", *, halts: bool = False
) -> KillKey:
    # Somebody else may have set another value since; then the record is about a past one.
    held = record if record is not None and record.value == value else None
    level = kill_level(value, halts=halts)
    vouched = level and value == "1" and held is not None and held.level is None
    if value == OTHER_TYPE or vouched:
        level = 2
    return KillKey(key, value[:64], tuple(Mode)[level], symbol, held)


def _jump_row(key: str, jump: clock_jump.ClockJump) -> KillKey:
    value = f"ahead by {jump.jump_sec:.0f} s"
    why = "the clock of Redis jumped; 'qtctl resume --clock' lets opens pass again"
    record = HaltRecord(value, 1, jump.by or "nobody knows whom", why, jump.since_ms / 1000)
    return KillKey(key, value, Mode.REDUCE_ONLY, "", record, jump)


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
