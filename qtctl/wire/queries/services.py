"""The records of running services, as others read them.

Source: section 1 of the specification, `qtctl:service:{service}:{name}`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import SERVICE
from qtctl.wire.schema.records import pairs


class ServiceRecord(msgspec.Struct, frozen=True):
    """A service that wrote its record lately. settings as it runs with; times in epoch seconds."""

    service: str
    name: str
    version: str
    host: str
    pid: str
    started_at: int
    last_pass_at: int
    settings: dict[str, Any]
    digest: str
    metrics: str
    """host:port of /metrics, /livez and /readyz as bound; port 0 before it is."""


def running(store: Store, service: str) -> list[ServiceRecord]:
    """All services of this kind that are alive, by name."""
    head = store.keys.service(service, "")
    glob = store.keys.service(service.replace("*", ""), "*")
    names = {key[len(head) :] for key in store.scan_keys(glob) if key.startswith(head)}
    return named(store, service, sorted(names))


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
    return None if is_error(reply) or not reply else _running(service, name, pairs(reply))


def _running(service: str, name: str, fields: dict[str, str]) -> ServiceRecord:
    try:
        settings = msgspec.json.decode(fields.get("settings", "{}"), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        settings = {}
    return ServiceRecord(
        service,
        name,
        fields.get("version", ""),
        fields.get("host", ""),
        fields.get("pid", ""),
        _int(fields.get("started_at", "")),
        _int(fields.get("last_pass_at", "")),
        settings,
        fields.get("digest", ""),
        fields.get("metrics", ""),
    )


def _int(text: str) -> int:
    return int(text) if text.isdecimal() else 0
