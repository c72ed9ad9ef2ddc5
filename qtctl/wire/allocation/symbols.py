"""Which symbols have a live target, looked for pass by pass.

Source: section 1 of the specification ("Symbols come from a SCAN that full-matches …").
"""

import msgspec

from qtctl.domain.names import symbol_problem
from qtctl.wire.allocation import scores
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import EFFICIENCY, TARGET
from qtctl.wire.schema.records import text

SMALL_KEYSPACE = 100_000
"""Up to so many keys one SCAN over all of them is made in each pass."""
SPREAD = 3
"""Above, over so many passes: a new target is seen within them."""
COUNT = 5_000
"""Keys that one SCAN looks at: large, so that the keys of others cost few round trips."""


class Symbol(msgspec.Struct, frozen=True, gc=False):
    """A symbol and what each pass reads of it, as it stands on the wire."""

    name: str
    ask_target: bytes
    ask_efficiency: bytes


class Symbols:
    """The symbols that have a target, as far as it is known; one per connection's service.

    A target that went is seen by whoever reads it (`forget`), and not waited for.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._head = store.keys.at(TARGET, "")
        self._known: dict[bytes, Symbol | str | None] = {}
        self._cursor = b"0"
        self._seen: set[bytes] = set()
        self._before: set[bytes] = set()
        self._sorted: tuple[list[Symbol], dict[str, str]] = ([], {})

    def look(self) -> tuple[list[Symbol], dict[str, str]]:
        """The symbols in order, and the keys that can't be one's: key to problem.

        A key of another template (`allocation:target:proposed:X`) is neither. Errors:
        RedisUnreachable, WireError.
        """
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
        """Begin from scratch: another server may answer."""
        self._cursor, self._seen, self._before = b"0", set(), set()
        self._sorted = ([], {})

    def _scan(self) -> bool:
        """Goes on looking, a third of a large keyspace at a time; True when it has been round."""
        store = self._store
        size = store.run("DBSIZE")
        whole = size <= SMALL_KEYSPACE or not self._before
        if whole:
            self._cursor = b"0"
        left = size if whole else size // SPREAD + COUNT
        if self._cursor == b"0":
            self._seen = set()
        pattern = store.keys.pattern(TARGET)
        while whole or left > 0:
            scan = ("SCAN", self._cursor, "MATCH", pattern, "COUNT", COUNT)
            self._cursor, keys = store.reply(scan)
            self._seen.update(keys)
            if self._cursor == b"0":
                return True
            left -= COUNT
        return False

    def _sort(self, keys: set[bytes]) -> tuple[list[Symbol], dict[str, str]]:
        symbols: list[Symbol] = []
        bad: dict[str, str] = {}
        known = self._known
        if len(known) > 2 * len(keys) + COUNT:
            known.clear()
        # In order, so that what a pass goes through lies side by side in memory.
        for raw in sorted(keys):
            if raw not in known:
                known[raw] = self._read(raw)
            entry = known[raw]
            if isinstance(entry, Symbol):
                symbols.append(entry)
            elif entry is not None:
                bad[text(raw)] = entry
        return symbols, bad

    def _read(self, raw: bytes) -> Symbol | str | None:
        """A symbol, why it is none, or None where the key is another's."""
        keys, key = self._store.keys, text(raw)
        name = keys.name(TARGET, key)
        if name is not None:
            ask_efficiency = scores.ask_efficiency(keys.at(EFFICIENCY, name))
            return Symbol(name, scores.ask_target(key), ask_efficiency)
        rest = key[len(self._head) :]
        return None if ":" in rest else f"its symbol {symbol_problem(rest)}"
