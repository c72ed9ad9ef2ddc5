"""A trace of plans that are far larger than any sane one: they take time from all behind them."""

import logging
from collections.abc import Sequence

from qtctl import clock
from qtctl.domain.stored import stored
from qtctl.services.metrics import GovernorMetrics
from qtctl.wire.governor.paging import LargeEntry

log = logging.getLogger("qtctl.governor")
EVERY_SEC = 600.0
MAX_SOURCES = 20
"""Publishers with lines of their own; a publisher of garbage can't flood the log."""


class LargeEntries:
    """Counts them, and names each publisher once in ten minutes."""

    def __init__(self, metrics: GovernorMetrics) -> None:
        self._metrics = metrics
        self._reported: dict[str, float] = {}

    def note(self, found: Sequence[LargeEntry]) -> None:
        """Takes in what was just read."""
        self._metrics.large.inc(len(found))
        now = clock.monotonic()
        self._reported = {it: at for it, at in self._reported.items() if now - at < EVERY_SEC}
        for entry in found:
            source = stored(entry.source)
            if source in self._reported or len(self._reported) >= MAX_SOURCES:
                continue
            self._reported[source] = now
            fields = {"source": source or "none", "bytes": entry.size, "entry_id": entry.id}
            log.warning(
                "a publisher sends plans of many bytes, which slow down all behind them",
                extra={"fields": fields},
            )
