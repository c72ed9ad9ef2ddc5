"""All that one screen about the two loops needs; read again, only what is new is read.

Bounded whatever else is on the server: `directory` finds the services, and streams are read back
over a bounded window.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.entry_ids import time_of
from qtctl.errors import WireError
from qtctl.settings import Settings
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.server import Server, server_of
from qtctl.wire.client.store import Store
from qtctl.wire.control import forgotten, kill_switch
from qtctl.wire.queries import (
    elsewhere,
    feeds,
    groups,
    permits,
    plan_ids,
    plan_stream,
    recent,
    refusals,
    switches,
)
from qtctl.wire.queries.directory import Directory
from qtctl.wire.queries.elsewhere import Elsewhere
from qtctl.wire.queries.feeds import Feeds
from qtctl.wire.queries.groups import Group
from qtctl.wire.queries.permits import NewestPermits
from qtctl.wire.queries.plan_stream import PlanStream
from qtctl.wire.queries.recent import Event, Rate, Recent, RecentVerdicts
from qtctl.wire.queries.refusals import Refusals
from qtctl.wire.queries.rules_in_force import in_force
from qtctl.wire.queries.switches import UnreadSwitch
from qtctl.wire.schema.keys import GROUP, TARGET
from qtctl.wire.schema.kill_names import KillNames
from qtctl.wire.schema.records import text
from qtctl.wire.schema.service import ServiceRecord

T = TypeVar("T")

RATE_SEC = 300.0
"""The time over which plans per minute are averaged."""
MOST_PLANS = 5_000
"""The newest plans that are counted for that: where there are more, that is reported."""
MOST_PERMITS = 1_000
"""The newest permits that are looked at."""
MOST_EVENTS = recent.MOST
"""The newest events that are looked at."""


class Status(msgspec.Struct, frozen=True):
    """now: the server's clock, epoch seconds. server_url: of the one server that answers; server:
    None where this user may not ask (INFO). restarted: the server started while the control plane
    was at work. group: the governors' own, None where it is missing; other_groups: of the plan
    stream. problems: why `group`, `permits`, `plans` or `events` could not be read; `plan_ids`:
    what is wrong with the ids of the plans. emptied: that Redis lost what it knew within the last
    hour. max_queue_age_sec: by the governor's settings; deleted_at: when a plan was last judged
    before the plan stream was deleted. elsewhere: where nothing is here, and may be in another
    database. unsure: not all records of services were looked for. events: what the governors did,
    oldest first, and events_from: since when that is whole, as far as it was read back."""

    now: float
    server_url: str
    server: Server | None
    services: tuple[ServiceRecord, ...]
    kill: tuple[kill_switch.KillKey, ...]
    group: Group | None
    permits: NewestPermits
    plans: Rate
    lately: RecentVerdicts
    problems: dict[str, str]
    stream: PlanStream
    emptied: forgotten.Emptied | None = None
    restarted: bool = False
    deleted_at: float | None = None
    refusals: Refusals = Refusals()
    feeds: Feeds | None = None
    switches: tuple[UnreadSwitch, ...] = ()
    other_groups: tuple[Group, ...] = ()
    max_queue_age_sec: float = 0.0
    elsewhere: Elsewhere | None = None
    unsure: bool = False
    events: Sequence[Event] = ()
    events_from: float = 0.0


class _Limits(msgspec.Struct, frozen=True):
    max_queue_age_sec: float


class Watch:
    """How everything stands, asked once or repeatedly; a new connection starts it afresh, since
    another server may answer."""

    def __init__(self, store: Store, settings: Settings, since_sec: float) -> None:
        self._store = store
        self._settings = settings
        self._since_sec = since_sec
        self._generation = -1
        self._forget()

    def read(self) -> Status:
        """One look, in some fifteen round trips. Errors: RedisUnreachable, WireError."""
        now = self._store.now_ms() / 1000
        if self._store.generation != self._generation:
            self._forget()
            self._generation = self._store.generation
        self._problems.clear()
        unread = PlanStream(self._store.keys.plans)
        stream = self._part("plans", lambda: plan_stream.look(self._store), unread)
        usable = stream.there and not stream.other_type
        all_groups: list[Group] = []
        if usable:
            plans = self._store.keys.plans
            all_groups = self._part("group", lambda: groups.groups(self._store, plans), all_groups)
        own = next((each for each in all_groups if each.name == GROUP), None)
        info, running = self._directory.records(own)
        events, back_to = self._read(self._events, "events", now)
        governors = [each for each in running if each.service == "governor"]
        names, _ = in_force(governors, "governor", self._settings, KillNames)
        limits, _ = in_force(governors, "governor", self._settings, _Limits)
        server = None if info is None else server_of(info, int(now * 1000))
        return Status(
            now=now,
            server_url=self._store.server_url(),
            server=server,
            services=running,
            kill=tuple(kill_switch.read(self._store, names)),
            group=own,
            other_groups=tuple(each for each in all_groups if each.name != GROUP),
            permits=self._part(
                "permits", lambda: permits.newest(self._store, MOST_PERMITS), NewestPermits()
            ),
            plans=self._plans_per_minute(now, stream) if usable else Rate(0.0),
            lately=recent.verdicts(events, back_to, now, self._since_sec, RATE_SEC),
            stream=stream,
            emptied=forgotten.emptied(self._store),
            restarted=self._has_restarted(server, running),
            deleted_at=plan_stream.deleted_after(stream, events),
            refusals=self._closes.read(self._store, events, now),
            feeds=self._part("upstream", lambda: self._feeds(now, governors), None),
            switches=tuple(self._switches(names)),
            max_queue_age_sec=limits.max_queue_age_sec,
            elsewhere=self._elsewhere(info, running, stream),
            unsure=not self._directory.complete,
            events=events,
            events_from=now if "events" in self._problems else back_to or now - self._since_sec,
            problems=dict(self._problems | self._wrong_ids(now, usable=usable)),
        )

    def _forget(self) -> None:
        self._directory = Directory(self._store, self._settings)
        self._problems: dict[str, str] = {}
        keys = self._store.keys
        self._plans = recent.times(keys.plans, RATE_SEC, MOST_PLANS)
        kept_sec = max(self._since_sec, refusals.WINDOW_SEC)
        self._events = recent.events(keys.events, kept_sec, MOST_EVENTS)
        self._closes = refusals.RefusedCloses()

    def _part(self, name: str, read: Callable[[], T], otherwise: T) -> T:
        """One part; where it can't be read, that is noted and costs no other part."""
        try:
            return read()
        except WireError as problem:
            self._problems[name] = str(problem)
            return otherwise

    def _read(self, stream: Recent[T], name: str, now: float) -> tuple[list[T], float | None]:
        nothing: tuple[list[T], float | None] = ([], None)
        return self._part(name, lambda: stream.read(self._store, now), nothing)

    def _plans_per_minute(self, now: float, stream: PlanStream) -> Rate:
        times, back_to = self._read(self._plans, "plans", now)
        begun = time_of(stream.first) if stream.first else None
        if begun is not None and begun >= now - RATE_SEC:
            # All of it came since then.
            return recent.rate(stream.length, now, None, RATE_SEC, begun)
        return recent.rate(len(times), now, back_to, RATE_SEC)

    def _wrong_ids(self, now: float, *, usable: bool) -> dict[str, str]:
        if not usable:
            return {}
        found = self._part(
            "plan_ids", lambda: plan_ids.plan_ids(self._store, int(now * 1000)), None
        )
        if found is None:
            return {}
        return {"plan_ids": f"{found.what}: {found.effect}; see 'qtctl doctor'"}

    def _has_restarted(self, server: Server | None, running: Sequence[ServiceRecord]) -> bool:
        """True if a service, or an event, is older than the server's start."""
        if server is None:
            return False
        started = server.started_ms / 1000
        if any(it.started_at and it.started_at < started - 1 for it in running):
            return True
        oldest = self._store.batch([("XRANGE", self._store.keys.events, "-", "+", "COUNT", 1)])[0]
        return not is_error(oldest) and bool(oldest) and time_of(oldest[0][0]) < started - 1

    def _feeds(self, now: float, governors: Sequence[ServiceRecord]) -> Feeds:
        rules, _ = in_force(governors, "governor", self._settings, DownsizeRules)
        sweep = self._directory.sweep
        symbols = None if sweep is None else sweep.of_spec(TARGET)
        return feeds.feeds(self._store, now, symbols, rules)

    def _switches(self, names: KillNames) -> list[UnreadSwitch]:
        sweep = self._directory.sweep
        return switches.unread(self._store, names.names, None if sweep is None else sweep.switches)

    def _elsewhere(
        self, info: bytes | None, running: Sequence[ServiceRecord], stream: PlanStream
    ) -> Elsewhere | None:
        if info is None or running or stream.there:
            return None
        return elsewhere.look(self._store, text(info))
