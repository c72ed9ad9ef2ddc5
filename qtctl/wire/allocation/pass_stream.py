"""`stream:allocation.pass`: what each pass decided on, for the history.

2 h or 64 MiB are kept, whichever is less. Source: docs/redis-contract.md#pass.
"""

import hashlib

import msgspec

from qtctl import __version__, clock
from qtctl.domain.allocation import AllocationRules
from qtctl.wire.client.shapes import Command
from qtctl.wire.schema.keys import (
    ALLOCATION_RULES,
    RULES_TTL_SEC,
    STREAM_KEEP_BYTES,
    STREAM_KEEP_SEC,
    Keys,
)
from qtctl.wire.schema.pass_entry import Packing, entry

OVERHEAD_BYTES = 400
"""Of an entry beside its block, about."""
REFRESH_SEC = 600.0
"""How often the rules, which passes name by digest, are written again."""


class PassStream:
    """The commands that publish each pass."""

    def __init__(self, keys: Keys, rules: AllocationRules, interval_sec: float) -> None:
        self._keys = keys
        self._interval_sec = interval_sec
        record = msgspec.structs.asdict(rules) | {"interval_sec": interval_sec}
        self._rules_json = msgspec.json.encode(record)
        self.rules = hashlib.sha256(self._rules_json).hexdigest()[:16]
        self._refreshed_at: float | None = None

    def commands(self, number: int, instance: str, packing: Packing, ts_ms: int) -> list[Command]:
        """What publishes this pass: its entry, and now and then the rules. number, instance, ts_ms:
        as in Pass."""
        flat = entry(number, ts_ms, instance, __version__, self.rules, packing)
        by_bytes = STREAM_KEEP_BYTES // (len(flat[-1]) + OVERHEAD_BYTES)
        if by_bytes * self._interval_sec < STREAM_KEEP_SEC:
            trim = ("MAXLEN", "~", str(max(1, by_bytes)))
        else:
            trim = ("MINID", "~", str(max(0, ts_ms - STREAM_KEEP_SEC * 1000)))
        out: list[Command] = [("XADD", self._keys.passes, *trim, "*", *flat)]
        at = clock.monotonic()
        if self._refreshed_at is None or at - self._refreshed_at >= REFRESH_SEC:
            self._refreshed_at = at
            key = self._keys.at(ALLOCATION_RULES, self.rules)
            out.append(("SET", key, self._rules_json, "EX", RULES_TTL_SEC))
        return out

    def forget(self) -> None:
        """Writes the rules with the next pass: another server may answer."""
        self._refreshed_at = None
