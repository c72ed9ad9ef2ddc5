"""The permit on the wire: a JSON string, or a hash where `permit_encoding` says so.

Source: docs/redis-contract.md#permit.
"""

from typing import Any

import msgspec

from qtctl.domain import numbers
from qtctl.domain.plans import Plan, notional
from qtctl.wire.schema.records import HINT, Flat, flag, pairs

PERMIT_HEAD: tuple[tuple[str, str], ...] = (
    ("granted", "true"),
    ("symbol", "the symbol"),
    ("decision", "EXECUTE"),
    (
        "computed_qty",
        "number, the plan's qty; for a close its close_qty where that is over 0; else 0",
    ),
    ("computed_notional", "number, abs(computed_qty) × price, USD, else 0"),
)
"""Name, and what it holds."""
PERMIT_CREATED = ("created_at", "epoch seconds with milliseconds, the server's clock")
_CREATED = b',"created_at":'
PERMIT_TAIL = (("consumed", "false"),)
_TAIL = b',"consumed":false'
_INF = float("inf")
_PERMIT_FLAGS = ("granted", "consumed")
_PERMIT_NUMBERS = ("computed_qty", "computed_notional", "created_at")
PERMIT_FIELDS = (
    *(name for name, _ in (*PERMIT_HEAD, PERMIT_CREATED, *PERMIT_TAIL)),
    *(field.name for field in HINT),
)
"""The names of all its fields."""


def _head(plan: Plan) -> dict[str, Any]:
    """The JSON values of PERMIT_HEAD."""
    qty = plan.permit_qty
    worth = notional(qty, plan.price)
    return {
        "granted": True,
        "symbol": plan.symbol,
        "decision": plan.decision,
        "computed_qty": qty,
        "computed_notional": 0.0 if worth is None or worth == _INF else worth,
    }


def permit_json(plan: Plan) -> tuple[bytes, bytes]:
    """The JSON of a permit before and after the value of created_at, which comes from the server's
    clock in the atomic step. It is still open: the fields of HINT follow there."""
    return msgspec.json.encode(_head(plan))[:-1] + _CREATED, _TAIL


def permit_hash(plan: Plan) -> Flat:
    """The same as flat fields for HSET, created_at empty; flags are 0 and 1."""
    head = [part for name, value in _head(plan).items() for part in (name, _hash_text(value))]
    return [*head, PERMIT_CREATED[0], "", "consumed", flag(False)]


def _hash_text(value: Any) -> str:
    if isinstance(value, bool):
        return flag(value)
    return repr(value) if isinstance(value, float) else str(value)


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
