"""What the governor must know about the server before it may issue permits.

See "Quarantine" in docs/architecture.md.
"""

import logging

from qtctl.wire.client.store import Server

log = logging.getLogger("qtctl.governor")
GRACE_MS = 1_000


class ServerWatch:
    """Whether this server may be trusted with decisions, and since when it knows all of them."""

    def __init__(self, *, allow_eviction: bool) -> None:
        self._allow_eviction = allow_eviction
        self._server: Server | None = None
        self.since_ms = 0
        """Opens queued before this may have been decided on another server; epoch milliseconds."""

    def note(self, server: Server) -> None:
        """Takes in what the server just reported."""
        known = self._server
        if known is None:
            # A promotion may have happened just now, unseen. This costs only what was queued
            # before this governor came.
            self.since_ms = server.now_ms if server.promoted else _start(server)
        elif (known.run_id, known.replication_id) != (server.run_id, server.replication_id):
            self.since_ms = max(self.since_ms, _trusted_since(known, server))
        # A mark ahead of the clock, which stepped back, would hold opens until the clock is there.
        self.since_ms = min(self.since_ms, server.now_ms)
        self._server = server

    @property
    def now_ms(self) -> int:
        """The server's clock at the last look, epoch milliseconds; not advanced by our own."""
        return 0 if self._server is None else self._server.now_ms

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


def _start(server: Server) -> int:
    """Its start, less a second since only the end of its second is known and the first entries must
    pass. A promotion has no such grace: the last decisions before it may be lost."""
    return server.started_ms - GRACE_MS


def _trusted_since(known: Server, server: Server) -> int:
    restarted = server.run_id != known.run_id and server.started_ms > known.now_ms
    if restarted and not server.promoted:
        return _start(server)  # It started after the last look at the other one.
    log.warning("a different primary answers: opens queued before now are quarantined")
    return server.now_ms  # It was running before, and was promoted by now at the latest.
