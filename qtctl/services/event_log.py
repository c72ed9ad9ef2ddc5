"""Events of a governor that concern no single verdict.

One that Redis refuses is counted and logged, and never ends a pass: what it reports has happened
either way.
"""

import logging
from collections.abc import Mapping

from qtctl.errors import WireError
from qtctl.services.metrics import GovernorMetrics
from qtctl.wire.client.store import Store
from qtctl.wire.governor import events
from qtctl.wire.governor.events import Event

log = logging.getLogger("qtctl.governor")


class EventLog:
    """Writes under one actor's name."""

    def __init__(self, store: Store, actor: str, maxlen: int, metrics: GovernorMetrics) -> None:
        self._store = store
        self._actor = actor
        self._maxlen = maxlen
        self._metrics = metrics

    def write(
        self, event: str, reason: str, more: Mapping[str, object], *,
        plan_id: str = "", symbol: str = "",
    ) -> None:  # fmt: skip
        """Adds one event; more: fields that only this one has. Errors: RedisUnreachable."""
        try:
            ts = self._store.now_ms() // 1000
            written = Event(event, reason, ts, self._actor, plan_id, symbol)
            events.write(self._store, written, self._maxlen, more)
        except WireError as problem:
            self._metrics.errors.labels("event").inc()
            fields = {"event": event, "problem": problem}
            log.warning("an event could not be written", extra={"fields": fields})
