"""All that one screen about the two loops needs; read again, only what is new is read.

Only the names of the service records are scanned for, rarely where the keyspace is large; streams
are read back over a bounded window.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from qtctl import clock
from qtctl.errors import WireError
from qtctl.settings import SERVICES, Settings
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Server, Store, server_of
from qtctl.wire.control import forgotten, kill_switch
from qtctl.wire.control.forgotten import Emptied
from qtctl.wire.control.kill_switch import KillKey
from qtctl.wire.queries import groups, permits, plan_ids, services, streams
from qtctl.wire.queries.groups import Group
from qtctl.wire.queries.permits import StoredPermit
from qtctl.wire.queries.rules_in_force import in_force
from qtctl.wire.schema.ids import time_of
from qtctl.wire.schema.keys import GROUP
from qtctl.wire.schema.kill_names import KillNames
from qtctl.wire.schema.service import ServiceRecord

T = TypeVar("T")
_Event = tuple[float, str, str]
"""Of an entry of a stream: its time (epoch seconds), its event and reason ("" for none)."""

RATE_SEC = 300.0
"""The time over which plans per minute are averaged."""
MOST_EVENTS = 10_000
"""The newest entries of each stream that are looked at."""
REST_TIMES = 20
"""New service records are looked for again after so many times what the last SCAN took."""


class RecentVerdicts(msgspec.Struct, frozen=True):
    """Verdicts in the events since a time (epoch seconds); cut: a cap left out older ones.
    per_minute: over the last five; blocks: reason to count, the most frequent first."""

    since: float
    cut: bool
    permitted: int
    blocked: int
    per_minute: float
    blocks: dict[str, int]


class Status(msgspec.Struct, frozen=True):
    """now: the server's clock, epoch seconds. server_url: of the one server that answers; server:
    None where this user may not ask (INFO). group: the governors' own, None where it is missing.
    plans_per_minute: on the plan stream, over the last five minutes or as far back as MOST_EVENTS
    go. problems: why `group`, `permits`, `plans` or `events` could not be read; `plan_ids`: what is
    wrong with the ids of the plans. emptied: that Redis lost what it knew within the last hour."""

    now: float
    server_url: str
    server: Server | None
    services: tuple[ServiceRecord, ...]
    kill: tuple[KillKey, ...]
    group: Group | None
    permits: tuple[StoredPermit, ...]
    plans_per_minute: float
    lately: RecentVerdicts
    problems: dict[str, str]
    emptied: Emptied | None = None


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
        """One look, in half a dozen round trips. Errors: RedisUnreachable, WireError."""
        now = self._store.now_ms() / 1000
        if self._store.generation != self._generation:
            self._forget()
            self._generation = self._store.generation
        server, services = self._records(now)
        governors = [each for each in services if each.service == "governor"]
        own, _ = in_force(governors, "governor", self._settings, KillNames)
        self._problems.clear()
        ids = self._part("plan_ids", lambda: plan_ids.plan_ids(self._store, int(now * 1000)), None)
        if ids is not None:
            self._problems["plan_ids"] = f"{ids.what}: {ids.effect}; see 'qtctl doctor'"
        no_events: tuple[list[_Event], float | None] = ([], None)
        return Status(
            now=now,
            server_url=self._store.server_url(),
            server=server,
            services=services,
            kill=tuple(kill_switch.read(self._store, own)),
            group=self._part("group", self._group, None),
            permits=tuple(self._part("permits", lambda: permits.listed(self._store), [])),
            plans_per_minute=self._part("plans", lambda: self._plans_per_minute(now), 0.0),
            lately=_lately(
                *self._part("events", lambda: self._events.read(self._store, now), no_events),
                now,
                self._since_sec,
            ),
            emptied=forgotten.emptied(self._store),
            problems=dict(self._problems),
        )

    def _forget(self) -> None:
        self._names: list[tuple[str, str]] = []
        self._names_due = 0.0
        self._problems: dict[str, str] = {}
        keys = self._store.keys
        self._plans = _Recent(keys.plans, RATE_SEC)
        self._events = _Recent(keys.events, self._since_sec)

    def _part(self, name: str, read: Callable[[], T], otherwise: T) -> T:
        """One part; where it can't be read, that is noted and costs no other part."""
        try:
            return read()
        except WireError as problem:
            self._problems[name] = str(problem)
            return otherwise

    def _records(self, now: float) -> tuple[Server | None, tuple[ServiceRecord, ...]]:
        """The server, and the services that have a record."""
        begun = clock.monotonic()
        if begun >= self._names_due:
            self._names = services.names(self._store, SERVICES)
            ended = clock.monotonic()
            self._names_due = ended + REST_TIMES * (ended - begun)
        records = [("HGETALL", self._store.keys.service(*each)) for each in self._names]
        info, *replies = self._store.batch([("INFO",), *records])
        found = [
            services.of_reply(service, name, reply)
            for (service, name), reply in zip(self._names, replies, strict=True)
        ]
        if None in found:
            self._names_due = 0.0  # One ended; another may have come instead.
        return (
            None if is_error(info) else server_of(info, int(now * 1000)),
            tuple(each for each in found if each is not None),
        )

    def _group(self) -> Group | None:
        found = groups.groups(self._store, self._store.keys.plans)
        return next((each for each in found if each.name == GROUP), None)

    def _plans_per_minute(self, now: float) -> float:
        times, back_to = self._plans.read(self._store, now)
        return _per_minute(len(times), now, back_to, RATE_SEC)


