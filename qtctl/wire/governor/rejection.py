"""What is kept of a plan that can't be read, in `governor.rejected`."""

import hashlib
from collections.abc import Sequence
from typing import Any

from qtctl.domain.reasons import Reason
from qtctl.wire.client.skimmer import KEEP_BYTES, length_of

KEEP_RAW_BYTES = 65_536
KEEP_RAW_FIELDS = 3_000
"""Lua can't pass more arguments in one call; no sane plan has so many fields."""


def rejected(entry_id: str, raw: Sequence[bytes], problem: str) -> list[Any]:
    """The fields of the record, flat."""
    kept: list[Any] = [
        "reason", Reason.INVALID_PLAN.value, "entry_id", entry_id,
        "sha256", sha256(raw),
        "problem", problem.encode("utf-8", "backslashreplace"),
    ]  # fmt: skip
    left = KEEP_RAW_BYTES
    for name, value in list(zip(raw[::2], raw[1::2], strict=False))[:KEEP_RAW_FIELDS]:
        if left <= 0:
            break
        name = name[:left]
        value = value[: left - len(name)]
        kept += [b"raw:" + name, value]
        left -= len(name) + len(value)
    return kept


def sha256(raw: Sequence[bytes]) -> str:
    """The digest of an entry: each name and value as a netstring (`5:price,`), in order; of a value
    that is longer than KEEP_BYTES the beginning, behind the length of all of it."""
    whole = hashlib.sha256()
    for part in raw:
        whole.update(b"%d:" % length_of(part))
        whole.update(part[:KEEP_BYTES])
        whole.update(b",")
    return whole.hexdigest()
