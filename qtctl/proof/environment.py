"""Where a proof runs: in a sandbox with services of its own, or on the running ones."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar

from qtctl import clock
from qtctl.deploy import systemctl, units
from qtctl.errors import QtctlError, RedisUnreachable
from qtctl.proof.scenarios import SERVICE_OF
from qtctl.wire.allocation.symbols import SPREAD
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.private_server.serving import serve, uninterrupted
from qtctl.wire.queries.services import running
from qtctl.wire.schema.keys import Keys
from qtctl.wire.schema.service import TRACKING, ServiceRecord

SANDBOX_SEC = 15.0
"""For a private server and services of our own: far more than they need, even on a slow machine."""
START_SEC = 5.0
"""How long plans wait for the governor's first look, at most."""
STEP2_LIVE_SEC = 5.0
DEFAULT_INTERVAL_SEC = 10.0
RECORD_SEC = 0.2
"""How often the record of a running service is looked at."""


class Limit:
    """How long to wait for a result, from its creation on. within: the same in words."""

    def __init__(self, sec: float) -> None:
        self._end = clock.monotonic() + sec
        self.within = f"within {sec:g} s"

    def over(self) -> bool:
        """True once a result should have been there; with Redis away only time counts."""
        return clock.monotonic() > self._end


@dataclass
class Environment:
    """What a run needs to know of its surroundings."""

    live: ClassVar[bool]
    store: Store

    def service(self, step: str) -> ServiceRecord | None:
        """The record of the service that this step proves, any of several; None where none runs."""
        found = running(self.store, SERVICE_OF[step])
        return found[0] if found else None

    def ready(self) -> None:
        """Everything is written that the services must find at their first pass."""

    def trouble(self, step: str) -> str | None:
        """Why that service can't answer any more, and how to fix it; None while it may."""
        raise NotImplementedError

    def limit(self, step: str) -> "Limit":
        """How long a scenario of this step may take, from now on."""
        raise NotImplementedError


@dataclass
class Sandbox(Environment):
    """A private server, and `qtctl serve` as a process with the settings in force."""

    live = False

    _what: str
    _options: Sequence[str]
    _environ: Mapping[str, str]
    _process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop()

    def ready(self) -> None:
        """Start the services. Returns once the governor has looked at the server: opens that wait
        for it already are quarantined in the server's first second."""
        with uninterrupted():
            self._process = serve(
                self._what, self.store.url, ("logging.format=plain",), self._environ,
                options=self._options, output=self._output,
            )  # fmt: skip
        deadline = clock.monotonic() + START_SEC
        while self._what != SERVICE_OF["step1"] and clock.monotonic() < deadline:
            if self.service("step2") is not None or self.trouble("step2") is not None:
                return
            clock.sleep(0.01)

    def trouble(self, step: str) -> str | None:
        """The process ended: with its last line of output."""
        if self._process is None or self._process.poll() is None:
            return None
        self._output.seek(0)
        lines = self._output.read().decode("utf-8", "backslashreplace").splitlines()
        last = lines[-1] if lines else "no output"
        return f"'qtctl serve' exited {self._process.returncode}: {last}"

    def limit(self, step: str) -> "Limit":
        """The same for all."""
        return Limit(SANDBOX_SEC)

    def stop(self) -> None:
        """Kill the services: their server goes at the same moment, and nothing of theirs stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._output.close()


@contextmanager
def sandbox(
    steps: Sequence[str],
    options: Sequence[str],
    environ: Mapping[str, str],
    keys: Keys,
    *,
    host_redis: bool = False,
) -> Iterator[Sandbox]:
    """A sandbox for these steps; options: more of them for `qtctl serve` (--config, --set).
    host_redis: its server is the host's own, whatever else is installed."""
    what = "all" if len(steps) > 1 else SERVICE_OF[steps[0]]
    # It would mean two ports under `serve all`; the sandbox takes free ones anyway.
    own = {name: value for name, value in environ.items() if name != "METRICS_PORT"}
    with temporary(hosts_own=host_redis) as server:
        store = Store(server.url, keys)
        environment = Sandbox(store, what, options, own)
        try:
            yield environment
        finally:
            environment.stop()
            store.close()


class Live(Environment):
    """The configured Redis and the services that run on it."""

    live = True

    def trouble(self, step: str) -> str | None:
        """No such service runs."""
        service = SERVICE_OF[step]
        if self.service(step) is not None:
            return None
        return f"no {service} runs on this Redis: start it with 'qtctl serve {service}'"

    def limit(self, step: str) -> "Limit":
        """Step 1 takes some passes, as the record of the loop tells; step 2 about a second."""
        return Limit(STEP2_LIVE_SEC) if step == "step2" else PassLimit(self)

    def wait_for_a_pass(self) -> None:
        """Until the pass that may be under way now has ended, as far as can be seen."""
        before = self.service("step1")
        if before is None:
            return
        deadline = clock.monotonic() + before.interval_sec + 3.0
        while clock.monotonic() < deadline:
            now = self.service("step1")
            if now is None or now.last_pass_at > before.last_pass_at:
                return
            clock.sleep(0.05)


class PassLimit(Limit):
    """Until the running allocation loop has ended the passes it needs, however long they take; or
    ends none while it is not late yet."""

    def __init__(self, environment: Live) -> None:
        found = environment.service("step1")
        # The first may have been under way; by SCAN a new target is found within SPREAD more.
        passes = 2 if found is not None and found.discovery == TRACKING else 1 + SPREAD
        interval_sec = found.interval_sec if found else DEFAULT_INTERVAL_SEC
        self._patience_sec = found.late_after_sec if found else 2 * interval_sec
        super().__init__(self._patience_sec)
        self.within = f"within {passes} passes"
        self._environment, self._left = environment, passes
        self._last_pass_at = found.last_pass_at if found else 0
        self._look_at = 0.0

    def over(self) -> bool:
        """The record is written at most once a second: each new one is a pass, at least."""
        now = clock.monotonic()
        if now >= self._look_at:
            self._look_at = now + RECORD_SEC
            found = None
            with suppress(RedisUnreachable):
                found = self._environment.service("step1")
            if found is not None and found.last_pass_at > self._last_pass_at:
                self._last_pass_at, self._left = found.last_pass_at, self._left - 1
                self._end = now + self._patience_sec
        return self._left <= 0 or super().over()


def unit_state(service: str) -> str | None:
    """`UNIT: active` by systemd; None where there is no systemd or no unit of this service."""
    unit = {"allocation": units.ALLOCATION, "governor": units.GOVERNOR}[service]
    with suppress(QtctlError):
        systemd = systemctl.here(os.environ)
        for name in (unit, units.SINGLE):
            status = systemd.status(name)
            if status.load == "loaded":
                return f"{name.removesuffix('.service')}: {status.active}"
    return None
