"""The one process that hosts the services: ports, threads, signals, and an orderly end.

::

    bind every port → a thread per service → look, again and again, until SIGTERM, SIGINT,
    stop() or a loop that gives up → let each loop finish its pass → free the ports → exit code

SIGHUP reads the settings again: new services take the places of the old ones, each when the old
one has finished its pass. Their counters start at 0, as after a restart; the ports stay bound.
"""

import contextlib
import logging
import queue
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from qtctl import clock
from qtctl.errors import QtctlError
from qtctl.services.base import Service
from qtctl.supervisor.hosted_service import HostedService
from qtctl.supervisor.notify import Notify
from qtctl.supervisor.reporter import Reporter
from qtctl.supervisor.signals import Asked, Reload, listening

log = logging.getLogger("qtctl.supervisor")

EXIT_ABANDONED: Final = 1
EXIT_GAVE_UP: Final = 1

# A pass may take so long to end after a signal; with the rest it stays within 5 s.
GRACE_SEC = 4.0

NOBODY: Final = Notify({})


class Supervisor:
    """Runs services until it is told to end. Made for one `run`.

    `ready` is called once, in run's thread, when every port is bound and every loop started,
    with the port of each service by name. `reload` makes services of the same names from settings
    that are read again; where it raises (QtctlError), or a new port can't be had, the old ones
    stay, else `reloaded` is called. Without `reload`, SIGHUP is left alone.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        ready: Callable[[Mapping[str, int]], None] | None = None,
        reload: Callable[[], Sequence[Service]] | None = None,
        reloaded: Callable[[], None] | None = None,
        notify: Notify = NOBODY,
        grace_sec: float = GRACE_SEC,
    ) -> None:
        self._services = services
        self._ready = ready
        self._read_again = reload
        self._reloaded = reloaded
        self._notify = notify
        self._grace_sec = grace_sec
        self._reload_due = False
        # Not an Event: a signal handler may run while its own thread holds an Event's lock.
        # SimpleQueue.put is the one way to wake a thread that is safe there.
        self._asked: queue.SimpleQueue[Asked] = queue.SimpleQueue()

    def run(self) -> int:
        """Host the services; the process's exit code.

        0 after SIGTERM or `stop()`, 130 after SIGINT; 1 where a loop gave up, or did not end
        within the grace and was abandoned. A second SIGTERM or SIGINT ends the process at once,
        with 143 or 130. Signals are taken over only in the main thread, and given back.
        Raises QtctlError, before any loop starts, where a port can't be had.
        """
        slots = [HostedService(service) for service in self._services]
        reporter = Reporter(self._notify, slots)
        with contextlib.ExitStack() as stack:
            stack.enter_context(listening(self._asked.put, reload=self._read_again is not None))
            for slot in slots:
                stack.callback(slot.free)
                slot.bind()
            for slot in slots:
                slot.start()
            try:
                if self._ready is not None:
                    self._ready({slot.name: slot.port for slot in slots})
                code = self._watch(slots, reporter)
            finally:
                ended = self._end(slots, reporter)
        return code if ended else EXIT_ABANDONED

    def stop(self, code: int = 0) -> None:
        """Make `run` end with `code`; returns at once, from any thread or signal handler."""
        self._asked.put(code)

    def reload(self) -> None:
        """Make `run` read the settings again, as SIGHUP does."""
        self._asked.put(Reload.ASKED)

    def _watch(self, slots: Sequence[HostedService], reporter: Reporter) -> int:
        """Look after the loops until the end is asked for, or one gives up; the exit code."""
        while True:
            with contextlib.suppress(queue.Empty):
                asked = self._asked.get(timeout=reporter.pause_sec)
                if isinstance(asked, int):
                    return asked
                self._reload_due = True
            now = clock.monotonic()
            for slot in slots:
                slot.look(now)
                if slot.gave_up:
                    fields = {"service": slot.name}
                    log.error("ends, since a loop gave up", extra={"fields": fields})
                    return EXIT_GAVE_UP
            # One after the other: a reload waits until the one before it has taken hold.
            if self._reload_due and not any(slot.changing for slot in slots):
                self._reload_due = False
                self._reload(slots, reporter)
            reporter.look(clock.monotonic())

    def _reload(self, slots: Sequence[HostedService], reporter: Reporter) -> None:
        reporter.reloading(clock.monotonic())
        try:
            self._prepare(slots)
        except Exception as exc:
            # The supervisor's border: whatever is wrong with the new settings, or with the code
            # that reads them, must not end what runs.
            why = str(exc) if isinstance(exc, QtctlError) else f"{type(exc).__name__}: {exc}"
            bug = None if isinstance(exc, QtctlError) else exc
            log.error("reload refused, the old settings stay: %s", why, exc_info=bug)
            reporter.reload_refused(why)
            return
        for slot in slots:
            slot.replace()
        reporter.reloaded()
        log.info("reloaded; the counters start anew")
        if self._reloaded is not None:
            self._reloaded()

    def _prepare(self, slots: Sequence[HostedService]) -> None:
        """All successors, listening where they will; none of them where any can't be had."""
        assert self._read_again is not None, "else SIGHUP is left alone"
        made = {service.name: service for service in self._read_again()}
        try:
            for slot in slots:
                slot.prepare(made[slot.name])
        except BaseException:
            for slot in slots:
                slot.discard()
            raise

    def _end(self, slots: Sequence[HostedService], reporter: Reporter) -> bool:
        """Let the loops finish their pass; False where one did not in time."""
        log.info("stopping")
        reporter.stopping()
        for slot in slots:
            slot.stop()
        deadline = clock.monotonic() + self._grace_sec
        late = [slot.name for slot in slots if not slot.join(deadline)]
        if late:
            fields = {"services": ",".join(late), "grace_sec": self._grace_sec}
            log.error("abandoned a loop that did not end in time", extra={"fields": fields})
        else:
            log.info("stopped")
        return not late


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
