"""Plan ids that are not Redis's own: a publisher that names its entries itself, in the wrong unit.

Redis makes ids in milliseconds of its clock (`XADD … *`), and never one below the last: one id in
microseconds puts all later ones, also those by `*`, tens of thousands of years ahead.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from qtctl.domain.entry_ids import ms_of, time_of
from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.pipe import Large
from qtctl.wire.client.store import Store
from qtctl.wire.queries.streams import StreamEntry, last
from qtctl.wire.schema.ids import unit_of
from qtctl.wire.schema.keys import GROUP
from qtctl.wire.schema.records import pairs, shortened, text

AHEAD = "ahead"
"""In place of a unit: in milliseconds, and over a minute ahead of Redis's clock."""
AHEAD_SEC = 60.0
LOOKED_AT = 200
NO_SOURCE = "a publisher without a source"

Command = Callable[..., str]
"""Makes a command line for redis-cli, of words."""


def trouble_of(entry_id: str, now_ms: int) -> str | None:
    """What is wrong with an id by the server's clock: `s`, `µs`, `ns`, AHEAD, or None."""
    ms = ms_of(entry_id)
    unit = unit_of(ms, now_ms)
    if unit != "ms":
        return unit
    return AHEAD if ms - now_ms > AHEAD_SEC * 1000 else None


class PlanIds(msgspec.Struct, frozen=True):
    """Why the ids of the plan stream can't be used. sources: who sends such ids, the most frequent
    first; groups: of consumers, beside the governors'."""

    stream: str
    last_id: str
    trouble: str
    ahead_sec: float
    sources: tuple[str, ...]
    groups: tuple[str, ...]

    @property
    def what(self) -> str:
        """What is wrong, and who does it."""
        if self.trouble == AHEAD:
            found = f"are {self.ahead_sec:,.0f} s ahead of Redis's clock"
        else:
            found = f"are in {self.trouble}, not in ms by Redis's clock"
        return (
            f"the ids of {self.stream} {found} (the last is {self.last_id}): ids of its own from "
            f"{', '.join(self.sources) or NO_SOURCE}"
        )

    @property
    def effect(self) -> str:
        """What follows."""
        opens = "every open is blocked (future_plan), also those of other publishers"
        if self.trouble == "s":
            opens = "every open is blocked (stale_plan or failover_quarantine)"
        return f"{opens}; closes pass, and how long they waited is unknown"

    def way_out(self, redis_cli: Command) -> tuple[str, ...]:
        """What to do, in this order."""
        first = f"let {', '.join(self.sources) or NO_SOURCE} publish with XADD … *"
        if self.trouble == "s":
            return (f"{first}: ids in ms are larger, so that all is well from then on",)
        steps = [
            f"stop it, and {first}",
            f"move the stream away: {self.rename(redis_cli)}",
            "the governor makes stream and group anew within a second",
        ]
        for group in self.groups:
            made = redis_cli("xgroup", "create", self.stream, group, "0", "mkstream")
            steps.append(f"make the group {group} anew: {made}")
        return (*steps, "start the publisher; what was not served it must send again")

    def rename(self, redis_cli: Command) -> str:
        """The command that makes room for a stream with sound ids, and keeps this one."""
        return redis_cli("rename", self.stream, f"{self.stream}.wrong-ids")


def plan_ids(store: Store, now_ms: int) -> PlanIds | None:
    """What is wrong with the ids of the plan stream, None for nothing. Errors: RedisUnreachable,
    WireError."""
    stream = store.keys.plans
    last_id = _last_id(store, stream)
    trouble = trouble_of(last_id, now_ms)
    if trouble is None:
        return None
    return PlanIds(
        stream=stream,
        last_id=last_id,
        trouble=trouble,
        ahead_sec=time_of(last_id) - now_ms / 1000,
        sources=_culprits(store, last(store, stream, LOOKED_AT, lambda _: True), now_ms),
        groups=tuple(it.name for it in xinfo.groups(store, stream) if it.name != GROUP),
    )


def _last_id(store: Store, stream: str) -> str:
    """The last id that it gave, also where its entry is trimmed: no later one can be below."""
    (info,) = store.batch([("XINFO", "STREAM", stream)], large=Large.SKIM)
    if not is_error(info):
        return xinfo.stream(info).last_id
    newest = last(store, stream, 1, lambda _: True)
    return newest[-1].id if newest else "0-0"


def _culprits(store: Store, entries: Sequence[StreamEntry], now_ms: int) -> tuple[str, ...]:
    """Who sent ids of its own: the first entry of each millisecond. What follows it in the same one
    had its id from Redis, which can't go below the last."""
    found: Counter[str] = Counter()
    before = -1
    for place, entry in enumerate(entries):
        ms = ms_of(entry.id)
        if ms != before and trouble_of(entry.id, now_ms):
            fields = entry.fields
            if place == 0:
                first = store.run("XRANGE", store.keys.plans, ms, "+", "COUNT", 1)
                fields = pairs(first[0][1]) if first else fields
            found[shortened(text(fields.get("source", "")) or NO_SOURCE, 40)] += 1
        before = ms
    return tuple(name for name, _ in found.most_common(3))
