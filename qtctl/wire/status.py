"""All that one screen about the two loops needs, in a handful of round trips.

Nothing is scanned but the service records; streams are read back over a bounded window.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from qtctl.errors import WireError
from qtctl.wire import kill_switch, permit_book, presence_log, queue_inspection, streams
from qtctl.wire.kill_switch import KillKey
from qtctl.wire.permit_book import Held
from qtctl.wire.presence_log import Running
from qtctl.wire.queue_inspection import Group
from qtctl.wire.records import text
from qtctl.wire.store import Server, Store

SERVICES = ("allocation", "governor")
RATE_SEC = 300.0
"""Plans per minute are the average of so long."""
MOST_EVENTS = 10_000
STUCK_MS = 60_000


class KillKeys(msgspec.Struct, frozen=True):
    """The setting of a governor that says which names are its kill switch."""

    kill_keys: tuple[str, ...]


class Lately(msgspec.Struct, frozen=True):
    """What the events say. since: from when on (epoch seconds); cut: a cap left out older ones.
    per_minute: plans decided a minute, over the last five; blocks: reason to count."""

    since: float
    cut: bool
    permitted: int
    blocked: int
    per_minute: float
    blocks: dict[str, int]


class Status(msgspec.Struct, frozen=True):
    """now: the server's clock, epoch seconds. server: None where this user may not ask (INFO).
    group: the governors' own, None where it is not there. proposed: symbols of the last pass, by
    the stream; None where that can't be told."""

    now: float
    server: Server | None
    services: tuple[Running, ...]
    group: Group | None
    permits: tuple[Held, ...]
    kill: tuple[KillKey, ...]
    plans_per_minute: float | None
    lately: Lately


def read(store: Store, kill_keys: Sequence[str], since_sec: float) -> Status:
    """How everything stands now. Errors: RedisUnreachable, WireError."""
    now = store.now_ms() / 1000
    services = tuple(
        found for service in SERVICES for found in presence_log.running(store, service)
    )
    return Status(
        now=now,
        server=_server(store),
        services=services,
        group=_group(store),
        permits=tuple(permit_book.listed(store)),
        kill=tuple(kill_switch.read(store, kill_keys)),
        plans_per_minute=_plans_per_minute(store, now),
        lately=_lately(store, now, since_sec),
    )


def _server(store: Store) -> Server | None:
    try:
        return store.server()
    except WireError:
        return None


def _group(store: Store) -> Group | None:
    from qtctl.wire.keys import GROUP

    found = queue_inspection.groups(store, store.keys.plans, STUCK_MS)
    return next((each for each in found if each.name == GROUP), None)


def _plans_per_minute(store: Store, now: float) -> float | None:
    """Entries on the plan stream, averaged; None where there are too many to count."""
    window = streams.since(store, store.keys.plans, now - RATE_SEC, MOST_EVENTS)
    return None if window.back_to is not None else len(window.entries) * 60 / RATE_SEC


def _lately(store: Store, now: float, since_sec: float) -> Lately:
    window = streams.since(store, store.keys.events, now - since_sec, MOST_EVENTS)
    kinds: Counter[str] = Counter()
    blocks: Counter[str] = Counter()
    fresh = 0
    for entry in window.entries:
        event = entry.fields.get("event", "")
        if event not in ("permitted", "blocked"):
            continue
        kinds[event] += 1
        fresh += streams.time_of(entry.id) >= now - RATE_SEC
        if event == "blocked":
            blocks[text(entry.fields.get("reason", ""))] += 1
    return Lately(
        since=window.back_to or now - since_sec,
        cut=window.back_to is not None,
        permitted=kinds["permitted"],
        blocked=kinds["blocked"],
        per_minute=fresh * 60 / min(RATE_SEC, since_sec),
        blocks=dict(blocks.most_common()),
    )
