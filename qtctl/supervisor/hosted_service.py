"""Hosts one service: its port and its loop's thread, which outlive one set of settings."""

import logging
import threading

from qtctl import clock
from qtctl.errors import QtctlError
from qtctl.services.base import Service
from qtctl.supervisor.health import HealthServer
from qtctl.supervisor.loop import Loop
from qtctl.supervisor.progress import Progress

log = logging.getLogger("qtctl.supervisor")

# A waiting loop notices a stop within a second; only after that can a late one count as hung.
END_SEC = 1.5

# How soon a port that was taken is tried again, and a loop that gave up is started again, where the
# service is an optional one.
BIND_AGAIN_SEC = 30.0
START_AGAIN_SEC = 300.0


class HostedService:
    """Hosts one service, and then its successor.

    ::

        bind → start → (prepare → replace or discard → look … look)* → stop → join → free

    A successor that still waits for the loop's end may be replaced by another.

    optional: the others in the process work without it, so it ends none of them: it is hosted
    without its port where that is taken, and its loop is started again some time after it gave up.
    """

    def __init__(self, service: Service, *, optional: bool = False) -> None:
        self.name, self.optional = service.name, optional
        self.progress = Progress(service.pass_timeout_sec, clock.monotonic())
        self.abandoned: list[threading.Thread] = []
        self._service = service
        self._address = _address(service)
        self._server = HealthServer(service, self.progress)
        self._stop = threading.Event()
        self.thread: threading.Thread | None = None
        self._prepared: _Successor | None = None
        self._next: _Successor | None = None
        self._replaced_at = 0.0
        self._bind_again_at: float | None = None
        self._start_again_at: float | None = None

    @property
    def port(self) -> int:
        """The port where it answers, once bound; 0 while it has none."""
        return self._service.metrics_port

    @property
    def changing(self) -> bool:
        """True while a successor waits for the loop to finish its pass."""
        return self._stop.is_set()

    @property
    def gave_up(self) -> bool:
        """True if the loop has ended without a request."""
        thread = self.thread
        return thread is not None and not thread.is_alive() and not self._stop.is_set()

    def bind(self) -> None:
        """Listen. Raises QtctlError if the port can't be bound, unless the service is optional."""
        again, self._bind_again_at = self._bind_again_at is not None, None
        try:
            self._server.start()
        except QtctlError as problem:
            if not self.optional:
                raise
            self._service.metrics_port = 0  # Its record in Redis names no port.
            self._service.failed("port")
            self._bind_again_at = clock.monotonic() + BIND_AGAIN_SEC
            if not again:
                fields = {"service": self.name, "problem": problem}
                log.error("served without its metrics port", extra={"fields": fields})

    def start(self) -> None:
        """Start the loop."""
        self._stop, self._start_again_at = threading.Event(), None
        self.progress.started = clock.monotonic()
        loop = Loop(self._service, self.progress, self._stop)
        # Daemon: a loop that does not end must not keep the process alive.
        self.thread = threading.Thread(target=loop.run, name=self.name, daemon=True)
        self.thread.start()

    def prepare(self, service: Service) -> None:
        """Get ready for a successor: listen where its settings name another address or port. Raises
        QtctlError if that can't be bound."""
        successor, waiting = _Successor(service), self._next
        if successor.address in (self._address, _address(self._service)):
            service.metrics_port = self._service.metrics_port
        elif waiting is not None and waiting.listens_at(successor.address):
            service.metrics_port = waiting.service.metrics_port
            successor.server = waiting.server
        else:
            server = HealthServer(service, successor.progress)
            server.start()
            successor.server = server
        self._prepared = successor

    def discard(self) -> None:
        """Drop the prepared successor."""
        self._drop(self._prepared, self._next)
        self._prepared = None

    def replace(self) -> None:
        """Let the successor take over once the loop has finished its pass (see `look`)."""
        successor, waiting = self._prepared, self._next
        assert successor is not None, "prepared before"
        self._drop(waiting, successor)
        server = successor.server
        if server is not None and waiting is not None and server is waiting.server:
            server.switch(successor.service, successor.progress)
        self._prepared, self._next = None, successor
        if not self._stop.is_set():
            self._replaced_at = clock.monotonic()
            self._stop.set()

    @staticmethod
    def _drop(successor: "_Successor | None", other: "_Successor | None") -> None:
        """Closes the port of a successor that never takes over, unless the other one has it."""
        if successor is None or successor.server is None:
            return
        if other is None or other.server is not successor.server:
            successor.server.stop()

    def look(self, now: float) -> None:
        """Start the successor once the old loop has ended, or hangs; what an optional service lacks
        is tried again."""
        if self._bind_again_at is not None and now >= self._bind_again_at:
            self.bind()
        if self.optional and self.gave_up:
            self._look_after(now)
        successor, thread = self._next, self.thread
        if successor is None or thread is None or not self._stop.is_set():
            return
        if thread.is_alive():
            if now - self._replaced_at < END_SEC or self.progress.live(now).ok:
                return
            self.abandoned.append(thread)
            fields = {"services": self.name, "limit_sec": self.progress.timeout_sec}
            log.error("replaced a loop that did not end", extra={"fields": fields})
        self._next = None
        self._service, self._address = successor.service, successor.address
        self.progress = successor.progress
        if successor.server is None:
            self._server.switch(self._service, self.progress)
        else:
            self._server.stop()
            self._server, self._bind_again_at = successor.server, None
        self.start()

    def _look_after(self, now: float) -> None:
        """A loop that gave up, while the others go on."""
        if self._start_again_at is None:
            self._start_again_at = now + START_AGAIN_SEC
            fields = {"service": self.name, "again_in_sec": START_AGAIN_SEC}
            log.error("a loop gave up, the others go on", extra={"fields": fields})
        elif now >= self._start_again_at:
            self.start()

    def stop(self) -> None:
        """Request the loop's end; a waiting successor is no longer started."""
        self.progress.stopping = True
        self._stop.set()

    def join(self, deadline: float) -> bool:
        """Wait for the loop until `deadline`; False if it or a predecessor still runs."""
        threads = [*self.abandoned, *([self.thread] if self.thread is not None else [])]
        for thread in threads:
            thread.join(max(0.0, deadline - clock.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def free(self) -> None:
        """Free the ports."""
        self.discard()
        self._drop(self._next, None)
        self._next = None
        self._server.stop()


class _Successor:
    """A service that waits for its predecessor's end; server: its own, if it needs another port."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.address = _address(service)  # before listening replaces port 0 by the real one
        self.progress = Progress(service.pass_timeout_sec, clock.monotonic())
        self.server: HealthServer | None = None

    def listens_at(self, address: tuple[str, int]) -> bool:
        """True if it has a port of its own, by that address."""
        return self.server is not None and address in (self.address, _address(self.service))


def _address(service: Service) -> tuple[str, int]:
    return service.metrics_addr, service.metrics_port