class _Recent:
    """What a stream got over the last keep_sec seconds, the newest MOST_EVENTS of it."""

    def __init__(self, stream: str, keep_sec: float) -> None:
        self._stream = stream
        self._keep_sec = keep_sec
        self._kept: deque[_Event] = deque()
        self._last = ""
        self._back_to: float | None = None

    def read(self, store: Store, now: float) -> tuple[list[_Event], float | None]:
        """Oldest first; and the time where a cap cut it off, None where it goes back all the way.
        Errors: RedisUnreachable, WireError."""
        begin = now - self._keep_sec
        if self._last and time_of(self._last) > now:
            # Ids of a clock that was ahead: the stream may have been made anew behind them.
            self._kept.clear()
            self._last = ""
        new = streams.since(
            store, self._stream, begin, MOST_EVENTS + bool(self._last), after=self._last
        )
        entries = new.entries
        if self._last and entries and entries[-1].id == self._last:
            entries = entries[:-1]
        elif self._last and new.back_to is None:
            # What was read last is gone: made anew, or trimmed, behind it.
            self._kept.clear()
            self._back_to, self._last = None, ""
            return self.read(store, now)
        if new.back_to is not None:
            self._kept.clear()
            self._back_to = new.back_to
        for entry in reversed(entries):
            event, reason = entry.fields.get("event", ""), entry.fields.get("reason", "")
            self._kept.append((time_of(entry.id), event, reason[:64]))
        if entries:
            self._last = entries[0].id
        while len(self._kept) > MOST_EVENTS:
            self._kept.popleft()
            self._back_to = self._kept[0][0]
        while self._kept and self._kept[0][0] < begin:
            self._kept.popleft()
        if self._back_to is not None and self._back_to < begin:
            self._back_to = None
        return list(self._kept), self._back_to


def _lately(
    events: Sequence[_Event], back_to: float | None, now: float, since_sec: float
) -> RecentVerdicts:
    kinds = Counter(event for _, event, _ in events)
    blocks = Counter(reason for _, event, reason in events if event == "blocked")
    span = min(RATE_SEC, since_sec)
    fresh = sum(event in ("permitted", "blocked") and at >= now - span for at, event, _ in events)
    return RecentVerdicts(
        since=back_to or now - since_sec,
        cut=back_to is not None,
        permitted=kinds["permitted"],
        blocked=kinds["blocked"],
        per_minute=_per_minute(fresh, now, back_to, span),
        blocks=dict(blocks.most_common()),
    )


def _per_minute(count: int, now: float, back_to: float | None, span: float) -> float:
    """The average of a window, or of as much of it as a cap left."""
    seconds = span if back_to is None else min(span, max(now - back_to, 0.001))
    return count * 60 / seconds
