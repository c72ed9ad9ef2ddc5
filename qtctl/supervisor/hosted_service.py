"""The place of one service: its port and its loop's thread, which outlive one set of settings."""

import logging
import threading

from qtctl import clock
from qtctl.services.base import Service
from qtctl.supervisor.health import HealthServer
from qtctl.supervisor.loop import Loop
from qtctl.supervisor.progress import Progress

log = logging.getLogger("qtctl.supervisor")

# A loop that waits notices its end within a second; only then is one that is late called hung.
END_SEC = 1.5


class HostedService:
    """Hosts one service, and then its successor.

    ::

        bind → start → (prepare → replace or discard → look … look)* → stop → join → free
    """

    def __init__(self, service: Service) -> None:
        self.name = service.name
        self.progress = _progress_of(service)
        self.abandoned: list[threading.Thread] = []
        self._service = service
        self._asked = _address(service)
        self._server = HealthServer(service, self.progress)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._next: _Successor | None = None
        self._replaced_at = 0.0

    @property
    def port(self) -> int:
        """Where it answers, once bound."""
        return self._service.metrics_port

    @property
    def thread(self) -> threading.Thread | None:
        """The loop's."""
        return self._thread

    @property
    def changing(self) -> bool:
        """Does a successor wait for the loop to finish its pass?"""
        return self._stop.is_set()

    @property
    def gave_up(self) -> bool:
        """Has the loop ended though nobody asked it to?"""
        thread = self._thread
        return thread is not None and not thread.is_alive() and not self._stop.is_set()

    def bind(self) -> None:
        """Listen. Raises QtctlError where the port can't be had."""
        self._server.start()

    def start(self) -> None:
        """Let the loop begin."""
        self._stop = threading.Event()
        self.progress.started = clock.monotonic()
        loop = Loop(self._service, self.progress, self._stop)
        # Daemon: a loop that does not end must not keep the process.
        self._thread = threading.Thread(target=loop.run, name=self.name, daemon=True)
        self._thread.start()

    def prepare(self, service: Service) -> None:
        """Have all that a successor needs; nothing changes yet.

        Where it asks for another address or port than the service before, it listens there
        already. Raises QtctlError where it can't.
        """
        successor = _Successor(service)
        if successor.asked in (self._asked, _address(self._service)):
            service.metrics_port = self._service.metrics_port
        else:
            server = HealthServer(service, successor.progress)
            server.start()
            successor.server = server
        self._next = successor

    def discard(self) -> None:
        """Forget what was prepared."""
        if self._next is not None and self._next.server is not None:
            self._next.server.stop()
        self._next = None

    def replace(self) -> None:
        """Let the prepared one take over as soon as the loop has finished its pass (`look`)."""
        self._replaced_at = clock.monotonic()
        self._stop.set()

    def look(self, now: float) -> None:
        """Start the successor if its time has come: the old loop has ended, or hangs."""
        successor, thread = self._next, self._thread
        if successor is None or thread is None or not self._stop.is_set():
            return
        if thread.is_alive():
            if now - self._replaced_at < END_SEC or self.progress.live(now).ok:
                return
            self.abandoned.append(thread)
            fields = {"services": self.name, "limit_sec": self.progress.timeout_sec}
            log.error("replaced a loop that did not end", extra={"fields": fields})
        self._next = None
        self._take_over(successor)

    def stop(self) -> None:
        """Ask the loop to end; a successor that waits is not started any more."""
        self.progress.stopping = True
        self._stop.set()

    def join(self, deadline: float) -> bool:
        """Wait for the loop until then (monotonic); False if it, or one before it, still runs."""
        threads = [*self.abandoned, *([self._thread] if self._thread is not None else [])]
        for thread in threads:
            thread.join(max(0.0, deadline - clock.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def free(self) -> None:
        """Give the ports back."""
        self.discard()
        self._server.stop()

    def _take_over(self, successor: "_Successor") -> None:
        self._service, self._asked = successor.service, successor.asked
        self.progress = successor.progress
        if successor.server is None:
            self._server.switch(self._service, self.progress)
        else:
            self._server.stop()
            self._server = successor.server
        self.start()


class _Successor:
    """A service that waits for its predecessor's end; `server` where it needs another port."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.asked = _address(service)  # before listening puts the real port in place of 0
        self.progress = _progress_of(service)
        self.server: HealthServer | None = None


def _progress_of(service: Service) -> Progress:
    return Progress(service.pass_timeout_sec, clock.monotonic())


def _address(service: Service) -> tuple[str, int]:
    return service.metrics_addr, service.metrics_port
