"""Entries that nobody judged because they had waited for over an hour."""

import logging
from collections.abc import Mapping

from qtctl.domain.reasons import Reason
from qtctl.services.event_log import EventLog
from qtctl.services.intake import Batch
from qtctl.services.metrics import BACKLOG, GovernorMetrics

log = logging.getLogger("qtctl.governor")


class Backlog:
    """Adds up what is skipped, for one event and one log line of all of it."""

    def __init__(self, metrics: GovernorMetrics, events: EventLog) -> None:
        self._metrics = metrics
        self._events = events
        self._skipped = 0
        self._ids = ("", "")

    def note(self, batch: Batch) -> None:
        """What was acknowledged unread in one pass, one entry at least."""
        first, last = batch.skipped_ids
        self._ids = self._ids[0] if self._skipped else first, last
        self._skipped += batch.skipped

    def flush(self) -> None:
        """Reports what was noted since the last time, if anything."""
        if not self._skipped:
            return
        count, self._skipped = self._skipped, 0
        self._metrics.skipped.labels(BACKLOG).inc(count)
        first, last = self._ids
        self.report(count, {"first": first, "last": last})

    def report(self, count: int | None, ids: Mapping[str, object] = {}) -> None:
        """One event and one log line; count: None for unknown."""
        log.warning(
            "entries queued for over an hour were skipped",
            extra={"fields": {"count": "unknown" if count is None else count} | dict(ids)},
        )
        more = ({} if count is None else {"count": count}) | dict(ids)
        self._events.write("backlog_skipped", Reason.STALE_PLAN.value, more)
