"""The permit on the wire: a JSON string, or a hash where `permit_encoding` says so.

Source: docs/redis-contract.md#permit.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from qtctl.domain import numbers
from qtctl.domain.plans import Plan, notional
from qtctl.wire.schema.records import HINT, Flat, flag, pairs

PermitField = tuple[str, str, Callable[[Plan], Any]]
"""Name, what it holds, and its JSON value."""

PERMIT_HEAD: tuple[PermitField, ...] = (
    ("granted", "true", lambda p: True),
    ("symbol", "the symbol", lambda p: p.symbol),
    ("decision", "EXECUTE", lambda p: p.decision),
    (
        "computed_qty",
        "number, the plan's qty; for a close its close_qty where that is over 0; else 0",
        lambda p: p.permit_qty,
    ),
    (
        "computed_notional",
        "number, abs(computed_qty) × price, USD, else 0",
        lambda p: _finite(notional(p.permit_qty, p.price)),
    ),
)
PERMIT_CREATED = ("created_at", "epoch seconds with milliseconds, the server's clock")
_CREATED = b',"created_at":'
PERMIT_TAIL: tuple[PermitField, ...] = (("consumed", "false", lambda p: False),)
_TAIL = b',"consumed":false'
PERMIT_FIELDS = (
    *(name for name, _, _ in PERMIT_HEAD),
    PERMIT_CREATED[0],
    *(name for name, _, _ in PERMIT_TAIL),
    *(field.name for field in HINT),
)
"""The names of all its fields."""


def _finite(value: float | None) -> float:
    return value if value is not None and abs(value) < float("inf") else 0.0


def permit_json(plan: Plan) -> tuple[bytes, bytes]:
    """The JSON of a permit before and after the value of created_at, which comes from the server's
    clock in the atomic step. It is still open: the fields of HINT follow there."""
    head = {name: value(plan) for name, _, value in PERMIT_HEAD}
    return msgspec.json.encode(head)[:-1] + _CREATED, _TAIL


def permit_hash(plan: Plan) -> Flat:
    """The same as flat fields for HSET, created_at empty; flags are 0 and 1."""
    head = [part for name, _, of in PERMIT_HEAD for part in (name, _hash_text(of(plan)))]
    tail = [part for name, _, of in PERMIT_TAIL for part in (name, _hash_text(of(plan)))]
    return [*head, PERMIT_CREATED[0], "", *tail]


def _hash_text(value: Any) -> str:
    if isinstance(value, bool):
        return flag(value)
    return repr(value) if isinstance(value, float) else str(value)


_PERMIT_FLAGS = ("granted", "consumed")
_PERMIT_NUMBERS = ("computed_qty", "computed_notional", "created_at")


def permit_fields(raw: Any) -> dict[str, Any] | None:
    """A permit as read, from the JSON string (bytes) or the flat hash (list): the same mapping.
    None where it is neither: a reader then says so instead of guessing."""
    if isinstance(raw, bytes):
        try:
            found = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return found if isinstance(found, dict) else None
    fields: dict[str, Any] = dict(pairs(raw))
    for name in _PERMIT_FLAGS:
        if name in fields:
            fields[name] = fields[name] in ("1", "true")
    for name in _PERMIT_NUMBERS:
        value = numbers.number(fields.get(name, ""))
        if value is not None:
            fields[name] = value
    return fields or None
