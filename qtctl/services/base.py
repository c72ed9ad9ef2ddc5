"""What a service is: prepared once per connection, then pass after pass of `step`.

A step never sleeps; between steps the supervisor calls `wait`, which ends when there may be
something to do. A service connects in `open`, never in its constructor, so that building one
has no effect and a lost connection is mended by closing and opening it again.
"""

import threading
from typing import Protocol

from prometheus_client import CollectorRegistry


class Service(Protocol):
    """One loop, as the supervisor sees it.

    Errors: every method but the constructor may raise `qtctl.errors.RedisUnreachable` (the
    supervisor waits it out) or another `QtctlError`; anything else is a bug, logged with its
    traceback, counted, and followed by close, backoff and open.
    """

    name: str
    """`allocation` or `governor`."""
    instance: str
    """Which of several: the host's name unless `name` is set."""
    pass_timeout_sec: float
    """Without a finished pass for so long, the service makes no progress (/livez says 503)."""
    metrics_addr: str
    metrics_port: int
    """0 takes a free one; once it listens, this is the port that it has."""
    registry: CollectorRegistry

    def open(self, now: float) -> None:
        """Connect and prepare (scripts, consumer group, checks of the server)."""

    def step(self, now: float) -> int:
        """One pass; how many symbols or plans it served. `now` is seconds since the epoch."""

    def once(self, now: float) -> bool:
        """All that is there now, and no more; False if something stays undone."""

    def wait(self, stop: threading.Event) -> None:
        """Until there may be something to do, or `stop` is set (noticed within a second)."""

    def close(self) -> None:
        """Let go of connections; never raises, may be called twice."""

    def failed(self, kind: str) -> None:
        """Count an error that ended a pass: `redis_unreachable`, `redis_error`, `exception`."""

    def not_ready(self) -> str | None:
        """Why no work may be done now though Redis answers (eviction allowed, …), or None."""
