"""The services that have a record, found while an operator waits, however many keys there are.

A keyspace of up to SMALL keys is walked over as a whole, and all that is in it is known. In a
larger one records are looked for by the index of services, under the names that the consumers of
the governors' group and the settings have, and by a walk of services.WALK_SEC where a service has
none of those.
"""

from typing import Any

from qtctl import clock
from qtctl.settings import RECORDER, SERVICES, Settings
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.queries import keyspace, services
from qtctl.wire.queries.groups import Group
from qtctl.wire.schema.keys import EFFICIENCY, SERVICE, TARGET
from qtctl.wire.schema.service import ServiceRecord

KINDS = (*SERVICES, RECORDER)
SMALL = 10_000
"""Keys that are walked over as a whole."""
REST_TIMES = 20
"""Names are looked for again after so many times what the last look took."""


class Directory:
    """Asked once or repeatedly, on one connection. complete: every record there is was looked for;
    sweep: all keys by their templates, None where there are too many."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._walk: services.Walk | None = None
        self._names: list[tuple[str, str]] = []
        self._seen: set[tuple[str, str]] = set()
        self._due = 0.0
        self.complete = False
        self.sweep: keyspace.Sweep | None = None

    def records(self, group: Group | None) -> tuple[bytes | None, tuple[ServiceRecord, ...]]:
        """The reply to INFO, None where it is refused, and the services that have a record, by
        name; group: the governors' own. Errors: RedisUnreachable, WireError (no permission)."""
        begun = clock.monotonic()
        if begun >= self._due:
            self._look_around(group)
            ended = clock.monotonic()
            self._due = ended + REST_TIMES * (ended - begun)
        info, found = self._read()
        if not self.complete and not set(SERVICES) <= {it.service for it in found}:
            self._walk_on()
            info, found = self._read()
        now = {(it.service, it.name) for it in found}
        if not self._seen <= now:
            self._due = 0.0  # One ended; another may have come instead.
        self._seen = now
        return None if is_error(info) else info, tuple(found)

    def _look_around(self, group: Group | None) -> None:
        sweep = keyspace.sweep(self._store, (SERVICE, TARGET, EFFICIENCY), SMALL)
        self.sweep = sweep if sweep.complete else None
        self.complete = sweep.complete
        found = [each.partition(":")[::2] for each in sweep.of_spec(SERVICE)]
        if sweep.complete:
            self._names = []
        else:
            indexed = services.indexed(self._store, KINDS)
            consumers = (group and group.consumers) or ()
            sections = (self._settings.governor, self._settings.allocation, self._settings.history)
            given = {(kind, it.name) for kind in KINDS for it in sections if it.name}
            found += indexed | services.likely(consumers, KINDS) | given
            # One that ran within the last week under this version is in the index, or is gone.
            self.complete = set(SERVICES) <= {kind for kind, _ in indexed}
        self._add(found)

    def _walk_on(self) -> None:
        """A part of the keyspace more."""
        if self._walk is None:
            self._walk = services.Walk(self._store, KINDS)
        self._walk.go_on(services.WALK_SEC)
        self.complete = self._walk.complete
        self._add(list(self._walk.found))

    def _add(self, found: list[tuple[str, str]]) -> None:
        names = {each for each in found if each[0] in KINDS} | set(self._names)
        self._names = sorted(names, key=lambda each: (KINDS.index(each[0]), each[1]))

    def _read(self) -> tuple[Any, list[ServiceRecord]]:
        records = [("HGETALL", self._store.keys.service(*each)) for each in self._names]
        info, *replies = self._store.batch([("INFO",), *records])
        return info, services.of_replies(self._names, replies)
