"""Where a proof runs: in a sandbox with services of its own, or on the running ones.

Source: docs/proofs.md.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from qtctl import clock
from qtctl.proof.scenarios import SERVICE_OF
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.queries.services import running
from qtctl.wire.schema.keys import Keys
from qtctl.wire.schema.service import ServiceRecord

SANDBOX_SEC = 15.0
"""A private server and its services: far more than they need, even on a loaded machine."""
STEP2_LIVE_SEC = 5.0
DEFAULT_INTERVAL_SEC = 10.0


class Environment(Protocol):
    """What a run needs to know of its surroundings."""

    store: Store
    live: bool

    def ready(self) -> None:
        """Called when everything that the services must find has been written."""

    def service(self, step: str) -> ServiceRecord | None:
        """The record of the service that a step proves, None where none runs."""

    def trouble(self, step: str) -> str | None:
        """Why that service can't answer any more, and how to fix it; None while it may."""

    def patience_sec(self, step: str) -> float:
        """How long a scenario of this step may take."""


class Sandbox:
    """A private server, and `qtctl serve` as a process with the settings in force."""

    live = False

    def __init__(self, store: Store, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self.store = store
        self._command = command
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop()

    def ready(self) -> None:
        """Starts the services: their first pass finds everything there."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=dict(self._environ),
            # Ctrl-C is for the proof, which then ends them.
            start_new_session=True,
        )

    def service(self, step: str) -> ServiceRecord | None:
        """Its record; a sandbox has one of each."""
        found = running(self.store, SERVICE_OF[step])
        return found[0] if found else None

    def trouble(self, step: str) -> str | None:
        """The exit status and last line of output, once the process has ended."""
        if self._process is None or self._process.poll() is None:
            return None
        return f"'qtctl serve' ended with {self._process.returncode}: {self._last_words()}"

    def patience_sec(self, step: str) -> float:
        """The same for all."""
        return SANDBOX_SEC

    def stop(self) -> None:
        """Ends the services, and their output with them.

        By SIGKILL: their server goes at the same moment, and nothing of theirs stays.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def _last_words(self) -> str:
        self._output.seek(0)
        lines = self._output.read().decode("utf-8", "backslashreplace").splitlines()
        return lines[-1] if lines else "it said nothing"


@contextmanager
def sandbox(
    steps: Sequence[str], options: Sequence[str], environ: Mapping[str, str], keys: Keys
) -> Iterator[Sandbox]:
    """A sandbox for these steps; options: what `qtctl serve` gets besides (--config, --set)."""
    what = "all" if len(steps) > 1 else SERVICE_OF[steps[0]]
    with temporary() as server:
        command = [
            sys.executable, "-m", "qtctl", "serve", what, *options, "--redis-url", server.url,
            "--set", "allocation.metrics_port=0", "--set", "governor.metrics_port=0",
            "--set", "logging.format=plain",
        ]  # fmt: skip
        # It would mean two ports under `serve all`; the sandbox takes free ones anyway.
        own = {name: value for name, value in environ.items() if name != "METRICS_PORT"}
        store = Store(server.url, keys)
        stage = Sandbox(store, command, own)
        try:
            yield stage
        finally:
            stage.stop()
            store.close()


class Live:
    """The configured Redis and the services that run on it."""

    live = True

    def __init__(self, store: Store) -> None:
        self.store = store

    def ready(self) -> None:
        """Nothing to start: they are running."""

    def service(self, step: str) -> ServiceRecord | None:
        """The record of one of them; several share the work, and any may have done it."""
        found = running(self.store, SERVICE_OF[step])
        return found[0] if found else None

    def trouble(self, step: str) -> str | None:
        """Nothing of this kind can be known here."""
        service = SERVICE_OF[step]
        if running(self.store, service):
            return None
        return f"no {service} runs on this Redis: start it with 'qtctl serve {service}'"

    def patience_sec(self, step: str) -> float:
        """Step 1 takes up to two passes, each after its interval; step 2 about a second."""
        return STEP2_LIVE_SEC if step == "step2" else 2 * self.interval_sec() + 2.0

    def interval_sec(self) -> float:
        """Between two passes of the running allocation loop."""
        found = self.service("step1")
        return found.interval_sec if found else DEFAULT_INTERVAL_SEC


def systemd_says(service: str) -> str | None:
    """`systemctl is-active` of a service's unit; None where there is no systemd or no such unit."""
    if not Path("/run/systemd/system").is_dir():
        return None
    unit = {"allocation": "quantum-allocation-target", "governor": "quantum-governor"}[service]
    for name in (unit, "qtctl"):
        with suppress(OSError, subprocess.SubprocessError):
            shown = subprocess.run(
                ["systemctl", "show", "-p", "LoadState,ActiveState", "--value", name],
                capture_output=True, text=True, timeout=2, check=True,
            ).stdout.split()  # fmt: skip
            if "loaded" in shown:
                return f"{name}: {next(word for word in shown if word != 'loaded')}"
    return None


def wait_for_a_pass(stage: Live) -> None:
    """Until a pass that may be under way now has ended, as far as can be seen."""
    before = stage.service("step1")
    if before is None:
        return
    deadline = clock.monotonic() + stage.interval_sec() + 3.0
    while clock.monotonic() < deadline:
        now = stage.service("step1")
        if now is None or now.last_pass_at > before.last_pass_at:
            return
        clock.sleep(0.05)
