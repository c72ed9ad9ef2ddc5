"""What the governor must know of the server that answers before it may issue permits.

Source: section 3 of the specification: the gate `quarantine`, and "While Redis may evict …".
"""

import logging

from qtctl.wire.client.store import Server

log = logging.getLogger("qtctl.governor")
GRACE_MS = 1_000


class ServerWatch:
    """Since when this server may be trusted to know all decisions, and whether it may be at all."""

    def __init__(self, *, allow_eviction: bool) -> None:
        self._allow_eviction = allow_eviction
        self._server: Server | None = None
        self.since_ms = 0
        """Opens queued before may have been decided under another server; epoch milliseconds."""

    def note(self, server: Server) -> None:
        """Another look at it."""
        known = self._server
        if known is None:
            # Promoted, and perhaps just now: we were not there to see it. What is lost by that
            # is only what was queued before we came.
            self.since_ms = server.now_ms if server.promoted else _start(server)
        elif (known.run_id, known.replication_id) != (server.run_id, server.replication_id):
            self.since_ms = max(self.since_ms, _trusted_since(known, server))
        self._server = server

    @property
    def now_ms(self) -> int:
        """The server's clock at the last look, epoch milliseconds.

        Not carried on by our own clock: when that jumps, no plan may look older than it is.
        """
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
    """Its start, with a second's grace: it is known as the end of its second, and its own first
    entries must not fall. A promotion has none: what was decided just before may be lost."""
    return server.started_ms - GRACE_MS


def _trusted_since(known: Server, server: Server) -> int:
    restarted = server.run_id != known.run_id and server.started_ms > known.now_ms
    if restarted and not server.promoted:
        return _start(server)  # It started after we last saw the other one.
    log.warning("another primary answers: opens queued before now are quarantined")
    return server.now_ms  # It was there before: promoted, at the latest now.
