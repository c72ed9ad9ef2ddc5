"""The services that have a record, and so run or did until a moment ago."""

from collections.abc import Sequence
from typing import Any

from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import SERVICE
from qtctl.wire.schema.records import pairs
from qtctl.wire.schema.service import ServiceRecord, record_of


def running(store: Store, service: str) -> list[ServiceRecord]:
    """All services of this kind that are alive, by name."""
    return named(store, service, [name for _, name in names(store, (service,))])


def names(store: Store, services: Sequence[str]) -> list[tuple[str, str]]:
    """(service, name) of every record of these kinds, in their order, then by name. One SCAN."""
    found = set()
    head = store.keys.service("", "")[:-1]
    for key in store.scan_keys(store.keys.pattern(SERVICE)):
        service, colon, name = key.removeprefix(head).partition(":")
        if colon and key.startswith(head) and service in services:
            found.add((service, name))
    return sorted(found, key=lambda each: (services.index(each[0]), each[1]))


def named(store: Store, service: str, names: Sequence[str]) -> list[ServiceRecord]:
    """Those of these names that are alive, in their order."""
    replies = store.batch([("HGETALL", store.keys.service(service, name)) for name in names])
    found = map(of_reply, [service] * len(names), names, replies)
    return [each for each in found if each is not None]


def of_reply(service: str, name: str, reply: Any) -> ServiceRecord | None:
    """A record from the reply to HGETALL; None where there is none (any more)."""
    return None if is_error(reply) or not reply else record_of(service, name, pairs(reply))
