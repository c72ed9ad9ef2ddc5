"""Two clocks against the Redis server's: the host's own, and one that never steps."""

import logging
import socket

from qtctl import clock
from qtctl.wire.client.server import Server
from qtctl.wire.governor.commit import FAR_MS
from qtctl.wire.schema.service import MAX_CLOCK_OFF_SEC

STEP_MS = 5_000
"""A step of the server's clock that is reported."""
JUMP_MS = 60_000
"""A step ahead after which decisions and ledgers may have expired before their time."""
DRIFT = 0.001
"""No two clocks drift apart faster by themselves: NTP corrects each by at most 500 ppm."""
SLOW_SEC = 2.0
"""A reply that took longer says too little about the server's clock."""


class HostClock:
    """How far the wall clock of this host is off, for people to see: nothing goes by it."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._off = False
        self.ahead_sec = 0.0
        """The host's clock less the server's, at least; 0 while they may agree."""

    def note(self, before: float, after: float, server_now: float) -> None:
        """before, after: the host's clock around the moment of the server's; epoch seconds. One log
        line when it goes off, and one when it is right again."""
        self.ahead_sec = max(0.0, before - server_now) + min(0.0, after - server_now)
        off = abs(self.ahead_sec) > MAX_CLOCK_OFF_SEC
        if off != self._off:
            self._off = off
            level = logging.WARNING if off else logging.INFO
            text = "the clock of this host is off" if off else "the clock of this host is right"
            fields = {"host": socket.gethostname(), "ahead_sec": f"{self.ahead_sec:.1f}"}
            self._log.log(level, f"{text}, by the Redis server's", extra={"fields": fields})


class ServerClock:
    """Whether the clock of one server (run id) stepped, by CLOCK_BOOTTIME of this host. A drift
    that is slow is followed and never reported."""

    def __init__(self) -> None:
        self._run_id = ""
        self._looked_at = 0.0
        self._level: float | None = None  # The server's clock less ours, before any step.
        self._reported = 0.0  # The same, with the steps that were reported.

    def note(self, server: Server, before: float, after: float) -> int:
        """The step since the last report in ms, 0 for none; before, after: clock.boot() around the
        question. A jump stays until `accept`."""
        if server.run_id != self._run_id:
            self._run_id, self._level = server.run_id, None
        if after - before > SLOW_SEC:
            return 0
        offset = server.now_ms - (before + after) * 500
        if self._level is None:
            self._level = self._reported = offset
        most = DRIFT * 1000 * (after - self._looked_at)
        self._looked_at = after
        self._level += _within(offset - self._level, most)
        self._reported += _within(offset - self._reported, most)
        step = offset - self._reported
        if step < -STEP_MS:
            self._level = offset  # What lies ahead now is void; a jump is one from here.
        if abs(step) <= STEP_MS:
            return 0
        self._reported = offset
        return round(step)

    @property
    def jump_ms(self) -> int:
        """How far the clock has jumped ahead since the last `accept`, 0 for not."""
        if self._level is None:
            return 0
        ahead = self._reported - self._level
        return round(ahead) if ahead > JUMP_MS else 0

    def accept(self) -> None:
        """The jump is known to every governor."""
        self._level = self._reported

    def jumped_after_ms(self) -> int:
        """A clock of the server beyond it has jumped, epoch ms; for the atomic step, which so needs
        no look to notice."""
        if self._level is None:
            return FAR_MS
        return round(self._level + clock.boot() * 1000 + JUMP_MS)


def _within(value: float, most: float) -> float:
    return max(-most, min(most, value))
