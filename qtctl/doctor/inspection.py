"""What the checks look at: each thing is read when the first check asks for it, and once."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from qtctl import clock
from qtctl.doctor.command_lines import CommandLines
from qtctl.doctor.hosts import Installed, of_service
from qtctl.errors import WireError
from qtctl.settings import RECORDER, SERVICES, Settings
from qtctl.wire.client.store import Store
from qtctl.wire.queries import keyspace, plan_ids, plan_stream
from qtctl.wire.queries.groups import Group, StreamState, groups, streams
from qtctl.wire.queries.plan_ids import PlanIds
from qtctl.wire.queries.plan_stream import PlanStream
from qtctl.wire.queries.rules_in_force import in_force
from qtctl.wire.queries.services import of_names, running
from qtctl.wire.queries.streams import StreamEntry, last, since
from qtctl.wire.queries.targets import Symbol, symbols
from qtctl.wire.schema.keys import EFFICIENCY, PERMIT, SERVICE, TARGET
from qtctl.wire.schema.service import ServiceRecord

T = TypeVar("T", bound=msgspec.Struct)
PLANS_LOOKED_AT = 500
EVENTS_LOOKED_AT = 2_000
SYMBOLS_LOOKED_AT = 5_000
PERMITS_LOOKED_AT = 10_000


class Timed(msgspec.Struct, frozen=True):
    """The server's clock beside ours: skew_sec is how far it is ahead, within ± unsure_sec."""

    skew_sec: float
    unsure_sec: float


@dataclass
class Inspection:
    """One examination. Every attribute that asks Redis may raise RedisUnreachable or WireError, and
    then does so each time: nothing is known by guessing.

    settings: of this shell; warnings: what is odd about them; problem: why they can't be used.
    store: None where Redis is away, and no check that needs it is run. qtctl and redis_cli make
    command lines for this shell. installed: our units on this host; server_unit: that of a Redis
    here, "" for none. scan: keys to walk over, at most.
    """

    _store: Store | None
    settings: Settings
    warnings: Sequence[str] = ()
    problem: str = ""
    words: CommandLines = field(default_factory=CommandLines)
    installed: Sequence[Installed] = ()
    server_unit: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    scan: int = 2_000_000
    host: str = field(default_factory=socket.gethostname)
    _settings_of: dict[str, tuple[Mapping[str, Any], str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.qtctl, self.redis_cli = self.words.qtctl, self.words.redis

    @property
    def store(self) -> Store:
        """The connection."""
        assert self._store is not None, "a check that needs Redis was run without it"
        return self._store

    @property
    def connected(self) -> bool:
        """True while there is a Redis to ask."""
        return self._store is not None

    def lose(self) -> None:
        """Redis has gone away in the middle of it."""
        self._store = None

    def show(self, setting: str) -> str:
        """The command that shows a setting, or a section, of this shell."""
        return self.qtctl("config", "show", setting)

    def start(self, service: str) -> str:
        """The command that starts a service: its unit where one is installed here."""
        unit = self.unit_of(service)
        return f"sudo systemctl start {unit}" if unit else self.words.serve(service)

    @cached_property
    def info(self) -> dict[str, str]:
        """INFO, by field."""
        return keyspace.info(self.store)

    @cached_property
    def now(self) -> float:
        """The server's clock, epoch seconds, at the first look."""
        return self.store.now_ms() / 1000

    @cached_property
    def timed(self) -> Timed:
        """The quickest of three looks at the server's clock."""
        looks = []
        for _ in range(3):
            begun, began = clock.now(), clock.monotonic()
            theirs = self.store.now_ms() / 1000
            took = clock.monotonic() - began
            looks.append(Timed(theirs - (begun + took / 2), took / 2 + 0.001))
        return min(looks, key=lambda it: it.unsure_sec)

    @cached_property
    def sweep(self) -> keyspace.Sweep:
        """Which targets, scores, permits and service records there really are."""
        return keyspace.sweep(self.store, (TARGET, EFFICIENCY, PERMIT, SERVICE), self.scan)

    @cached_property
    def targets(self) -> list[Symbol]:
        """The symbols with a live target, and all that is known of them; at most 5,000."""
        names = self.sweep.of_spec(TARGET)[:SYMBOLS_LOOKED_AT]
        return symbols(self.store, names) if names else []

    @cached_property
    def permits(self) -> list[keyspace.PermitKey]:
        """The permits that are there; at most 10,000."""
        return keyspace.permits(self.store, self.sweep.of_spec(PERMIT)[:PERMITS_LOOKED_AT])

    @cached_property
    def plans(self) -> list[StreamEntry]:
        """The last plans, oldest first."""
        return last(self.store, self.store.keys.plans, PLANS_LOOKED_AT, lambda _: True)

    @cached_property
    def plan_ids(self) -> PlanIds | None:
        """What is wrong with the ids of the plan stream."""
        return plan_ids.plan_ids(self.store, int(self.now * 1000))

    @cached_property
    def events(self) -> list[StreamEntry]:
        """The governors' events of the last hour, as far back as EVENTS_LOOKED_AT go."""
        store, begin = self.store, self.now - 3600
        return list(since(store, store.keys.events, begin, EVENTS_LOOKED_AT).entries)

    @cached_property
    def streams(self) -> list[StreamState]:
        """The plan stream, then ours."""
        keys = self.store.keys
        return streams(self.store, (keys.plans, keys.proposed_stream, keys.events, keys.rejected))

    @cached_property
    def plan_stream(self) -> PlanStream:
        """The plan stream as a key."""
        return plan_stream.look(self.store)

    @cached_property
    def history_streams(self) -> list[StreamState]:
        """Those that the history is made from, and nothing else is."""
        keys = self.store.keys
        return streams(self.store, (keys.passes, keys.decisions))

    @cached_property
    def recorders(self) -> list[ServiceRecord]:
        """The recorders that have a record."""
        return self._with_records(RECORDER)

    @cached_property
    def groups(self) -> list[Group]:
        """The groups of the plan stream."""
        return groups(self.store, self.store.keys.plans)

    @cached_property
    def running(self) -> dict[str, list[ServiceRecord]]:
        """The services that have a record, by kind."""
        return {service: self._with_records(service) for service in SERVICES}

    def _with_records(self, service: str) -> list[ServiceRecord]:
        # The walk has met them already, unless it was cut off.
        if not self.sweep.complete:
            return running(self.store, service)
        met = [name.partition(":") for name in self.sweep.of_spec(SERVICE)]
        return of_names(self.store, [(kind, name) for kind, _, name in met if kind == service])

    def rules(self, service: str, shape: type[T]) -> tuple[T, str]:
        """The settings in force by the fields of `shape`, and their source in words."""
        try:
            found = self.running[service] if self.connected else None
        except WireError:
            found = None
        return in_force(found, service, self.settings, shape, of_service(self.installed, service))

    def settings_of(self, service: str) -> tuple[Mapping[str, Any], str]:
        """All the settings that a service runs by, and their source in words."""
        if service not in self._settings_of:
            section, source = self.rules(service, type(getattr(self.settings, service)))
            self._settings_of[service] = msgspec.to_builtins(section), source
        return self._settings_of[service]

    def unit_of(self, service: str) -> str | None:
        """The installed unit that runs a service, None where none is installed here."""
        return next((each.unit for each in self.installed if service in each.services), None)
