"""The last half hour, minute by minute, as far as the streams still know it: how many permits and
blocks there were, and how far the governors were behind.

A minute that is not known is left out, never 0.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

from qtctl.domain import numbers
from qtctl.domain.entry_ids import time_of
from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.queries import decisions, streams
from qtctl.wire.queries.recent import Event
from qtctl.wire.schema.ids import order
from qtctl.wire.schema.records import pairs

MINUTES = 30
SAMPLES = 4
"""Decisions of each minute that are asked how long the queue was."""
MOST_PLANS = 10_000
"""Entries of the plan stream that are looked at, the newest."""
PerMinute = dict[int, int]
"""By the minute: epoch seconds by 60."""


def minutes(now: float) -> range:
    """The last MINUTES minutes, that of now included, the oldest first."""
    return range(int(now // 60) - MINUTES + 1, int(now // 60) + 1)


def counted(events: Sequence[Event], event: str, known_from: float, now: float) -> PerMinute:
    """How many events of a kind there were in each of the last minutes that is known whole."""
    window = minutes(now)
    found = Counter(int(it.at // 60) for it in events if it.event == event)
    return {minute: found[minute] for minute in window if minute * 60 >= known_from}


def begins_at(store: Store, stream: str) -> float | None:
    """Since when a stream is whole, epoch seconds: the time of the oldest entry that it still has,
    or the minute of it where none was ever removed; None where there is no entry. Errors:
    RedisUnreachable."""
    (reply,) = store.batch([("XINFO", "STREAM", stream)])
    if is_error(reply):
        return None
    found = xinfo.stream(reply)
    if not found.first:
        return None
    at = time_of(found.first)
    return at // 60 * 60 if found.added == found.length else at


def queued(store: Store, now: float) -> PerMinute:
    """How many plans stood behind the one that was judged: the most of each minute, by a few of its
    decisions. Errors: RedisUnreachable, WireError."""
    window = minutes(now)
    judged = decisions.by_id(store, list(dict.fromkeys(_sampled(store, window)))).values()
    plans = streams.since(store, store.keys.plans, window[0] * 60.0, MOST_PLANS)
    added = [order(entry.id) for entry in reversed(plans.entries)]
    found: PerMinute = {}
    for decision in judged:
        entry_id, at = decision.get("entry_id", ""), numbers.number(decision.get("decided_at", ""))
        # The entry itself must be there: else some of those behind it may be trimmed as well.
        if not entry_id or at is None or not added or order(entry_id) < added[0]:
            continue
        until = (int(at * 1000), 2**64)
        behind = bisect_right(added, until) - bisect_right(added, order(entry_id))
        minute = int(at // 60)
        if minute in window:
            found[minute] = max(found.get(minute, 0), behind)
    return found


def _sampled(store: Store, window: range) -> list[str]:
    """Plans that were judged in each minute, its last ones."""
    asks = [
        ("XREVRANGE", store.keys.events, (minute + 1) * 60_000 - 1, minute * 60_000,
         "COUNT", SAMPLES)
        for minute in window
    ]  # fmt: skip
    fields = [pairs(raw) for reply in store.batch(asks) if not is_error(reply) for _, raw in reply]
    judged = [it for it in fields if it.get("event") in ("permitted", "blocked")]
    return [it["plan_id"] for it in judged if it.get("plan_id")]
