"""What the governor must know about the server before it may issue permits.

See "Quarantine" in docs/architecture.md.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

from qtctl import clock
from qtctl.wire.client.server import Server
from qtctl.wire.schema import ids

log = logging.getLogger("qtctl.governor")
REMEMBER_SEC = 60.0
"""How long a governor remembers what it permitted."""
REMEMBER_MOST = 50_000


class Change(NamedTuple):
    """Another run of the server answers. how: `restarted`, `promoted` (it was a replica before) or
    `another_server`; before, after: their run ids."""

    how: str
    before: str
    after: str


class ServerWatch:
    """Whether this server may be trusted with decisions, and since when it knows all of them."""

    def __init__(self, *, allow_eviction: bool) -> None:
        self._allow_eviction = allow_eviction
        self._server: Server | None = None
        self.now_ms = 0
        """The server's clock at the last look, epoch milliseconds; not advanced by our own."""
        self.before = (0, 0)
        """Opens with an id up to this one may have been decided on another server."""

    def note(self, server: Server, last_id: Callable[[], str]) -> "Change | None":
        """Takes in what the server just reported; what is different from the look before, if
        anything. last_id: asks it for the id of the newest plan; called at the first look at a
        server only."""
        known = self._server
        if known is None or _differs(known, server):
            self.before = max(self.before, _before(known, server, last_id))
        # A mark ahead of the clock, which stepped back, would hold opens until the clock is there.
        self.before = min(self.before, ids.last_before(server.now_ms + 1))
        self._server, self.now_ms = server, server.now_ms
        if known is None or known.run_id == server.run_id:
            return None
        how = "restarted" if server.started_ms > known.now_ms else "another_server"
        return Change("promoted" if server.promoted else how, known.run_id, server.run_id)

    def objection(self) -> str | None:
        """Why there may be no permits on this server, or None."""
        server = self._server
        if server is None:
            return "not connected yet"
        if server.role not in ("master", ""):
            return f"the server is a {server.role}: permits are written on the primary only"
        if server.may_evict and not self._allow_eviction:
            return (
                f"Redis may evict decisions (maxmemory-policy {server.policy}): no permits. "
                "Set maxmemory-policy noeviction, or [safety] allow_eviction = true"
            )
        return None


def _differs(known: Server, server: Server) -> bool:
    return (known.run_id, known.replication_id) != (server.run_id, server.replication_id)


def _before(known: Server | None, server: Server, last_id: Callable[[], str]) -> tuple[int, int]:
    """The last id that may have been decided on another server, or on this one before it lost its
    last writes."""
    # Of its start only the second is known, and the first plans of that second must pass: those
    # that came after the first look.
    started = min(ids.order(last_id()), ids.last_before(server.started_ms))
    # A promotion may have happened just now, unseen. This costs only what was queued before.
    promoted = ids.last_before(server.now_ms)
    if known is None:
        return promoted if server.promoted else started
    restarted = server.run_id != known.run_id and server.started_ms > known.now_ms
    if restarted and not server.promoted:
        return started  # It started after the last look at the other one.
    log.warning("a different primary answers: opens queued before now are quarantined")
    return promoted  # It was running before, and was promoted by now at the latest.


class RecentPermits:
    """The opens that this governor permitted in the last REMEMBER_SEC, at most REMEMBER_MOST, by
    entry id and plan_id: a server that lost their decisions must not permit them again."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    def note(self, entry_id: str, plan_id: str) -> None:
        """Remembers an open that was just permitted."""
        now = clock.monotonic()
        for name in (entry_id, plan_id):
            self._at.pop(name, None)  # The latest stands last.
            self._at[name] = now

    def has(self, entry_id: str, plan_id: str) -> bool:
        """True if the entry or the plan_id had a permit lately."""
        if entry_id not in self._at and plan_id not in self._at:
            return False
        latest = max(self._at.get(entry_id, 0.0), self._at.get(plan_id, 0.0))
        return latest >= clock.monotonic() - REMEMBER_SEC

    def forget_old(self) -> None:
        """What is too old, or too much, goes."""
        oldest = clock.monotonic() - REMEMBER_SEC
        spare = len(self._at) - 2 * REMEMBER_MOST
        gone: list[str] = []
        for name, at in self._at.items():
            if at >= oldest and len(gone) >= spare:
                break
            gone.append(name)
        for name in gone:
            del self._at[name]
