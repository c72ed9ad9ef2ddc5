"""The proposal and the hint on the wire: their fields drive the encoder, the decoder and the page
docs/redis-contract.md. permit.py and decision.py have the larger records.

Bytes from Redis are decoded here, once: with `backslashreplace` a bad byte is visible and never
raises. Source: docs/redis-contract.md#how-values-are-written.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from qtctl.domain import numbers
from qtctl.domain.allocation import Proposal
from qtctl.domain.downsize import Hint

T = TypeVar("T")


class Field(msgspec.Struct, Generic[T], frozen=True):
    """One field: its name, what it holds, and how it is written from the record's source."""

    name: str
    holds: str
    text: Callable[[T], str]


Flat = list[str]
"""name, value, name, value, …: as HSET and XADD take them."""


class Record(Generic[T]):
    """The fields of a record, in their order."""

    def __init__(self, *fields: Field[T]) -> None:
        self._fields = fields
        # Written for every symbol and plan: only what differs is made anew.
        self._words = [part for field in fields for part in (field.name, "")]
        self._texts = [field.text for field in fields]

    def __iter__(self) -> Iterator[Field[T]]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def flat(self, source: T) -> Flat:
        """One record: name, value, …"""
        words = self._words.copy()
        words[1::2] = [text(source) for text in self._texts]
        return words


def text(raw: Any) -> str:
    """Bytes as text; a byte that is not UTF-8 becomes a visible escape."""
    return raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else str(raw)


def texts(reply: Sequence[Any]) -> list[str]:
    """The texts in a reply to HMGET; "" for a field that is not there."""
    return [text(value or b"") for value in reply]


def shortened(name: str, most: int = 120) -> str:
    """A name that others chose, cut so that a line of a log or a page can have it."""
    return name if len(name) <= most else f"{name[:most]}…"


def pairs(raw: Sequence[Any]) -> dict[str, str]:
    """A flat reply (HGETALL, the body of a stream entry) as a mapping."""
    try:
        # One decoding for all of them: a list of 50,000 decisions has four million words.
        whole = b"\0".join(raw).decode("utf-8", "backslashreplace").split("\0")
    except TypeError:
        whole = []
    if len(whole) != len(raw):  # One of them is no bytes, or has a NUL in it.
        whole = [text(each) for each in raw]
    return dict(zip(whole[::2], whole[1::2], strict=True))


def from_json(raw: Any, shape: type[T], otherwise: T) -> T:
    """What JSON holds as this type; `otherwise` where it can't be read as that."""
    try:
        return msgspec.json.decode(text(raw), type=shape)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return otherwise


# Efficiency, as three records show it ----------------------------------------------------------


def _score(score: float | None) -> str:
    return "" if score is None else numbers.four(score)


def _confidence(confidence: float | None) -> str:
    return "" if confidence is None else numbers.confidence(confidence)


def flag(value: bool) -> str:
    return "1" if value else "0"


PROPOSAL_TIME: Field[int] = Field("ts_epoch", "time of the pass, epoch seconds", str)
"""Comes first, and is that of all proposals of a pass."""
PROPOSAL: Record[Proposal] = Record(
    Field("symbol", "the symbol", lambda p: p.symbol),
    Field("base_target", "the live target, USD", lambda p: numbers.usd(p.base_usd)),
    Field("proposed_target", "base × multiplier, USD", lambda p: numbers.usd(p.proposed_usd)),
    Field("multiplier", "0.5 to 1.5 by default", lambda p: p.multiplier_text),
    Field("eff_score", "0 to 1, empty if unknown", lambda p: _score(p.score)),
    Field("eff_confidence", "0 to 1, empty if unknown", lambda p: _confidence(p.confidence)),
    Field("eff_stale", "0 or 1", lambda p: flag(p.stale)),
    Field(
        "reason",
        "ok, missing_eff, stale_eff, low_conf or redis_error",
        lambda p: p.reason,
    ),
    Field("mode", "always shadow", lambda p: "shadow"),
)
PROPOSAL_FIELDS: tuple[Field[Any], ...] = (PROPOSAL_TIME, *PROPOSAL)

HINT: Record[Hint] = Record(
    Field("eff_score", "0 to 1, empty if unknown", lambda h: _score(h.efficiency.score)),
    Field(
        "eff_confidence", "0 to 1, empty if unknown", lambda h: _confidence(h.efficiency.confidence)
    ),
    Field("eff_stale", "0 or 1", lambda h: flag(h.efficiency.stale)),
    Field("eff_factor", "what to multiply a cap with", lambda h: numbers.four(h.factor)),
    Field("eff_action", "NONE or DOWNSIZE, never a block", lambda h: h.action),
    Field(
        "eff_reason",
        "ok, missing_eff, stale_eff, low_conf or redis_error",
        lambda h: h.efficiency.reason,
    ),
    Field("downsize_factor", "= eff_factor", lambda h: numbers.four(h.factor)),
    Field("extra_cooldown_sec", "seconds, a hint", lambda h: str(h.extra_cooldown_sec)),
)
