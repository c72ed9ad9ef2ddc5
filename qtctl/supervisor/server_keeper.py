"""Starts the private server again that `serve` answers for, when it ends by itself or is killed.

The services only wait for it meanwhile, as for any Redis that is away. What its append-only file
holds is there again; the governor quarantines opens as after any restart.
"""

import logging
import threading
from typing import Protocol, Self

from qtctl import clock
from qtctl.errors import QtctlError
from qtctl.supervisor.backoff import Backoff

log = logging.getLogger("qtctl.supervisor.server")

LOOK_SEC = 0.2
FIRST_RETRY_SEC, MOST_RETRY_SEC = 0.1, 5.0
JOIN_SEC = 1.0
"""How long the end of serve waits for a start that is under way."""


class PrivateServer(Protocol):
    """What is kept running."""

    @property
    def ended(self) -> str | None:
        """How it ended, None while it runs."""

    def start_again(self) -> None:
        """Over the same files; returns when it answers. Errors: QtctlError."""


class ServerKeeper:
    """A thread for the length of a `with`."""

    def __init__(self, server: PrivateServer) -> None:
        self._server = server
        self._stop = threading.Event()
        self._backoff = Backoff(FIRST_RETRY_SEC, MOST_RETRY_SEC)
        self._thread = threading.Thread(target=self._run, name="private server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(JOIN_SEC)

    def _run(self) -> None:
        started, problem = clock.monotonic(), ""
        while not self._stop.wait(LOOK_SEC):
            how = self._server.ended
            if how is None:
                continue
            if not problem:
                fields = {"how": how, "up_sec": f"{clock.monotonic() - started:.1f}"}
                log.error("the private server is gone: starting it again", extra={"fields": fields})
            self._backoff.ran(clock.monotonic() - started)
            if self._stop.wait(self._backoff.next()):
                return
            try:
                self._server.start_again()
            except (QtctlError, OSError) as failure:
                if str(failure) != problem:
                    log.error("the private server can't be started again: %s", failure)
                problem = str(failure)
            else:
                log.warning("the private server runs again, with what its file held")
                problem = ""
            started = clock.monotonic()
