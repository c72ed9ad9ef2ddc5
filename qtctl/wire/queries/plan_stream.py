"""The plan stream as a key: is it there, is it a stream, and was it deleted and made anew."""

from collections.abc import Sequence

import msgspec

from qtctl.domain.entry_ids import time_of
from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.queries.recent import Event
from qtctl.wire.schema.records import text

NO_ID = "0-0"


class PlanStream(msgspec.Struct, frozen=True):
    """other_type: what the key holds where that is no stream, else "". added: entries ever added,
    None where the server does not count them (Redis 6.2); first: the id of its oldest entry, "" for
    none; last_id: the highest id ever given."""

    name: str
    there: bool = False
    other_type: str = ""
    length: int = 0
    added: int | None = None
    first: str = ""
    last_id: str = NO_ID

    @property
    def last_at(self) -> float | None:
        """When the last entry came, also where it is trimmed; epoch seconds, None for never."""
        return None if self.last_id == NO_ID else time_of(self.last_id)

    @property
    def is_new(self) -> bool:
        """True if nothing was ever taken out of it, so that its first entry is its first."""
        if self.added is None:
            return self.last_id == NO_ID
        return self.length == self.added


def look(store: Store) -> PlanStream:
    """One round trip where it is one. Errors: RedisUnreachable, WireError (no permission)."""
    name = store.keys.plans
    (info,) = store.batch([("XINFO", "STREAM", name)])
    if not is_error(info):
        found = xinfo.stream(info)
        return PlanStream(
            name, True, length=found.length, added=found.added, first=found.first,
            last_id=found.last_id,
        )  # fmt: skip
    if xinfo.is_missing(info):
        return PlanStream(name)
    if not str(info).startswith("WRONGTYPE"):
        raise reply_error(info, name)
    (type_,) = store.batch([("TYPE", name)])
    return PlanStream(name, True, "another type" if is_error(type_) else text(type_))


def deleted_after(stream: PlanStream, events: Sequence[Event]) -> float | None:
    """When a plan was last judged before the stream was deleted (epoch seconds), None where nothing
    shows that it was: a verdict older than the first entry ever is about a plan of another one."""
    if stream.other_type or (stream.there and not stream.is_new):
        return None
    until = time_of(stream.first) if stream.first else float("inf")
    return max((it.at for it in events if it.is_verdict and it.at < until), default=None)
