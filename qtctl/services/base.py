"""What a service is: prepared once per connection, then pass after pass of `step`.

The time by which a service decides is the Redis server's; it reads no wall clock of its own host.
A step never sleeps, but to let another loop of its process go first; between steps the supervisor
calls `wait`, which returns when there may be something to do. A service connects in `open`, never
in its constructor: building one has no effect, and closing and opening it again recovers from a
lost connection.
"""

import threading
from typing import Protocol

from prometheus_client import CollectorRegistry


class Service(Protocol):
    """One loop, as the supervisor sees it. Errors: every method but the constructor may raise
    `qtctl.errors.RedisUnreachable` (the supervisor waits it out) or another `QtctlError`; anything
    else is a bug, logged with its traceback, counted, and followed by close, backoff and open."""

    name: str
    """`allocation` or `governor`."""
    instance: str
    """Distinguishes several of them: the host's name unless `name` is set."""
    pass_timeout_sec: float
    """A service without a finished pass for this long makes no progress (/livez answers 503)."""
    metrics_addr: str
    metrics_port: int
    """0 takes a free port; once the health server listens, this is the port in use, and 0 where it
    can't."""
    registry: CollectorRegistry

    def open(self) -> None:
        """Connect and prepare (scripts, consumer group, checks of the server)."""

    def step(self) -> int:
        """One pass; the number of symbols or plans served."""

    def once(self) -> bool:
        """Serves all that is there now, and no more; False if something stays undone."""

    def wait(self, stop: threading.Event) -> None:
        """Returns when there may be something to do, or within a second after `stop` is set."""

    def close(self) -> None:
        """Close the connections; never raises, may be called twice."""

    def failed(self, kind: str) -> None:
        """Count an error that ended a pass (`redis_unreachable`, `redis_error`, `exception`), or a
        port that was taken (`port`; of services that are hosted without one then)."""

    def warning(self) -> str | None:
        """What people must know though the service does its work, for /readyz, or None."""

    def not_ready(self) -> str | None:
        """Why the service may do no work though Redis answers (eviction allowed, …), or None."""
