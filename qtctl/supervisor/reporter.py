"""Reports the progress of the loops to systemd and to the log.

::

    READY=1       once each service has finished a pass; after a reload, a pass or a try
    WATCHDOG=1    only while each loop has finished a pass or a try within its own deadline
                  (both go by what is not optional, so a manager ends no loop for such a service)
    STATUS=       what each service does, in one line, with the time of its last pass
    RELOADING=1   while settings are read again
    STOPPING=1    as soon as the end is decided

Every report rests on finished passes; a try that found Redis unreachable counts as one.
"""

import logging
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import PurePath

from qtctl import clock
from qtctl.supervisor.hosted_service import HostedService
from qtctl.supervisor.notify import Notify
from qtctl.text import escape

log = logging.getLogger("qtctl.supervisor")

# The longest time between two looks, and the time while a change is expected any moment.
LOOK_SEC = 0.5
BUSY_LOOK_SEC = 0.02
STARTING_SEC = 3.0

# How often STATUS is refreshed while nothing changes.
STATUS_SEC = 10.0

# How often the log says of each loop that it goes on.
HEARTBEAT_SEC = 60.0

# While Redis is unreachable at the start, the manager's time-out is extended by this, repeatedly.
EXTEND_SEC = 30

# Calls of a hung loop's stack that are logged, innermost first.
_CALLS = 4


class Reporter:
    """Looks at the hosted services from the supervisor's thread."""

    def __init__(self, notify: Notify, hosted: Sequence[HostedService]) -> None:
        self._notify = notify
        self._hosted = hosted
        self._needed = [each for each in hosted if not each.optional]
        self._begun = clock.monotonic()
        self._started = False  # READY=1 was sent for the first time
        self._announced = False  # and since the last RELOADING=1
        self._all_ended_once = False
        self._remark = ""
        self._states: list[str] = []
        self._last_sent: float | None = None
        self._hung: set[str] = set()
        self._heard_at = self._begun
        self._heard: dict[str, tuple[int, int]] = {}
        period = notify.watchdog_sec
        # A look every eighth and a message every quarter of it: never later than half of it.
        self._look_sec = LOOK_SEC if period is None else min(LOOK_SEC, period / 8)
        self._send_sec = STATUS_SEC if period is None else min(STATUS_SEC, period / 4)

    @property
    def pause_sec(self) -> float:
        """How long the supervisor may wait before the next look."""
        starting = not self._started and clock.monotonic() - self._begun < STARTING_SEC
        busy = starting or any(service.changing for service in self._hosted)
        return min(self._look_sec, BUSY_LOOK_SEC) if busy else self._look_sec

    def look(self, now: float) -> None:
        """Report what has changed or is due; `now` in monotonic seconds."""
        self._report_hung(now)
        if now - self._heard_at >= HEARTBEAT_SEC:
            self._heartbeat(now)
        ready = not self._announced and self._is_ready()
        states = [service.progress.state(now) for service in self._hosted]
        due = self._last_sent is None or now - self._last_sent >= self._send_sec
        if not (ready or due or states != self._states):
            return
        lines = ["READY=1"] if ready else []
        if self._notify.send(*lines, *self._pulse(now), self._status(now)):
            self._announced = self._announced or ready
            self._started = self._started or ready
            self._states, self._last_sent = states, now

    def reloading(self, now: float) -> None:
        """Report that settings are about to be read again."""
        if self._started:
            self._announced = False
            self._notify.send("RELOADING=1", f"MONOTONIC_USEC={int(now * 1e6)}")

    def reloaded(self, refused: str | None = None) -> None:
        """Note that new settings were accepted; READY=1 follows after a pass or try of each. Or
        that the old ones stay, and why, which is added to STATUS."""
        self._remark = "" if refused is None else f"; reload refused: {escape(refused)}"

    def stopping(self) -> None:
        """Report that the end is decided."""
        self._notify.send("STOPPING=1", "STATUS=stopping")

    def _is_ready(self) -> bool:
        if any(service.changing for service in self._needed):
            return False
        if self._started:
            return all(service.progress.ended_once for service in self._needed)
        return all(service.progress.last_pass is not None for service in self._needed)

    def _pulse(self, now: float) -> list[str]:
        """The lines that keep the manager from acting; none while any loop is late."""
        if not all(service.progress.live(now).ok for service in self._needed):
            return []
        if not self._all_ended_once:
            self._all_ended_once = all(service.progress.ended_once for service in self._needed)
        lines = ["WATCHDOG=1"] if self._all_ended_once else []
        if not self._started:
            lines.append(f"EXTEND_TIMEOUT_USEC={EXTEND_SEC * 1_000_000}")
        return lines

    def _status(self, now: float) -> str:
        wall = clock.now()
        parts = [f"{each.name}: {each.progress.summary(now, wall)}" for each in self._hosted]
        return f"STATUS={'; '.join(parts)}{self._remark}"

    def _heartbeat(self, now: float) -> None:
        """A line of each loop: what it does, and what it did since the last."""
        wall, self._heard_at = clock.now(), now
        for each in self._hosted:
            progress = each.progress
            counts = (progress.passes, progress.served)
            before = self._heard.get(each.name, (0, 0))
            if counts < before:
                before = (0, 0)  # a successor, after a reload
            passes, served = counts[0] - before[0], counts[1] - before[1]
            self._heard[each.name] = counts
            fields = {"passes": passes, "served": served}
            logger = logging.getLogger(f"qtctl.supervisor.{each.name}")
            logger.info("%s", progress.summary(now, wall), extra={"fields": fields})

    def _report_hung(self, now: float) -> None:
        """Log when a loop stops making progress, with where it is, and when it resumes."""
        for service in self._hosted:
            live = service.progress.live(now)
            if live.ok == (service.name not in self._hung):
                continue
            if live.ok:
                self._hung.discard(service.name)
                log.info("makes progress again", extra={"fields": {"service": service.name}})
            else:
                self._hung.add(service.name)
                where = _where(service.thread)
                fields = {"service": service.name, "problem": live.text, "at": where}
                log.error("a loop makes no progress", extra={"fields": fields})


def _where(thread: threading.Thread | None) -> str:
    """The innermost calls of a thread: `store.py:88 run < governor.py:91 step`."""
    frame = sys._current_frames().get(thread.ident or 0) if thread is not None else None
    if frame is None:
        return ""
    calls = reversed(traceback.extract_stack(frame)[-_CALLS:])
    return " < ".join(f"{PurePath(call.filename).name}:{call.lineno} {call.name}" for call in calls)
