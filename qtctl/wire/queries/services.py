"""The services that have a record, and so run or did until a moment ago."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from qtctl import clock
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import SERVICE
from qtctl.wire.schema.records import pairs, text
from qtctl.wire.schema.service import ServiceRecord, record_of

WALK_COUNT = 2_000
"""Keys that a page of a walk looks at: half a millisecond of the server's time."""


def running(store: Store, service: str) -> list[ServiceRecord]:
    """All services of this kind that are alive, by name."""
    return named(store, service, [name for _, name in names(store, (service,))])


def names(store: Store, services: Sequence[str]) -> list[tuple[str, str]]:
    """(service, name) of every record of these kinds, in their order, then by name. One SCAN."""
    head = store.keys.service("", "")[:-1]
    found = set(_of_keys(store.scan_keys(store.keys.pattern(SERVICE)), head, services))
    return sorted(found, key=lambda each: (services.index(each[0]), each[1]))


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
            self.found.update(_of_keys(map(text, page), self._head, self._services))
            if clock.monotonic() > until:
                return
        self.complete = True


def _of_keys(keys: Iterable[str], head: str, services: Sequence[str]) -> Iterator[tuple[str, str]]:
    for key in keys:
        service, colon, name = key.removeprefix(head).partition(":")
        if colon and key.startswith(head) and service in services:
            yield service, name


def every(store: Store, services: Sequence[str]) -> list[ServiceRecord]:
    """All services of these kinds that are alive, in their order, then by name. One SCAN."""
    return of_names(store, names(store, services))


def named(store: Store, service: str, names: Sequence[str]) -> list[ServiceRecord]:
    """Those of these names that are alive, in their order."""
    return of_names(store, [(service, name) for name in names])


def of_names(store: Store, wanted: Sequence[tuple[str, str]]) -> list[ServiceRecord]:
    """Those of these (service, name) that are alive, in their order; one round trip."""
    replies = store.batch([("HGETALL", store.keys.service(*each)) for each in wanted])
    found = [of_reply(*each, reply) for each, reply in zip(wanted, replies, strict=True)]
    return [each for each in found if each is not None]


def of_reply(service: str, name: str, reply: Any) -> ServiceRecord | None:
    """A record from the reply to HGETALL; None where there is none (any more)."""
    return None if is_error(reply) or not reply else record_of(service, name, pairs(reply))
