"""`--numbers`: the fields that hold a number are JSON numbers, and null where they are empty.

Only these fields, whatever their value: an id or a symbol of digits stays text, and so does what is
no number.
"""

from collections.abc import Mapping
from typing import Any

from qtctl.domain import numbers
from qtctl.wire.schema.decision import DECISION_FIELDS
from qtctl.wire.schema.permit import PERMIT_FIELDS
from qtctl.wire.schema.records import PROPOSAL_FIELDS

_TEXTS = frozenset(
    {
        *("verdict", "reason", "plan_id", "entry_id", "symbol", "kind", "action", "side", "source"),
        *("eff_action", "eff_reason", "kill_key", "kill_value", "instance", "version", "limits"),
        *("mode", "granted", "decision", "consumed"),
    }
)
_OF_OTHERS = frozenset(
    ["timestamp", "ts", "entry_price", "close_qty", "efficiency_score", "confidence", "target_usd"]
)
"""What upstream writes into plans, scores and targets, beside what stands in our records too."""
FIELDS = (
    _OF_OTHERS
    | (
        {name for name, _ in DECISION_FIELDS}
        | {field.name for field in PROPOSAL_FIELDS}
        | set(PERMIT_FIELDS)
    )
    - _TEXTS
)
"""The fields of all our records but those that are words, whatever record they stand in."""


def as_numbers(record: Any) -> Any:
    """A JSON value with its numbers as numbers."""
    if isinstance(record, Mapping):
        return {
            name: _number(value) if name in FIELDS else as_numbers(value)
            for name, value in record.items()
        }
    return [as_numbers(each) for each in record] if isinstance(record, list) else record


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not value:
        return None
    found = numbers.number(value)
    if found is None:
        return value
    text = value.strip()
    whole = text.removeprefix("-").isdigit()
    return int(text) if whole else found
