"""How much of `stream:governor.decisions` is kept: 2 h or 64 MiB, whichever is less.

Source: docs/redis-contract.md.
"""

from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import STREAM_KEEP_BYTES, STREAM_KEEP_SEC

FIRST_MAXLEN = STREAM_KEEP_BYTES // 1024
"""Until it is known what an entry takes: less than a KiB, so this keeps within the bound."""
FEW = 100
"""Entries that say nothing yet about what one takes."""


class DecisionStream:
    """Trims by time, and finds how many entries the bytes allow; the atomic step trims by that
    number as it writes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.maxlen = FIRST_MAXLEN

    def trim(self, now_ms: int) -> None:
        """Drops what is over 2 h old. now_ms: the server's clock. Errors: RedisUnreachable;
        WireError where Redis refuses, after which the last number stands."""
        key, oldest = self._store.keys.decisions, max(0, now_ms - STREAM_KEEP_SEC * 1000)
        trimmed, count, size = self._store.batch(
            [
                ("XTRIM", key, "MINID", "~", str(oldest)),
                ("XLEN", key),
                ("MEMORY", "USAGE", key),
            ]
        )
        for reply in (trimmed, count, size):
            if is_error(reply):
                raise reply_error(reply, key)
        if count >= FEW and size:
            self.maxlen = max(FEW, STREAM_KEEP_BYTES * count // size)
