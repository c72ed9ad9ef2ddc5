"""The progress of a service's loop, and the answers to two probes: is it live, is it ready?"""

from datetime import UTC, datetime
from typing import NamedTuple

from qtctl.text import escape


class Answer(NamedTuple):
    """Yes or no, with the reason in one line."""

    ok: bool
    text: str


class Progress:
    """Finished passes of one service; times are monotonic seconds. The loop's thread writes, others
    read; each attribute is replaced as a whole, so no lock is needed."""

    def __init__(self, timeout_sec: float, started: float) -> None:
        self.timeout_sec = timeout_sec
        self.started = started  # the time-out of the first pass counts from here
        self.last_pass: float | None = None
        self.last_try: float | None = None  # that found no Redis, or was refused
        self.problem: str | None = None  # why the last try was no pass
        self.away = False
        self.blocked: str | None = None
        self.warning: str | None = None
        self.stopping = False
        self.passes = self.served = 0

    def passed(
        self, now: float, blocked: str | None, warning: str | None = None, served: int = 0
    ) -> None:
        """Note a finished pass; blocked: the service's own reason why it may do no work; warning:
        what is wrong though it works; served: its symbols or plans."""
        self.passes, self.served = self.passes + 1, self.served + served
        self.last_pass, self.blocked, self.warning = now, blocked, warning
        self.away, self.problem = False, None

    def tried(self, now: float, why: str, *, away: bool) -> None:
        """Note a try without Redis (away), or that Redis refused. Both are progress: trying again
        is all there is to do, and another process is refused as well."""
        self.last_try = now
        self.away, self.problem = away, why

    def broke(self, why: str) -> None:
        """Note a try that ended in another error, which is no progress."""
        self.away, self.problem = False, why

    @property
    def ended_once(self) -> bool:
        """True once any pass or try has ended."""
        return self.last_pass is not None or self.last_try is not None

    def live(self, now: float) -> Answer:
        """Whether the loop finishes its passes (or tries, while Redis is unreachable)."""
        what, at = self._last_end()
        age = now - at
        if age > self.timeout_sec:
            return Answer(False, f"no progress: {what} {_ago(age)}, limit {self.timeout_sec:g} s")
        if self.away:
            return Answer(True, f"ok: waiting for Redis, {what} {_ago(age)}")
        return Answer(True, f"ok: {what} {_ago(age)}")

    def ready(self, now: float) -> Answer:
        """Whether the service does its work: a recent good pass, Redis reachable, not blocked."""
        problem, last_pass, blocked = self.problem, self.last_pass, self.blocked
        age = 0.0 if last_pass is None else now - last_pass
        if self.stopping:
            why = "stopping"
        elif problem is not None:
            why = escape(problem)
        elif last_pass is None:
            why = "no pass finished yet"
        elif age > self.timeout_sec:
            why = f"last pass {_ago(age)}, limit {self.timeout_sec:g} s"
        elif blocked is not None:
            why = escape(blocked)
        else:
            warning = f"; WARNING: {escape(self.warning)}" if self.warning else ""
            return Answer(True, f"ok: last pass {_ago(age)}{warning}")
        return Answer(False, f"not ready: {why}")

    def state(self, now: float) -> str:
        """What it does, in words without an age: the same as long as nothing changes."""
        problem, blocked = self.problem, self.blocked
        if not self.live(now).ok:
            return f"no progress within {self.timeout_sec:g} s"
        if self.away:
            return f"waiting for Redis: {escape(problem or '')}"
        if problem is not None or blocked is not None:
            return f"not ready: {escape(problem or blocked or '')}"
        return "starting" if self.last_pass is None else "working"

    def summary(self, now: float, wall: float) -> str:
        """The same with the time of the last pass; `wall` is `now` in seconds since the epoch."""
        if self.last_pass is None:
            return self.state(now)
        at = datetime.fromtimestamp(wall - (now - self.last_pass), UTC)
        return f"{self.state(now)}, last pass {at:%H:%M:%SZ}"

    def _last_end(self) -> tuple[str, float]:
        ends = [("last pass", self.last_pass), ("last try", self.last_try)]
        known = [(what, at) for what, at in ends if at is not None]
        return max(known, key=lambda end: end[1], default=("started", self.started))


def _ago(age: float) -> str:
    return f"{age:.1f} s ago"
