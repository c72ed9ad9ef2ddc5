"""The metrics of the recorder."""

from functools import partial

from prometheus_client import Counter, Gauge

from qtctl.services.metrics import LOOP_ERRORS, new_registry, preset, start_time

ROWS = ("passes", "decisions", "events", "rejected", "services", "servers", "halts", "gaps")
GAPS = (
    "trimmed", "emptied", "restored", "pass_numbers", "loop_restarted", "two_loops", "group_reset",
    "unreadable",
)  # fmt: skip
"""The kinds of gaps that a recorder finds. Source: docs/history.md#gaps."""
ERRORS = ("history", "stream", "port", *LOOP_ERRORS)


class RecorderMetrics:
    """What was written, what is still to be read, and what is missing."""

    def __init__(self) -> None:
        self.registry = own = new_registry()
        counter, gauge = partial(Counter, registry=own), partial(Gauge, registry=own)
        self.rows = counter("qtctl_history_rows", "Rows written to the history", ["kind"])
        self.gaps = counter("qtctl_history_gaps", "Gaps that were found and noted", ["kind"])
        self.lag = gauge(
            "qtctl_history_lag_seconds",
            "Age of the oldest entry of a stream that is not in the history yet; 0 for none",
            ["stream"],
        )
        self.spare = gauge(
            "qtctl_history_spare_seconds",
            "How long the recorder may be down before a stream is trimmed beyond what it read",
            ["stream"],
        )
        self.bytes = gauge("qtctl_history_bytes", "Size of the history on disk")
        self.errors = counter("qtctl_history_errors", "Errors by kind", ["kind"])
        self.last_success = gauge(
            "qtctl_history_last_success_timestamp_seconds", "When the history was last up to date"
        )
        preset(self.rows, [(kind,) for kind in ROWS])
        preset(self.gaps, [(kind,) for kind in GAPS])
        preset(self.errors, [(kind,) for kind in ERRORS])
        start_time("qtctl_history_start_time_seconds", own)
