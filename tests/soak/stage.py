"""The server and the governors as processes, to be killed and started again."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from qtctl.wire.client.store import Store
from qtctl.wire.private_server import process
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.schema.keys import Keys
from tests.soak.off_clock import OFFSET
from tests.soak.scenario import Scenario
from tests.support import clocks
from tests.support.clocks import SteppedClock
from tests.support.guard import Guard

ROOT = Path(__file__).parents[2]
SETTINGS = (
    "governor.metrics_port=0",
    "governor.symbol_cooldown_sec=0",
    "governor.reopen_cooldown_sec=0",
    "governor.max_exec_per_5min=0",
    "governor.max_exec_per_hour=0",
    "governor.stream_maxlen=10000000",
)
"""No rate may hide a double, and no event may be forgotten."""
MOST_SURPRISES = 20
MAIN, TWIN = "g1", "g2"


class Governor(msgspec.Struct):
    """One process, and where it logs."""

    name: str
    process: "subprocess.Popen[bytes]"


class Stage:
    """What the nemesis strikes at. Used from one thread; `url` never changes."""

    def __init__(self, scenario: Scenario, guard: Guard) -> None:
        self._scenario = scenario
        self._guard = guard
        self._extra = {"appendfsync": scenario.fsync}
        self._started = 0
        self.directory = guard.directory
        self.surprises: list[str] = []
        """Governors that ended though nobody had killed them."""
        # None where libfaketime is missing: then its clock does not step.
        self.server_clock = SteppedClock(guard.directory) if clocks.found() else None
        self.host_clock = guard.directory / "host-clock"
        self.server = self._new_server()
        self.url = self.server.url
        self.governors = [self._new_governor(MAIN)]

    def store(self, timeout_sec: float = 2.0) -> Store:
        """A connection of one's own."""
        return Store(self.url, Keys(), timeout_sec=timeout_sec)

    def kill_server(self) -> None:
        """As a crash would: what it has written to its file is there, nothing else."""
        self.server.kill()
        clocks.clear(self.server.pid)
        self._guard.forget(self.server.pid)

    def start_server(self) -> None:
        """Over the same file; returns once it has loaded it."""
        self.server = self._new_server()

    def signal_server(self, number: signal.Signals) -> None:
        """Stop it or let it go on."""
        os.kill(self.server.pid, number)

    def kill_governor(self, governor: Governor) -> None:
        """SIGKILL, also to one that is frozen."""
        governor.process.kill()
        governor.process.wait()
        self._guard.forget(governor.process.pid)
        self.governors.remove(governor)

    def start_governor(self, name: str) -> Governor:
        """One more; it needs half a second until it serves."""
        governor = self._new_governor(name)
        self.governors.append(governor)
        return governor

    def look(self) -> None:
        """A governor that ended by itself is a breach of its own; it is started again."""
        for governor in list(self.governors):
            code = governor.process.poll()
            if code is not None:
                self.surprises.append(f"{governor.name} ended by itself with {code}")
                if len(self.surprises) > MOST_SURPRISES:
                    last = self.audit_logs()[-1].read_text(errors="replace")
                    raise AssertionError(f"the governor ends by itself all the time:\n{last}")
                self._guard.forget(governor.process.pid)
                self.governors.remove(governor)
                self.start_governor(governor.name)

    def audit_logs(self) -> list[Path]:
        """What each governor process has logged."""
        return sorted(self.directory.glob("governor-*.log"))

    def end(self) -> None:
        """Everything, at once."""
        for governor in list(self.governors):
            self.kill_governor(governor)
        self.kill_server()

    def _new_server(self) -> Embedded:
        with self._under_its_clock():
            server = Embedded.start(self.directory / "server", appendonly=True, extra=self._extra)
        self._guard.watch(server.pid)
        return server

    @contextlib.contextmanager
    def _under_its_clock(self) -> Iterator[None]:
        """A server that is started meanwhile has a clock that can be stepped."""
        if self.server_clock is None:
            yield
            return
        real = process._binary
        wrapper = self.directory / "stepped-server"
        sets = [f"{name}='{value}'" for name, value in self.server_clock.environ.items()]
        wrapper.write_text(f"#!/bin/sh\nexport {' '.join(sets)}\nexec '{real()}' \"$@\"\n")
        wrapper.chmod(0o700)
        process._binary = lambda: wrapper
        try:
            yield
        finally:
            process._binary = real

    def _new_governor(self, name: str) -> Governor:
        self._started += 1
        log = self.directory / f"governor-{self._started:04}.log"
        sets = [part for setting in SETTINGS for part in ("--set", setting)]
        command = (*self._scenario.governor, "--redis-url", self.url, *sets)
        with log.open("wb") as out:
            child = subprocess.Popen(
                [*command, "serve", "governor", "--name", name],
                cwd=ROOT,
                env=_environment() | {OFFSET: str(self.host_clock)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._guard.watch(child.pid)
        return Governor(name, child)


def _environment() -> dict[str, str]:
    """Ours, without what would set the governor otherwise."""
    ours = ("QTCTL_", "GOV_", "P31_", "REDIS_", "METRICS_", "STREAM_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"QTCTL_CONFIG": os.devnull}


def now_ms() -> float:
    """The clock that the server has too: epoch milliseconds."""
    return time.time() * 1000
