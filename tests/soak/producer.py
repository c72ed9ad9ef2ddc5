"""Sends the plans at a steady rate and keeps its own ledger of what it was told is there."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from qtctl.errors import RedisUnreachable, WireError
from qtctl.wire.client.store import Store
from qtctl.wire.schema.records import pairs, text
from tests.soak.scenario import Plan

CATCH_UP = 4.0
"""After an outage it sends so many times faster, until it is where it should be."""
LOOK_BACK = 50
NUMBER = "soak_number"
"""The field by which it knows its own entries."""


class Producer(threading.Thread):
    """ledger: number of the plan to the id of its entry, as the server acknowledged it; sent: when
    that was, monotonic. off_sec: how far the server's clock is ahead: publishers of opens agree
    with it, those of closes need not. It sends `least` plans, and goes on until `enough` is set.
    """

    def __init__(
        self,
        store: Store,
        plans: Sequence[Plan],
        rate: float,
        least: int,
        off_sec: Callable[[], float],
    ) -> None:
        super().__init__(name="producer", daemon=True)
        self.ledger: dict[int, str] = {}
        self.sent: dict[int, float] = {}
        self._off_sec = off_sec
        self._least = least
        self.enough = threading.Event()
        self.lost_replies = 0
        self.refused = 0
        self._store = store
        self._plans = plans
        self._gap_sec = 1 / rate
        self._stop_event = threading.Event()
        self.problem: BaseException | None = None

    def run(self) -> None:
        """All of them; an error is kept for whoever joins."""
        try:
            self._send_all()
        except BaseException as problem:  # noqa: BLE001 - told by `finish`
            self.problem = problem
        finally:
            self._store.close()

    def cancel(self) -> None:
        """Send nothing more."""
        self._stop_event.set()

    def finish(self) -> None:
        """Waits for the end. Errors: whatever ended it early."""
        self.join()
        if self.problem is not None:
            raise self.problem

    def _send_all(self) -> None:
        due = time.monotonic()
        start = due
        for number, plan in enumerate(self._plans):
            if number >= self._least and self.enough.is_set():
                return
            due = max(start + number * self._gap_sec, due + self._gap_sec / CATCH_UP)
            if self._stop_event.wait(max(0.0, due - time.monotonic())):
                return
            fields = dict(plan.fields)
            if plan.stamped:
                off = self._off_sec() if fields.get("action") == "OPEN_PROPOSED" else 0.0
                fields["timestamp"] = str(int(time.time() + off))
            self._send(number, fields)
            due = max(due, time.monotonic() - self._gap_sec)

    def _send(self, number: int, fields: Mapping[str, str]) -> None:
        flat = [part for pair in fields.items() for part in pair]
        while not self._stop_event.is_set():
            try:
                added = self._store.run("XADD", self._store.keys.plans, "*", NUMBER, number, *flat)
            except RedisUnreachable:
                self.lost_replies += 1
                added = self._look_up(number)
            except WireError:
                # Refused (memory is full): it is not there.
                self.refused += 1
                self._stop_event.wait(0.05)
                continue
            if added is not None:
                self.ledger[number] = text(added)
                self.sent[number] = time.monotonic()
                return

    def _look_up(self, number: int) -> bytes | None:
        """Whether an entry is there though nobody told; waits for the server.

        The command may still lie in the buffer of a server that hung: then the entry is there
        twice after all, like a repeat of any other sender, and is judged as one.
        """
        while not self._stop_event.wait(0.05):
            try:
                found = self._store.run(
                    "XREVRANGE", self._store.keys.plans, "+", "-", "COUNT", LOOK_BACK
                )
            except (RedisUnreachable, WireError):
                continue
            for id_, raw in found:
                if pairs(raw).get(NUMBER) == str(number):
                    return bytes(id_)
            return None
        return None
