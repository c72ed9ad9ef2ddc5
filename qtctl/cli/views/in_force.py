"""Which limits are in force on this Redis, as every command that shows or applies them sees it."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from qtctl.cli.framework.context import Context
from qtctl.wire.client.store import Store
from qtctl.wire.queries import services
from qtctl.wire.queries.rules_in_force import Units, in_force
from qtctl.wire.schema.service import ServiceRecord

T = TypeVar("T", bound=msgspec.Struct)


class InForce:
    """Asks Redis once for each kind of service, and this host for its units where none runs."""

    def __init__(self, ctx: Context, store: Store) -> None:
        self._ctx = ctx
        self._store = store
        self._running: dict[str, Sequence[ServiceRecord]] = {}

    def running(self, service: str) -> Sequence[ServiceRecord]:
        """The services of a kind that have a record. Errors: RedisUnreachable, WireError."""
        if service not in self._running:
            self._running[service] = services.running(self._store, service)
        return self._running[service]

    def of(self, service: str, shape: type[T]) -> tuple[T, str]:
        """Settings of a service by the fields of `shape`, and their source in words. Errors:
        RedisUnreachable, WireError."""
        found = self.running(service)
        units = () if found else _units(service)
        return in_force(found, service, self._ctx.settings, shape, units)


def _units(service: str) -> Units:
    # Seldom needed, and not cheap to import.
    from pathlib import Path

    from qtctl.deploy.host import Host
    from qtctl.doctor.hosts import installed, of_service

    return of_service(installed(Host(Path("/"), True)), service)
