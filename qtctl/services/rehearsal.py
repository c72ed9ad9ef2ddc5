"""Keeps at hand what the next plan will need, while plans come.

A processor forgets what has not run for some milliseconds, and then needs ten times as long for the
same Python. So between two plans the governor goes through what it does with one, up to the atomic
step, which is packed and thrown away. What it gives and costs: docs/performance.md#rehearsals.
"""

import threading
from typing import Any

from qtctl import clock
from qtctl.services.intake import Intake
from qtctl.services.judge import Judge
from qtctl.wire.client import shapes
from qtctl.wire.governor.commit import ServerMarks
from qtctl.wire.governor.plan_queue import fresh

PAUSE_SEC = 0.005
"""Between two rehearsals. Half of it costs twice as much and gives little more."""
AFTER_SEC = 10.0
"""How long after a plan the next one is expected: a governor without work sleeps."""
_PLAN = {
    "plan_id": "rehearsal", "symbol": "BTCUSDT", "decision": "EXECUTE", "action": "OPEN_PROPOSED",
    "side": "LONG", "qty": "0.5", "price": "100.5", "kill_score": "0.1", "source": "rehearsal",
    "timestamp": "1700000000",
}  # fmt: skip
_READ: tuple[Any, ...] = ("XREADGROUP",)
_MARKS = ServerMarks(decisions_maxlen=1)


class Rehearsal:
    """Of one governor. Nothing of it reaches Redis, metrics or the log."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._served_at: float | None = None
        fields = [word.encode() for pair in _PLAN.items() for word in pair]
        self._reply = [[b"plans", [[b"1700000000000-0", fields]]]]

    def served(self) -> None:
        """Plans came just now."""
        self._served_at = clock.monotonic()

    @property
    def due(self) -> bool:
        """True while the next plan is expected soon."""
        return self._served_at is not None and clock.monotonic() - self._served_at < AFTER_SEC

    def wait(self, intake: Intake, stop: threading.Event) -> None:
        """As `Intake.wait`, with a rehearsal every PAUSE_SEC while there is nothing else to do."""
        until = clock.monotonic() + intake.spare_sec
        while not intake.wait(PAUSE_SEC):
            self._run()
            if stop.is_set() or clock.monotonic() >= until:
                return

    def _run(self) -> None:
        shapes.check(_READ, self._reply)
        (entry,) = fresh(self._reply)
        self._judge.rehearse(entry, _MARKS)
