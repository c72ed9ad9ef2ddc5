"""The form in which a decision keeps a text that may be long.

A module of its own, apart from the names: help pages check names, and need no hashing.
Source: docs/redis-contract.md.
"""

import hashlib

MAX_STORED_BYTES = 64
"""Longer values would push the decision hash out of Redis's compact encoding."""


def stored(text: str) -> str:
    """The form in which a decision keeps a text: itself, or where it is over 64 bytes of UTF-8
    its beginning and a digest of the whole, so that two different texts stay different."""
    if len(text) <= MAX_STORED_BYTES and text.isascii():
        return text
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= MAX_STORED_BYTES:
        return raw.decode("utf-8")
    mark = hashlib.sha256(raw).hexdigest()[:16]
    return raw[: MAX_STORED_BYTES - 17].decode("utf-8", "ignore") + "~" + mark
