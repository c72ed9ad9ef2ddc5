"""Taking a permit, as the consumer does."""

from typing import Any

from qtctl.domain import numbers
from qtctl.errors import WireError
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import PERMIT
from qtctl.wire.schema.permit import permit_fields

MAX_AHEAD_SEC = 60.0


def void(fields: dict[str, Any], now: float, ttl_sec: float) -> str:
    """Why a permit must not be acted on, "" where it may; now: the server's clock, epoch seconds.
    Its lifetime goes by that clock: where it stepped back, a permit lives longer than it may."""
    at = numbers.number(str(fields.get("created_at", "")))
    age = 0.0 if at is None else now - at
    if age > ttl_sec:
        return f"it is {age:.0f} s old, and a permit lives {ttl_sec:g} s"
    if age < -MAX_AHEAD_SEC:
        return f"it was created {-age:.0f} s ahead of the server's clock"
    return ""


def take_permit(store: Store, plan_id: str) -> dict[str, Any] | None:
    """Takes a permit: its fields once, None for everybody after. Errors: WireError where the key
    holds no permit (it is gone then, as with any consumer)."""
    keys = (store.keys.at(PERMIT, plan_id), store.keys.permits)
    raw = store.script("take_permit", keys, (plan_id,))
    if raw is None:
        return None
    fields = permit_fields(raw)
    if fields is None:
        raise WireError(f"{keys[0]} held no permit: neither JSON object nor hash")
    return fields
