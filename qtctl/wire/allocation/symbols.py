"""Which symbols have a live target: the server reports what changed, or SCAN finds it."""

from collections.abc import Iterable

import msgspec

from qtctl import clock
from qtctl.domain.readings import EFF_FIELDS, TARGET_FIELDS
from qtctl.errors import WireError
from qtctl.wire.allocation import scores
from qtctl.wire.client.store import Store
from qtctl.wire.client.tracking import Tracking
from qtctl.wire.schema.keys import EFFICIENCY, PROPOSED, TARGET
from qtctl.wire.schema.records import shortened, text

SMALL_KEYSPACE = 100_000
"""Up to this many keys, one pass scans all of them."""
SPREAD = 3
"""Above that, a round of SCAN takes this many passes; it finds a new target within them."""
ROUND_SEC = 3600.0
"""Where the server reports what changed, a round is due this long after the last: what it did not
report, and nobody suspected, is found then."""
COUNT = 5_000
"""Keys per SCAN call: large, so that other systems' keys cost few round trips."""


class Symbol(msgspec.Struct, frozen=True, gc=False):
    """A symbol and the commands that read its target and score, packed for the wire."""

    name: str
    ask_target: bytes
    ask_efficiency: bytes


class Symbols:
    """The symbols that have a target, as far as known.

    While the server reports changes (`tracking.problem` is None) a look costs the same however many
    keys others have: a key that changed is added, and one that was found gone when its target was
    read is dropped. Where it does not, each look scans.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._proposed = store.keys.at(PROPOSED, "").encode()
        self.tracking = Tracking(store, store.keys.at(TARGET, ""), self._no_news)
        self._known: dict[bytes, Symbol | str | None] = {}
        self._round_due = 0.0
        self.forget()
        self.gap: str | None = None
        """Why changes may have been missed before the last look, which a round of SCAN finds that
        begins with it; "" at the start, None where none were."""

    def forget(self) -> None:
        """Starts from scratch, since another server may answer: the next look sees all keys."""
        self.tracking.stop()
        self._cursor = b"0"
        self._seen: set[bytes] = set()
        self._found: set[bytes] = set()
        self._scanning = self._again = False
        """A round of SCAN is under way; another one must follow, since something was missed."""
        self._suspicion: str | None = None
        self._sorted: tuple[list[Symbol], dict[str, str]] = ([], {})

    def look(self) -> tuple[list[Symbol], dict[str, str]]:
        """The symbols in order, and the keys whose symbol is invalid: key to problem. Our own
        proposals (`allocation:target:proposed:X`) are neither. Errors: RedisUnreachable,
        WireError."""
        changed = self.tracking.changed()
        self.gap = self.tracking.gap or self._suspicion or self.tracking.gap
        self._suspicion = None
        if self.gap is not None:
            self._again, self._scanning = self._scanning, True
        elif self.tracking.problem is not None or clock.monotonic() >= self._round_due:
            self._scanning = True
        found = self._found
        if self._scanning:
            if self._scan():
                self._scanning, self._again = self._again, False
                self._round_due = clock.monotonic() + ROUND_SEC
                found = self._seen
            elif not self._seen <= found:
                found = found | self._seen
        if changed:
            found = self._with(changed, found)
        if found != self._found:
            self._found = found
            self._sorted = self._sort(found)
        return self._sorted

    def gone(self, symbols: Iterable[Symbol]) -> None:
        """Drops symbols whose target was not there when it was read. (While each look scans, the
        scan does: it may be back, and unreported.)"""
        raw = {self._store.keys.at(TARGET, symbol.name).encode() for symbol in symbols}
        if raw and self.tracking.problem is None:
            self._found = self._found - raw
            self._sorted = self._sort(self._found)

    def suspect(self, why: str) -> None:
        """Begins a round at the next look: the server may not have reported all that changed."""
        self._suspicion = why

    def _no_news(self, raw: bytes) -> bool:
        """True for a key whose change tells nothing: a proposal, or a target that each pass reads
        anyway."""
        if raw.startswith(self._proposed):
            return True
        return raw in self._found and isinstance(self._known.get(raw), Symbol)

    def _with(self, changed: set[bytes], found: set[bytes]) -> set[bytes]:
        """found with the keys that changed. Whether a target is there shows when it is read; keys
        that can be none are not read, so they are asked for."""
        read = {raw: self._entry(raw) for raw in changed}
        invalid = [raw for raw, entry in read.items() if isinstance(entry, str)]
        there = self._store.batch([("EXISTS", raw) for raw in invalid])
        gone = {raw for raw, reply in zip(invalid, there, strict=True) if reply == 0}
        new = {raw for raw, entry in read.items() if entry is not None}
        return (found | new) - gone

    def _scan(self) -> bool:
        """Scans on, a third of a large keyspace at a time; True at the end of a round."""
        store = self._store
        try:
            size = store.run("DBSIZE")
        except WireError:
            size = 0
        whole = size <= SMALL_KEYSPACE or not self._found
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
            entry = self._entry(raw)
            if isinstance(entry, Symbol):
                symbols.append(entry)
            elif entry is not None:
                bad[shortened(text(raw))] = entry
        return symbols, bad

    def _entry(self, raw: bytes) -> Symbol | str | None:
        if raw not in self._known:
            self._known[raw] = self._read(raw)
        return self._known[raw]

    def _read(self, raw: bytes) -> Symbol | str | None:
        """A symbol, why it is invalid, or None for a key of another template."""
        keys, key = self._store.keys, text(raw)
        name = keys.name(TARGET, key)
        if name is not None:
            ask_efficiency = scores.ask(keys.at(EFFICIENCY, name), EFF_FIELDS)
            return Symbol(name, scores.ask(key, TARGET_FIELDS), ask_efficiency)
        problem = keys.misnamed(TARGET, key)
        return problem and f"its symbol {problem}"
