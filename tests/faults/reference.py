"""A second reading of plans, scores and targets, written from docs/rules.md alone.

It shares no code with qtctl: where the two disagree, one of them has not understood the text. What
the text leaves open, and what is taken here for it: blanks are space, tab, CR and LF; format
characters and lone surrogates count as control characters; a time in ISO 8601 has 64 characters at
most; an open is bad input with a byte that is not UTF-8, with a field of more than 65,536
characters, or with one that is there twice with different values, a close only where it is read by
that field; a price of 0 is no price.
"""

import hashlib
import math
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

Raw = list[tuple[bytes, bytes]]
"""An entry as it lies in Redis."""

Parser = Callable[[bytes], float | None]

OPENING = {"OPEN_PROPOSED", "ENTRY_PROPOSED", "OPEN", "ENTRY"}
CLOSING = {
    "FULL_CLOSE_PROPOSED", "FULL_CLOSE", "PARTIAL_CLOSE_PROPOSED", "PARTIAL_CLOSE", "PARTIAL_75",
    "PARTIAL_50", "PARTIAL_25", "PARTIAL_75_PROPOSED", "PARTIAL_50_PROPOSED",
    "PARTIAL_25_PROPOSED", "MANUAL_CLOSE", "RECONCILE_CLOSE", "CLOSE", "EXIT", "REDUCE",
    "STOP_LOSS_HIT", "TAKE_PROFIT_HIT", "UPDATE_SL",
}  # fmt: skip
NEEDED = {b"plan_id", b"symbol", b"decision", b"reduceOnly", b"qty", b"action", b"side"}
"""What a close is read by."""
TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")
MOST_CHARS = 65_536
KEPT_BYTES = 65_536
KEPT_FIELDS = 3_000


class Read(NamedTuple):
    """A readable plan. Numbers that are absent are None."""

    plan_id: str
    symbol: str
    kind: str
    execute: bool
    qty: float | None
    price: float | None
    kill_score: float | None


def plan(raw: Raw) -> Read | None:
    """The plan that an entry holds; None where it is bad input."""
    entry: dict[bytes, bytes] = {}
    twice = {name for name, value in raw if entry.setdefault(name, value) != value}
    if twice & NEEDED:
        return None
    plan_id, symbol = _text(entry, b"plan_id"), _text(entry, b"symbol")
    decision = _text(entry, b"decision")
    if not plan_id or not symbol or not decision:
        return None
    if not _named(plan_id) or plan_id.startswith(("p33:", "p26:")):
        return None
    if not _named(symbol) or ":" in symbol:
        return None
    flag = entry.get(b"reduceOnly", b"").lower()
    if flag and flag not in [word.encode() for word in TRUE + FALSE]:
        return None
    if not _absent_or(number, entry, b"qty"):
        return None
    kind = _kind(entry, flag.decode())
    if kind == "open" and (twice or not _sound_open(entry)):
        return None
    for name in twice:
        del entry[name]
    price = _value(number, entry, b"price") or _value(number, entry, b"entry_price")
    return Read(
        plan_id,
        symbol,
        kind,
        decision == "EXECUTE",
        _value(number, entry, b"qty"),
        price or None,
        _value(ratio, entry, b"kill_score"),
    )


def _kind(entry: dict[bytes, bytes], flag: str) -> str:
    action, side = _upper(entry, b"action"), _upper(entry, b"side")
    if flag in TRUE:
        return "open" if action in OPENING else "close"
    if flag in FALSE:
        return "open"
    return "close" if action in CLOSING or side == "CLOSE" else "open"


def _sound_open(entry: dict[bytes, bytes]) -> bool:
    for name, value in entry.items():
        if _decoded(name) is None or _decoded(value) is None:
            return False
        if len(value.decode()) > MOST_CHARS:
            return False
    return (
        _absent_or(ratio, entry, b"kill_score")
        and _absent_or(number, entry, b"price")
        and _absent_or(number, entry, b"entry_price")
        and _absent_or(moment, entry, b"timestamp")
    )


