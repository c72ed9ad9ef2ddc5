"""When which service started and stopped, with the settings it ran with: what is left of a service
after its record is gone. Source: docs/redis-contract.md#run."""

from collections.abc import Mapping
from typing import Final

from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import RUNS_TTL_SEC

STARTED: Final = "started"
STOPPED: Final = "stopped"
KEPT: Final = 1_000


def note(store: Store, event: str, fields: Mapping[str, str]) -> None:
    """Adds one entry. Errors: RedisUnreachable; WireError where Redis refuses it."""
    key = store.keys.runs
    flat = [part for pair in ({"event": event} | dict(fields)).items() for part in pair]
    add = ("XADD", key, "MAXLEN", "~", KEPT, "*", *flat)
    added, _ = store.batch([add, ("EXPIRE", key, RUNS_TTL_SEC)])
    if is_error(added):
        raise reply_error(added, key)
