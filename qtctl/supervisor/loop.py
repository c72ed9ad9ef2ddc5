"""Runs one service: open, pass after pass, and after an error close, wait and open again."""

import logging
import threading

from qtctl import clock
from qtctl.errors import QtctlError, RedisUnreachable, WireError
from qtctl.services.base import Service
from qtctl.supervisor.backoff import Backoff
from qtctl.supervisor.progress import Progress

# Seconds before the first retry, and at most. Redis comes back without help, so it is tried often;
# an exception is a bug, and retries are further apart.
FIRST_RETRY_SEC = 0.1
MOST_REDIS_SEC = 2.0
MOST_EXCEPTION_SEC = 5.0

# After more restarts than this for exceptions within the window, the loop gives up. One plan that
# triggers a bug causes six before it is rejected; two such plans must not end a process. A loop
# that always raises gets there within 20 to 40 s.
FLAP_LIMIT = 12
FLAP_WINDOW_SEC = 120.0


class Loop:
    """Runs one service in the calling thread until `stop` is set, or until there were too many
    exceptions in a short time, where a new process may do better.

    Logs state changes, never tries: Redis away and back, each different message of another error,
    and each exception with its traceback.
    """

    def __init__(self, service: Service, progress: Progress, stop: threading.Event) -> None:
        self._service = service
        self._progress = progress
        self._stop = stop
        self._log = logging.getLogger(f"qtctl.supervisor.{service.name}")
        self._redis_backoff = Backoff(FIRST_RETRY_SEC, MOST_REDIS_SEC)
        self._exception_backoff = Backoff(FIRST_RETRY_SEC, MOST_EXCEPTION_SEC)
        self._away_since: float | None = None
        self._away_message = ""
        self._last_error: str | None = None
        self._restarts: list[float] = []

    def run(self) -> None:
        """Run until `stop`, at once if the service waits, else after the current pass; or until it
        gives up, which is logged."""
        while not self._stop.is_set():
            try:
                self._passes()
                continue  # only `stop` ends the passes
            except RedisUnreachable as exc:
                delay = self._redis_gone(exc)
            except QtctlError as exc:
                delay = self._redis_error(exc)
            except Exception as exc:  # noqa: BLE001 - the supervisor's boundary: logged with
                # its traceback and counted; a bug in one service must not end the others.
                if self._flapping(exc):
                    return
                delay = self._exception(exc)
            self._stop.wait(delay)

    def _passes(self) -> None:
        service, opened = self._service, clock.monotonic()
        try:
            service.open()
            while not self._stop.is_set():
                served = service.step()
                self._finished(clock.monotonic(), opened, served)
                service.wait(self._stop)
        finally:
            service.close()

    def _finished(self, now: float, opened: float, served: int) -> None:
        self._progress.passed(now, self._service.not_ready(), self._service.warning(), served)
        self._redis_backoff.ran(now - opened)
        self._exception_backoff.ran(now - opened)
        if self._away_since is not None:
            fields = {"away_sec": f"{now - self._away_since:.1f}", "was": self._away_message}
            self._log.info("Redis is back", extra={"fields": fields})
            self._away_since = None
        if self._last_error is not None:
            self._log.info("works again", extra={"fields": {"was": self._last_error}})
            self._last_error = None

    def _redis_gone(self, exc: RedisUnreachable) -> float:
        now = clock.monotonic()
        self._progress.tried(now, str(exc), away=True)
        self._service.failed("redis_unreachable")
        if self._away_since is None:
            self._away_since, self._away_message = now, str(exc)
            self._log.error("Redis is unreachable, waiting for it: %s", exc)
        return self._redis_backoff.next()

    def _redis_error(self, exc: QtctlError) -> float:
        if isinstance(exc, WireError):
            self._progress.tried(clock.monotonic(), str(exc), away=False)
        else:
            self._progress.broke(str(exc))
        self._service.failed("redis_error")
        if str(exc) != self._last_error:
            self._last_error = str(exc)
            self._log.error("%s", exc)
        return self._redis_backoff.next()

    def _flapping(self, exc: Exception) -> bool:
        """Note an exception; True, and logged, if there have been too many."""
        self._progress.broke(f"{type(exc).__name__}: {exc}")
        self._service.failed("exception")
        now = clock.monotonic()
        self._restarts = [at for at in self._restarts if now - at < FLAP_WINDOW_SEC] + [now]
        if len(self._restarts) <= FLAP_LIMIT:
            return False
        fields = {"restarts": FLAP_LIMIT, "within_sec": FLAP_WINDOW_SEC}
        self._log.error("the loop keeps raising: giving up", exc_info=exc, extra={"fields": fields})
        return True

    def _exception(self, exc: Exception) -> float:
        delay = self._exception_backoff.next()
        fields = {"error": type(exc).__name__, "in_sec": f"{delay:.1f}"}
        self._log.error("the loop raised and is restarted", exc_info=exc, extra={"fields": fields})
        return delay
