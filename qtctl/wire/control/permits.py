"""Taking a permit, as the consumer does."""

from typing import Any

from qtctl.errors import WireError
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import PERMIT
from qtctl.wire.schema.permit import permit_fields


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
