"""The one process that hosts the services: ports, threads, signals, and an orderly end.

::

    bind every port → a thread per service → wait for SIGTERM, SIGINT or stop() →
    let each loop finish its pass → free the ports → exit code
"""

import contextlib
import logging
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType

from qtctl import clock
from qtctl.services.base import Service
from qtctl.supervisor.health import HealthServer
from qtctl.supervisor.loop import Loop
from qtctl.supervisor.progress import Progress

log = logging.getLogger("qtctl.supervisor")

EXIT_CODES = {signal.SIGTERM: 0, signal.SIGINT: 130}
EXIT_ABANDONED = 1

# A pass may take so long to end after a signal; with the rest it stays within 5 s.
GRACE_SEC = 4.0

# A signal that the system hands to another thread than the main one is noticed this soon.
_LOOK_SEC = 0.5


class Supervisor:
    """Runs services until it is told to end. Made for one `run`.

    `ready` is called once, in run's thread, when every port is bound and every loop started,
    with the port of each service by name.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        ready: Callable[[Mapping[str, int]], None] | None = None,
        grace_sec: float = GRACE_SEC,
    ) -> None:
        self._services = services
        self._ready = ready
        self._grace_sec = grace_sec
        self._stop = threading.Event()
        # Not an Event: a signal handler may run while its own thread holds an Event's lock.
        # SimpleQueue.put is the one way to wake a thread that is safe there.
        self._exit_codes: queue.SimpleQueue[int] = queue.SimpleQueue()

    def run(self) -> int:
        """Host the services; the process's exit code.

        0 after SIGTERM or `stop()`, 130 after SIGINT, 1 where a loop did not end within the
        grace and was abandoned. Signals are taken over only in the main thread, and given back.
        Raises QtctlError, before any loop starts, where a port can't be had.
        """
        now = clock.monotonic()
        progress = [Progress(service.pass_timeout_sec, now) for service in self._services]
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._signals())
            ports: dict[str, int] = {}
            for service, its_progress in zip(self._services, progress, strict=True):
                server = HealthServer(service, its_progress)
                stack.callback(server.stop)
                ports[service.name] = server.start()
            threads = self._start(progress)
            try:
                if self._ready is not None:
                    self._ready(ports)
                code = self._wait()
            finally:
                abandoned = self._end(threads, progress)
        return EXIT_ABANDONED if abandoned else code

    def stop(self, code: int = 0) -> None:
        """Make `run` end with `code`; returns at once, from any thread or signal handler."""
        self._exit_codes.put(code)

    def _start(self, progress: Sequence[Progress]) -> list[threading.Thread]:
        threads = []
        for service, its_progress in zip(self._services, progress, strict=True):
            loop = Loop(service, its_progress, self._stop)
            # Daemon: a loop that does not end must not keep the process.
            threads.append(threading.Thread(target=loop.run, name=service.name, daemon=True))
            threads[-1].start()
        return threads

    def _wait(self) -> int:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._exit_codes.get(timeout=_LOOK_SEC)

    def _end(self, threads: Sequence[threading.Thread], progress: Sequence[Progress]) -> bool:
        """Let the loops finish their pass; True where one did not in time."""
        log.info("stopping")
        for its_progress in progress:
            its_progress.stopping = True
        self._stop.set()
        deadline = clock.monotonic() + self._grace_sec
        for thread in threads:
            thread.join(max(0.0, deadline - clock.monotonic()))
        late = [thread.name for thread in threads if thread.is_alive()]
        if late:
            fields = {"services": ",".join(late), "grace_sec": self._grace_sec}
            log.error("abandoned a loop that did not end in time", extra={"fields": fields})
        else:
            log.info("stopped")
        return bool(late)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT ask for the end; what they did before is put back afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def asked(number: int, _: FrameType | None) -> None:
            self.stop(EXIT_CODES[signal.Signals(number)])

        before = {number: signal.signal(number, asked) for number in EXIT_CODES}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def once(services: Sequence[Service]) -> bool:
    """Let each service, in order, do what is there now; no ports. False if something stays undone.

    Raises what the services raise: RedisUnreachable, another QtctlError, or a bug as it is.
    """
    done = []
    for service in services:
        try:
            service.open(clock.now())
            done.append(service.once(clock.now()))
        finally:
            service.close()
    return all(done)
