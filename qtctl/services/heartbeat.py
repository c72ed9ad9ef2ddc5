"""The record that a running service keeps in Redis: what runs, where, and with which settings; and
the note of when it started and stopped, which outlives that."""

import logging
import os
import socket
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from qtctl import __version__, clock
from qtctl.errors import QtctlError, WireError
from qtctl.services.problem_log import ProblemLog
from qtctl.settings import digest, public
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.control import runs
from qtctl.wire.schema.keys import SERVICE_TTL_SEC, SERVICES_TTL_SEC

log = logging.getLogger("qtctl.presence")
NOTHING: Mapping[str, str] = {}
INDEX_SEC = 10.0
"""How often a service enters itself into the index: it has to be there, not to be fresh."""


class Heartbeat:
    """Writes the record after each pass, at most once a second; always all of it, so that it is
    complete again after it expired."""

    def __init__(
        self, store: Store, service: str, instance: str, settings: msgspec.Struct, pass_sec: float
    ) -> None:
        self._store = store
        self._who = {"service": service, "name": instance}
        self._announced = False
        self._key = store.keys.service(service, instance)
        # A loop slower than the TTL would vanish between two passes.
        self._ttl_sec = max(SERVICE_TTL_SEC, int(3 * pass_sec))
        self._fixed = {
            "version": __version__,
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
            "settings": msgspec.json.encode(public(settings)).decode(),
            "digest": digest(settings),
        }
        self._started_at: int | None = None
        self._last: float | None = None
        self._index_due = 0.0
        self._problems = ProblemLog(log, "service record")
        self.was_gone = False
        """True if the record of the last beat was gone at this one: it expired, or somebody
        removed it or put other data in the place of all that was there."""

    def beat(
        self, now: float, metrics: str, clock_ahead_sec: float, more: Mapping[str, str] = NOTHING
    ) -> None:
        """Records a finished pass; now: epoch seconds, the server's clock; metrics: address of its
        health port; clock_ahead_sec: see HostClock; more: fields of this service only. A refusal
        by Redis is only logged. Errors: RedisUnreachable."""
        if self._started_at is None:
            self._started_at = int(now)
        self.was_gone = False
        at = clock.monotonic()
        if self._last is not None and at - self._last < 1.0:
            return
        fields = self._fixed | {
            "started_at": str(self._started_at),
            "last_pass_at": str(int(now)),
            "metrics": metrics,
            "clock_ahead_sec": f"{clock_ahead_sec:.1f}",
            **more,
        }
        flat = [part for pair in fields.items() for part in pair]
        made = self._write(flat)
        problem = {self._key: str(made)} if isinstance(made, WireError) else {}
        self._problems.update(problem)
        self.was_gone = self._last is not None and not problem and made == len(fields)
        self._last = at
        if self.was_gone or at >= self._index_due:
            self._index_due = at + INDEX_SEC
            self._index(int(now))
        if not self._announced:
            self._announced = True
            self._note(runs.STARTED, int(now))

    def _write(self, flat: list[str]) -> int | WireError:
        """How many of the fields were not there before."""
        try:
            # Atomic: a crash in between would leave a record that never expires.
            written, _ = self._store.batch(
                [("HSET", self._key, *flat), ("EXPIRE", self._key, self._ttl_sec)], atomic=True
            )
        except WireError as problem:
            return problem
        return reply_error(written, self._key) if is_error(written) else int(written)

    def _index(self, now: int) -> None:
        """Apart from the record, which is written also where the rights to this are missing: who
        looks for it then has to walk over the keys."""
        key = self._store.keys.services
        self._store.batch(
            [
                ("ZADD", key, now, f"{self._who['service']}:{self._who['name']}"),
                ("ZREMRANGEBYSCORE", key, "-inf", now - SERVICES_TTL_SEC),
                ("EXPIRE", key, SERVICES_TTL_SEC),
            ]
        )

    def leave(self) -> None:
        """Removes the record, so that a service that pauses or ends does not look alive; does
        nothing without a connection."""
        self._last = None
        if not self._store.connected:
            return
        with suppress(QtctlError):
            self._store.run("DEL", self._key)
            if self._announced:
                self._announced = False
                self._note(runs.STOPPED, self._store.now_ms() // 1000)

    def _note(self, event: str, ts: int) -> None:
        """Where Redis refuses it, that is only logged."""
        left_out = ("settings",) if event == runs.STOPPED else ()
        fixed = {name: value for name, value in self._fixed.items() if name not in left_out}
        try:
            runs.note(self._store, event, self._who | {"ts": str(ts)} | fixed)
        except WireError as problem:
            fields = {"event": event, "problem": problem}
            log.warning(
                "could not record that this service started or stopped", extra={"fields": fields}
            )