def _named(text: str) -> bool:
    if len(text) > 64:
        return False
    bad = {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"}
    return not any(unicodedata.category(char) in bad or char in "*?[]{}" for char in text)


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _text(entry: dict[bytes, bytes], name: bytes) -> str | None:
    """None where it is not UTF-8; empty where it is absent."""
    return _decoded(entry.get(name, b""))


def _upper(entry: dict[bytes, bytes], name: bytes) -> str:
    return "".join(char.upper() if char.isascii() else char for char in _text(entry, name) or "")


def _absent_or(kind: Parser, entry: dict[bytes, bytes], name: bytes) -> bool:
    return not entry.get(name) or kind(entry[name]) is not None


def _value(kind: Parser, entry: dict[bytes, bytes], name: bytes) -> float | None:
    return kind(entry[name]) if entry.get(name) else None


def number(raw: bytes) -> float | None:
    """A finite ASCII decimal, blanks around it trimmed."""
    text = raw.strip(b" \t\r\n")
    if not text or text.translate(None, b"0123456789.eE+-"):
        return None
    mantissa = text.lower().partition(b"e")[0]
    if mantissa.startswith(b"+") or not any(48 <= byte <= 57 for byte in mantissa):
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return abs(value) if value == 0 else value if math.isfinite(value) else None


def ratio(raw: bytes) -> float | None:
    value = number(raw)
    return value if value is not None and 0 <= value <= 1 else None


def moment(raw: bytes) -> float | None:
    """Seconds since the epoch from seconds, milliseconds or ISO 8601."""
    value = number(raw)
    if value is not None:
        return value / 1000 if value > 1e11 else value
    text = raw.strip(b" \t\r\n")
    if len(text) > 64:
        return None
    try:
        at = datetime.fromisoformat(text.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def score(fields: dict[bytes, bytes] | str, now: float) -> tuple[str, float | None]:
    """What an efficiency hash counts as with the defaults, and its score where that is known.

    A str stands for a key of another type."""
    if isinstance(fields, str):
        return "redis_error", None
    if not fields:
        return "missing_eff", None
    value, confidence = (
        ratio(fields.get(name, b"")) for name in (b"efficiency_score", b"confidence")
    )
    at = moment(fields.get(b"ts") or fields.get(b"timestamp") or b"")
    if value is None or confidence is None or at is None:
        return "redis_error", None
    if now - at > 600 or at - now > 60:
        return "stale_eff", value
    return ("low_conf" if confidence < 0.65 else "ok"), value


def proposal(usd: bytes, reason: str, value: float | None) -> tuple[str, str] | None:
    """base_target and proposed_target on the wire; None where the target can't be read."""
    base = number(usd)
    if base is None or base < 0:
        return None
    factor = 1.0
    if reason == "ok" and value is not None:
        factor = max(0.5, min(1.5, 1.0 + 1.0 * (value - 0.5)))
    if not math.isfinite(base * factor):
        return None
    return f"{base:.2f}", f"{base * factor:.2f}"


def digest(raw: Raw) -> bytes:
    """SHA-256 of the entry as netstrings; of a value over 256 KiB the first 256 KiB."""
    parts = [part for pair in raw for part in pair]
    whole = b"".join(str(len(part)).encode() + b":" + part[:262_144] + b"," for part in parts)
    return hashlib.sha256(whole).hexdigest().encode()


def kept(raw: Raw) -> Raw:
    """What `governor.rejected` keeps of it: to the byte, cut at 64 KiB (and 3,000 fields)."""
    out: Raw = []
    budget = KEPT_BYTES
    for name, value in raw[:KEPT_FIELDS]:
        if budget == 0:
            break
        whole = (name + value)[:budget]
        out.append((b"raw:" + whole[: len(name)], whole[len(name) :]))
        budget -= len(whole)
    return out
