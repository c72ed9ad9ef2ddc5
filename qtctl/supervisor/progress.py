"""What a service's loop got done, and the two questions about it: is it live, is it ready?"""

from datetime import UTC, datetime
from typing import NamedTuple

from qtctl.text import escape


class Answer(NamedTuple):
    """Yes or no, and why, in one line."""

    ok: bool
    text: str


class Progress:
    """Finished passes of one service; times are monotonic seconds.

    Progress, not a pulse: what counts is work that came to its end. One thread writes (the
    service's loop), others read; each attribute is replaced whole, so no lock is needed.
    """

    def __init__(self, timeout_sec: float, started: float) -> None:
        self.timeout_sec = timeout_sec
        self.started = started  # the first pass has its time from here
        self.last_pass: float | None = None
        self.last_try: float | None = None  # the last one that found no Redis, or was refused
        self.trouble: str | None = None  # why the last try did not become a pass
        self.away = False
        self.blocked: str | None = None
        self.stopping = False

    def passed(self, now: float, blocked: str | None) -> None:
        """A pass finished; `blocked` is the service's own reason why it may do no work."""
        self.last_pass, self.blocked = now, blocked
        self.away, self.trouble = False, None

    def unreachable(self, now: float, why: str) -> None:
        """A try ended without Redis: nothing to do but to try again, which is progress."""
        self.last_try = now
        self.away, self.trouble = True, why

    def refused(self, now: float, why: str) -> None:
        """A try ended with a refusal by Redis (no memory, a replica, no permission): progress,
        since another process would be refused as well."""
        self.last_try = now
        self.away, self.trouble = False, why

    def broke(self, why: str) -> None:
        """A try ended in an error that waiting does not explain: no progress."""
        self.away, self.trouble = False, why

    @property
    def ended_once(self) -> bool:
        """Has any pass or try come to its end?"""
        return self.last_pass is not None or self.last_try is not None

    def live(self, now: float) -> Answer:
        """Does the loop come to an end of its passes (or tries, while Redis is away)?"""
        what, at = self._last_end()
        age = now - at
        if age > self.timeout_sec:
            return Answer(False, f"no progress: {what} {_ago(age)}, limit {self.timeout_sec:g} s")
        if self.away:
            return Answer(True, f"ok: waiting for Redis, {what} {_ago(age)}")
        return Answer(True, f"ok: {what} {_ago(age)}")

    def ready(self, now: float) -> Answer:
        """Is the service doing its work: a recent good pass, Redis there, nothing in the way?"""
        if self.stopping:
            return Answer(False, "not ready: stopping")
        trouble = self.trouble
        if trouble is not None:
            return Answer(False, f"not ready: {escape(trouble)}")
        if self.last_pass is None:
            return Answer(False, "not ready: no pass finished yet")
        age = now - self.last_pass
        if age > self.timeout_sec:
            why = f"last pass {_ago(age)}, limit {self.timeout_sec:g} s"
            return Answer(False, f"not ready: {why}")
        if self.blocked is not None:
            return Answer(False, f"not ready: {escape(self.blocked)}")
        return Answer(True, f"ok: last pass {_ago(age)}")

    def state(self, now: float) -> str:
        """What it does, in words without an age: equal as long as nothing has changed."""
        trouble, blocked = self.trouble, self.blocked
        if not self.live(now).ok:
            return f"no progress within {self.timeout_sec:g} s"
        if self.away:
            return f"waiting for Redis: {escape(trouble or '')}"
        if trouble is not None or blocked is not None:
            return f"not ready: {escape(trouble or blocked or '')}"
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
