"""The only place that reads the time. Everywhere else time is an argument."""

import time

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Wall clock, seconds since the epoch (UTC)."""
    return time.time()


def monotonic() -> float:
    """Seconds on a clock that never goes back, for durations and deadlines."""
    return time.monotonic()


def boot() -> float:
    """Seconds since this host was started, those that it slept included: never set, never stepped;
    what another clock is held against."""
    return time.clock_gettime(_BOOT)


def sleep(seconds: float) -> None:
    """Wait; for polling, and to let another thread go first. No step waits by it for anything."""
    time.sleep(seconds)
