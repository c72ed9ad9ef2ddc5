"""What the supervisor tells others about the loops' progress: systemd, and the log.

::

    READY=1       once each service has finished a pass; after a reload, a pass or a try
    WATCHDOG=1    only while each loop has finished a pass or a try within its own deadline
    STATUS=       what each service does, in one line, with the time of its last pass
    RELOADING=1   while settings are read again
    STOPPING=1    from the moment the end is decided

There is no timer of its own here: the supervisor's thread looks, and what it says rests on passes
that came to their end. A try that found Redis away counts: waiting is what the loop is for then.
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

# How long from look to look, at most, and while something is to happen any moment: a stop whose
# signal came to another thread than the main one, a hung loop, and a successor's turn.
LOOK_SEC = 0.5
BUSY_LOOK_SEC = 0.02
STARTING_SEC = 3.0

# How often STATUS is brought up to date where nothing happens.
STATUS_SEC = 10.0

# While Redis is away at the start, the manager's patience is extended by so much, again and again.
EXTEND_SEC = 30

# How many calls of a hung loop's stack are logged, the innermost first.
_CALLS = 4


class Reporter:
    """Looks at the slots from the supervisor's thread."""

    def __init__(self, notify: Notify, slots: Sequence[HostedService]) -> None:
        self._notify = notify
        self._slots = slots
        self._begun = clock.monotonic()
        self._started = False  # READY=1 was said for the first time
        self._announced = False  # and again since the last RELOADING=1
        self._all_ended_once = False
        self._remark = ""
        self._states: list[str] = []
        self._last_sent: float | None = None
        self._hung: set[str] = set()
        period = notify.watchdog_sec
        # Looked at every eighth and said every quarter: never later than half of it.
        self._look_sec = LOOK_SEC if period is None else min(LOOK_SEC, period / 8)
        self._say_sec = STATUS_SEC if period is None else min(STATUS_SEC, period / 4)

    @property
    def pause_sec(self) -> float:
        """How long the supervisor may wait until the next look."""
        starting = not self._started and clock.monotonic() - self._begun < STARTING_SEC
        busy = starting or any(slot.changing for slot in self._slots)
        return min(self._look_sec, BUSY_LOOK_SEC) if busy else self._look_sec

    def look(self, now: float) -> None:
        """Tell what there is to tell; `now` in monotonic seconds."""
        self._tell_hung(now)
        ready = not self._announced and self._is_ready()
        states = [slot.progress.state(now) for slot in self._slots]
        due = self._last_sent is None or now - self._last_sent >= self._say_sec
        if not (ready or due or states != self._states):
            return
        lines = ["READY=1"] if ready else []
        if self._notify.send(*lines, *self._pulse(now), self._status(now)):
            self._announced = self._announced or ready
            self._started = self._started or ready
            self._states, self._last_sent = states, now

    def reloading(self, now: float) -> None:
        """Settings are about to be read again."""
        if self._started:
            self._announced = False
            self._notify.send("RELOADING=1", f"MONOTONIC_USEC={int(now * 1e6)}")

    def reloaded(self) -> None:
        """New settings were accepted. READY=1 follows when all have ended a pass or a try."""
        self._remark = ""

    def reload_refused(self, why: str) -> None:
        """The old settings stay."""
        self._remark = f"; reload refused: {escape(why)}"

    def stopping(self) -> None:
        """The end is decided."""
        self._notify.send("STOPPING=1", "STATUS=stopping")

    def _is_ready(self) -> bool:
        if any(slot.changing for slot in self._slots):
            return False
        if self._started:
            return all(slot.progress.ended_once for slot in self._slots)
        return all(slot.progress.last_pass is not None for slot in self._slots)

    def _pulse(self, now: float) -> list[str]:
        """What keeps the manager patient: nothing while any loop is late."""
        if not all(slot.progress.live(now).ok for slot in self._slots):
            return []
        if not self._all_ended_once:
            self._all_ended_once = all(slot.progress.ended_once for slot in self._slots)
        lines = ["WATCHDOG=1"] if self._all_ended_once else []
        if not self._started:
            lines.append(f"EXTEND_TIMEOUT_USEC={EXTEND_SEC * 1_000_000}")
        return lines

    def _status(self, now: float) -> str:
        wall = clock.now()
        told = [f"{slot.name}: {slot.progress.summary(now, wall)}" for slot in self._slots]
        return f"STATUS={'; '.join(told)}{self._remark}"

    def _tell_hung(self, now: float) -> None:
        """One line when a loop stops getting anywhere, with where it stands, and one after."""
        for slot in self._slots:
            live = slot.progress.live(now)
            if live.ok == (slot.name not in self._hung):
                continue
            if live.ok:
                self._hung.discard(slot.name)
                log.info("makes progress again", extra={"fields": {"service": slot.name}})
            else:
                self._hung.add(slot.name)
                fields = {"service": slot.name, "problem": live.text, "at": _where(slot.thread)}
                log.error("a loop makes no progress", extra={"fields": fields})


def _where(thread: threading.Thread | None) -> str:
    """The innermost calls of a thread: `store.py:88 run < governor.py:91 step`."""
    frame = sys._current_frames().get(thread.ident or 0) if thread is not None else None
    if frame is None:
        return ""
    calls = reversed(traceback.extract_stack(frame)[-_CALLS:])
    return " < ".join(f"{PurePath(call.filename).name}:{call.lineno} {call.name}" for call in calls)
