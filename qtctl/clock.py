"""The only place that reads the time. Everywhere else time is an argument."""

import time


def now() -> float:
    """Wall clock, seconds since the epoch (UTC)."""
    return time.time()


def monotonic() -> float:
    """Seconds on a clock that never goes back, for durations and deadlines."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait; for polling, never inside a step."""
    time.sleep(seconds)
