"""The services that have a record, and so run or did until a moment ago.

They are found without a look at the keyspace, however large it is: by the index that they write
themselves into. A service of a version before is not in it. A governor is then found by its name,
which its consumer has, and others by a walk over the keys that ends after WALK_SEC; it is made
where a kind has no record otherwise.
"""

import socket
from collections.abc import Iterable, Sequence
from typing import Any

from qtctl import clock
from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import GROUP, SERVICE
from qtctl.wire.schema.records import pairs, text
from qtctl.wire.schema.service import ServiceRecord, record_of

WALK_COUNT = 2_000
"""Keys that a page of a walk looks at: half a millisecond of the server's time."""
WALK_SEC = 0.1
"""How long an operator waits for a walk: 100,000 keys or more are looked at meanwhile."""
MOST_INDEXED = 1_000
"""Names that are taken from the index, the ones seen last."""
CONSUMERS = 50
"""Consumers of the governors' group whose records are looked for, the latest first."""


def running(store: Store, service: str) -> list[ServiceRecord]:
    """All services of this kind that are alive, by name."""
    return every(store, (service,))


def every(store: Store, services: Sequence[str]) -> list[ServiceRecord]:
    """All services of these kinds that are alive, in their order, then by name."""
    known = indexed(store, services)
    (reply,) = store.batch([("XINFO", "CONSUMERS", store.keys.plans, GROUP)])
    known |= likely([] if is_error(reply) else xinfo.consumers(reply), services)
    found = of_names(store, sorted(known))
    missing = [each for each in services if not any(it.service == each for it in found)]
    if missing:
        walk = Walk(store, missing)
        walk.go_on(WALK_SEC)
        found += of_names(store, sorted(walk.found - known))
    return sorted(found, key=lambda each: (services.index(each.service), each.name))


def names(store: Store, services: Sequence[str]) -> set[tuple[str, str]]:
    """(service, name) of all that have a record, and of some that had one, for who looks again and
    again: by the index, and by a walk where a kind is not in it."""
    known = indexed(store, services)
    missing = [each for each in services if each not in {kind for kind, _ in known}]
    if missing:
        walk = Walk(store, missing)
        walk.go_on(WALK_SEC)
        known |= walk.found
    return known


def indexed(store: Store, services: Sequence[str]) -> set[tuple[str, str]]:
    """(service, name) of those of these kinds that ran within the last week, by their index; none
    where it may not be read. Errors: RedisUnreachable."""
    (reply,) = store.batch([("ZRANGE", store.keys.services, 0, MOST_INDEXED - 1, "REV")])
    if is_error(reply):
        return set()
    parts = [text(member).partition(":") for member in reply]
    return {(service, name) for service, _, name in parts if service in services}


def likely(consumers: Iterable[xinfo.Consumer], services: Sequence[str]) -> set[tuple[str, str]]:
    """The same under the names that the consumers of the governors' group have: a governor is one
    by its name, and the others often run beside it."""
    latest = sorted(consumers, key=lambda it: it.idle_sec)[:CONSUMERS]
    names = {it.name for it in latest} | {socket.gethostname()}
    return {(service, name) for service in services for name in names}


class Walk:
    """The same while an operator waits: a walk over all keys that goes on where it stopped.
    found: the records seen so far; complete: it came to the end."""

    def __init__(self, store: Store, services: Sequence[str]) -> None:
        self._services = services
        self._head = store.keys.service("", "")[:-1]
        self._pages = store.scan_pages(store.keys.pattern(SERVICE), WALK_COUNT)
        self.found: set[tuple[str, str]] = set()
        self.complete = False

    def go_on(self, within_sec: float) -> None:
        """A page at least, and further ones for so long. Errors: RedisUnreachable, WireError."""
        until = clock.monotonic() + within_sec
        for page, _ in self._pages:
            for key in map(text, page):
                service, colon, name = key.removeprefix(self._head).partition(":")
                if colon and key.startswith(self._head) and service in self._services:
                    self.found.add((service, name))
            if clock.monotonic() > until:
                return
        self.complete = True


def of_names(store: Store, wanted: Sequence[tuple[str, str]]) -> list[ServiceRecord]:
    """Those of these (service, name) that are alive, in their order; one round trip."""
    replies = store.batch([("HGETALL", store.keys.service(*each)) for each in wanted])
    return of_replies(wanted, replies)


def of_replies(wanted: Sequence[tuple[str, str]], replies: Sequence[Any]) -> list[ServiceRecord]:
    """The same from the replies to HGETALL."""
    found = zip(wanted, replies, strict=True)
    return [record_of(*each, pairs(it)) for each, it in found if it and not is_error(it)]
