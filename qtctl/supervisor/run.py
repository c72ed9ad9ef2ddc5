"""The one process that hosts the services: ports, threads, signals, and an orderly end.

::

    bind every port → a thread per service → look repeatedly, until SIGTERM, SIGINT, stop() or a
    loop gives up that is not optional → let each loop finish its pass → free the ports → exit code

SIGHUP reads the settings again: a new service replaces each old one as soon as that has finished
its pass. Counters start at 0, as after a restart; the ports stay bound.
"""

import contextlib
import logging
import queue
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from qtctl import clock
from qtctl.errors import QtctlError
from qtctl.services.base import Service
from qtctl.supervisor.hosted_service import HostedService
from qtctl.supervisor.notify import Notify
from qtctl.supervisor.reporter import Reporter
from qtctl.supervisor.signals import Request, handling

log = logging.getLogger("qtctl.supervisor")

EXIT_ABANDONED: Final = 1
EXIT_GAVE_UP: Final = 1

# How long a pass may go on after a signal; the whole end stays within 5 s.
GRACE_SEC = 4.0

NOBODY: Final = Notify({})


class Supervisor:
    """Runs services until asked to end. Good for one `run`.

    ready: called once, when every port is bound and every loop started, with the port of each
    service by name. reload: reads the settings again and makes services of the same names; if it
    raises, or a new port is taken, the old ones stay, else `reloaded` is called. Without `reload`,
    SIGHUP is not handled. optional: names of services without which the others still work: trouble
    with one of these never keeps the others from starting, and never ends them.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        optional: Collection[str] = (),
        ready: Callable[[Mapping[str, int]], None] | None = None,
        reload: Callable[[], Sequence[Service]] | None = None,
        reloaded: Callable[[], None] | None = None,
        notify: Notify = NOBODY,
        grace_sec: float = GRACE_SEC,
    ) -> None:
        self._services, self._optional = services, optional
        self._ready = ready
        self._read_again = reload
        self._reloaded = reloaded
        self._notify = notify
        self._grace_sec = grace_sec
        self._reload_due = False
        # Not an Event: a signal handler may run while its own thread holds an Event's lock.
        # SimpleQueue.put is the one way to wake a thread that is safe there.
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()

    def run(self) -> int:
        """Host the services; the exit code: 0 after SIGTERM or `stop()`, 130 after SIGINT, 1 if a
        loop that is not optional gave up or did not end within the grace. A second SIGTERM or
        SIGINT ends the process at once, with 143 or 130. Signals are handled in the main thread
        only.

        Raises QtctlError, before any loop starts, if a port can't be bound, but for that of an
        optional service.
        """
        hosted = [HostedService(it, optional=it.name in self._optional) for it in self._services]
        reporter = Reporter(self._notify, hosted)
        with contextlib.ExitStack() as stack:
            stack.enter_context(handling(self._requests.put, reload=self._read_again is not None))
            for service in hosted:
                stack.callback(service.free)
                service.bind()
            for service in hosted:
                service.start()
            try:
                if self._ready is not None:
                    self._ready({service.name: service.port for service in hosted})
                code = self._watch(hosted, reporter)
            finally:
                ended = self._end(hosted, reporter)
        return code if ended else EXIT_ABANDONED

    def stop(self, code: int = 0) -> None:
        """Make `run` end with `code`; returns at once, from any thread or signal handler."""
        self._requests.put(code)

    def reload(self) -> None:
        """Make `run` read the settings again, as SIGHUP does."""
        self._requests.put(None)

    def _watch(self, hosted: Sequence[HostedService], reporter: Reporter) -> int:
        """Look after the loops until an end is requested or one gives up; the exit code."""
        while True:
            with contextlib.suppress(queue.Empty):
                request = self._requests.get(timeout=reporter.pause_sec)
                if request is not None:
                    return request
                self._reload_due = True
            now = clock.monotonic()
            for service in hosted:
                service.look(now)
                if service.gave_up and not service.optional:
                    fields = {"service": service.name}
                    log.error("stopping, since a loop gave up", extra={"fields": fields})
                    return EXIT_GAVE_UP
            # One at a time: a reload waits until the one before it has taken effect, but for what
            # is optional, which may hang for long.
            if self._reload_due and not any(each.changing and not each.optional for each in hosted):
                self._reload_due = False
                self._reload(hosted, reporter)
            reporter.look(clock.monotonic())

    def _reload(self, hosted: Sequence[HostedService], reporter: Reporter) -> None:
        reporter.reloading(clock.monotonic())
        try:
            self._prepare(hosted)
        except Exception as exc:
            # The supervisor's boundary: nothing that is wrong with the new settings, or with the
            # code that reads them, may end what runs.
            why = str(exc) if isinstance(exc, QtctlError) else f"{type(exc).__name__}: {exc}"
            bug = None if isinstance(exc, QtctlError) else exc
            log.error("reload refused, the old settings stay: %s", why, exc_info=bug)
            reporter.reloaded(refused=why)
            return
        for service in hosted:
            service.replace()
        reporter.reloaded()
        log.info("reloaded; counters start again at 0")
        if self._reloaded is not None:
            self._reloaded()

    def _prepare(self, hosted: Sequence[HostedService]) -> None:
        """Prepare all successors, listening where they are to listen; none if any fails."""
        assert self._read_again is not None, "without it SIGHUP is not handled"
        made = {service.name: service for service in self._read_again()}
        try:
            for service in hosted:
                service.prepare(made[service.name])
        except BaseException:
            for service in hosted:
                service.discard()
            raise

    def _end(self, hosted: Sequence[HostedService], reporter: Reporter) -> bool:
        """Let the loops finish their pass; False if one that is not optional did not in time."""
        log.info("stopping")
        reporter.stopping()
        for service in hosted:
            service.stop()
        deadline = clock.monotonic() + self._grace_sec
        late = [service for service in hosted if not service.join(deadline)]
        if late:
            names = ",".join(service.name for service in late)
            fields = {"services": names, "grace_sec": self._grace_sec}
            log.error("abandoned a loop that did not end in time", extra={"fields": fields})
        else:
            log.info("stopped")
        return all(service.optional for service in late)


def once(services: Sequence[Service]) -> bool:
    """Let each service do what is there now, without ports; False if something stays undone.
    Raises what the services raise."""
    done = []
    for service in services:
        try:
            service.open()
            done.append(service.once())
        finally:
            service.close()
    return all(done)
