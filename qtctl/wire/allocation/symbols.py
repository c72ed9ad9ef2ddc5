"""Which symbols have a live target, found by SCAN pass by pass."""

import msgspec

from qtctl.domain.readings import EFF_FIELDS, TARGET_FIELDS
from qtctl.wire.allocation import scores
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import EFFICIENCY, TARGET
from qtctl.wire.schema.records import shortened, text

SMALL_KEYSPACE = 100_000
"""Up to this many keys, each pass scans all of them."""
SPREAD = 3
"""Above that, a scan takes this many passes; a new target is found within them."""
COUNT = 5_000
"""Keys per SCAN call: large, so that other systems' keys cost few round trips."""


class Symbol(msgspec.Struct, frozen=True, gc=False):
    """A symbol and the commands that read its target and score, packed for the wire."""

    name: str
    ask_target: bytes
    ask_efficiency: bytes


class Symbols:
    """The symbols that have a target, as far as known. A deleted target is noticed when it is read,
    before the scan gets there."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[bytes, Symbol | str | None] = {}
        self._cursor = b"0"
        self._seen: set[bytes] = set()
        self._before: set[bytes] = set()
        self._sorted: tuple[list[Symbol], dict[str, str]] = ([], {})

    def look(self) -> tuple[list[Symbol], dict[str, str]]:
        """The symbols in order, and the keys whose symbol is invalid: key to problem. Our own
        proposals (`allocation:target:proposed:X`) are neither. Errors: RedisUnreachable,
        WireError."""
        if self._scan():
            found = self._seen
            if found != self._before:
                self._before = found
                self._sorted = self._sort(found)
        elif not self._seen <= self._before:
            self._before = self._before | self._seen
            self._sorted = self._sort(self._before)
        return self._sorted

    def forget(self) -> None:
        """Starts from scratch, since another server may answer."""
        self._cursor, self._seen, self._before = b"0", set(), set()
        self._sorted = ([], {})

    def _scan(self) -> bool:
        """Scans on, a third of a large keyspace at a time; True at the end of a round."""
        store = self._store
        size = store.run("DBSIZE")
        whole = size <= SMALL_KEYSPACE or not self._before
        if whole:
            self._cursor = b"0"
        left = size if whole else size // SPREAD + COUNT
        if self._cursor == b"0":
            self._seen = set()
        pattern = store.keys.pattern(TARGET)
        for keys, cursor in store.scan_pages(pattern, COUNT, self._cursor):
            self._seen.update(keys)
            self._cursor = cursor
            left -= COUNT
            if not whole and left <= 0:
                break
        return self._cursor == b"0"

    def _sort(self, keys: set[bytes]) -> tuple[list[Symbol], dict[str, str]]:
        symbols: list[Symbol] = []
        bad: dict[str, str] = {}
        known = self._known
        if len(known) > 2 * len(keys) + COUNT:
            known.clear()
        # Sorted, so that a pass walks through memory in order.
        for raw in sorted(keys):
            if raw not in known:
                known[raw] = self._read(raw)
            entry = known[raw]
            if isinstance(entry, Symbol):
                symbols.append(entry)
            elif entry is not None:
                bad[shortened(text(raw))] = entry
        return symbols, bad

    def _read(self, raw: bytes) -> Symbol | str | None:
        """A symbol, why it is invalid, or None for a key of another template."""
        keys, key = self._store.keys, text(raw)
        name = keys.name(TARGET, key)
        if name is not None:
            ask_efficiency = scores.ask(keys.at(EFFICIENCY, name), EFF_FIELDS)
            return Symbol(name, scores.ask(key, TARGET_FIELDS), ask_efficiency)
        problem = keys.misnamed(TARGET, key)
        return problem and f"its symbol {problem}"
