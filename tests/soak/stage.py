"""The server and the governors as processes, to be killed and started again."""

import fcntl
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from qtctl.wire.client.store import Store
from qtctl.wire.private_server import process as processes
from qtctl.wire.private_server import program
from qtctl.wire.private_server.folder import SOCKET
from qtctl.wire.schema.keys import Keys
from tests.soak.diary import Diary, Life
from tests.soak.off_clock import OFFSET
from tests.soak.scenario import Scenario
from tests.support import clocks
from tests.support.clocks import SteppedClock
from tests.support.guard import Guard
from tests.support.processes import until
from tests.support.slow_link import SlowLink

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
DESCRIPTORS = 256
"""That a governor may have: so that a flood needs no thousands of connections."""
PIPE_BYTES = 4_096
_SET_PIPE_SIZE = 1031


class Server:
    """A real server over a folder, its clock ours or one that steps."""

    def __init__(self, guard: Guard, folder: Path, clock: Mapping[str, str], fsync: str) -> None:
        self.folder, self._guard = folder, guard
        self.url = f"unix://{folder / SOCKET}"
        folder.mkdir(mode=0o700, exist_ok=True)
        options = {
            "port": "0", "unixsocket": str(folder / SOCKET), "dir": str(folder), "save": "",
            "logfile": "server.log", "appendonly": "yes", "appendfsync": fsync,
            "maxmemory-policy": "noeviction",
        }  # fmt: skip
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen(
            [program.find(), *words],
            env={"LC_ALL": "C", "TZ": "UTC", **clock},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid = self._process.pid
        guard.watch(self.pid)
        until(self._answers, what="the server to answer", timeout=20)

    def signal(self, number: signal.Signals) -> None:
        """Stop it or let it go on."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """As a crash would: what it has written to its file is there, nothing else."""
        self._process.kill()
        self._process.wait()
        self._guard.forget(self.pid)
        clocks.clear(self.pid)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "server.log").read_text()
        return processes.ask(self.folder, b"PING") == b"+PONG"


class Governor:
    """One process, where it logs, and its life. Its log is read as it comes, unless `stall`."""

    def __init__(self, process: "subprocess.Popen[bytes]", life: Life, log: Path) -> None:
        self.name, self.process, self.life = life.name, process, life
        self.port = 0
        self._read = threading.Event()
        self._read.set()
        self._pump = threading.Thread(target=self._pump_log, args=(log,), daemon=True)
        self._pump.start()

    def stall(self) -> None:
        """Nobody reads its log from now on."""
        self._read.clear()

    def unstall(self) -> None:
        """All that it has written meanwhile is read."""
        self._read.set()

    def await_log(self) -> None:
        """After its end: until all of the log is in its file."""
        self.unstall()
        self._pump.join(5)

    def _pump_log(self, log: Path) -> None:
        assert self.process.stderr is not None
        with self.process.stderr, log.open("wb", buffering=0) as out:
            for line in self.process.stderr:
                self._read.wait()
                out.write(line)
                if self.life.ready is None:
                    found = re.search(rb"governor listening url=http://[^:]+:(\d+)", line)
                    if found:
                        self.port, self.life.ready = int(found[1]), time.monotonic()


class Stage:
    """What the nemesis strikes at. Used from one thread; the addresses never change.

    url: of the server; governed_url: the same over a link that can be slow.
    """

    def __init__(self, scenario: Scenario, guard: Guard, link: SlowLink) -> None:
        self._scenario = scenario
        self._guard = guard
        self._started = 0
        self.link = link
        self.diary = Diary()
        self.directory = guard.directory
        self.surprises: list[str] = []
        """Governors that ended though nobody had killed them."""
        self.past: list[Path] = []
        """Folders of servers whose data was lost, in their order."""
        self.past_off: list[float] = []
        self.off_sec = 0.0
        """How far the server's clock is ahead."""
        self._server_clock = self._new_clock("server")
        self._host_clock = self.directory / "host-clock"
        self.server = self._new_server()
        self.url = self.server.url
        self.governors = [self._new_governor(MAIN)]

    @property
    def clocks(self) -> bool:
        """True where clocks can be stepped here."""
        return self._server_clock is not None

    def store(self, timeout_sec: float = 2.0) -> Store:
        """A connection of one's own."""
        return Store(self.url, Keys(), timeout_sec=timeout_sec)

    # The server -------------------------------------------------------------------------------

    def kill_server(self) -> None:
        """As a crash would."""
        self.server.kill()

    def start_server(self) -> None:
        """Over the same file; returns once it has loaded it."""
        self.server = self._new_server()

    def lose_data(self) -> None:
        """Of a server that was killed: it will start empty. What it had stays for the checker."""
        place = self.directory / f"past-{len(self.past)}"
        (self.directory / "server").rename(place)
        self.keep_past(place)

    def keep_past(self, place: Path) -> None:
        """The data of a server that lost it there, for the checker."""
        self.past.append(place)
        self.past_off.append(self.off_sec)

    def signal_server(self, number: signal.Signals) -> None:
        """Stop it or let it go on."""
        self.server.signal(number)

    def step_server_clock(self, by_sec: float) -> None:
        """It is so far ahead of what it was."""
        assert self._server_clock is not None
        self.off_sec += by_sec
        self._server_clock.off(self.off_sec)

    def set_host_clock(self, off_sec: float) -> None:
        """The governors' wall clock is so far ahead of ours."""
        self._host_clock.write_text(f"{off_sec}")

    def past_server(self, number: int) -> Server:
        """The server as it was before it lost its data; to be killed by the caller."""
        clock = self._new_clock(f"past-clock-{number}")
        if clock is not None:
            clock.off(self.past_off[number])
        return Server(self._guard, self.past[number], _of(clock), "no")

    # The governors ----------------------------------------------------------------------------

    def kill_governor(self, governor: Governor) -> None:
        """SIGKILL, also to one that is frozen."""
        governor.process.kill()
        governor.process.wait()
        self._gone(governor)

    def freeze(self, governor: Governor) -> None:
        """SIGSTOP."""
        governor.life.frozen.append([time.monotonic()])
        governor.process.send_signal(signal.SIGSTOP)

    def unfreeze(self, governor: Governor) -> None:
        """SIGCONT, unless it was killed meanwhile."""
        if governor.process.poll() is None:
            governor.process.send_signal(signal.SIGCONT)
        governor.life.frozen[-1].append(time.monotonic())

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
                self._gone(governor)
                if len(self.surprises) > MOST_SURPRISES:
                    last = self.audit_logs()[-1].read_text(errors="replace")
                    raise AssertionError(f"the governor ends by itself all the time:\n{last}")
                self.start_governor(governor.name)

    def audit_logs(self) -> list[Path]:
        """What each governor process has logged."""
        return sorted(self.directory.glob("governor-*.log"))

    def end(self) -> None:
        """Everything, at once."""
        for governor in list(self.governors):
            self.kill_governor(governor)
        self.kill_server()

    def _gone(self, governor: Governor) -> None:
        governor.life.ended = time.monotonic()
        governor.await_log()
        self._guard.forget(governor.process.pid)
        self.governors.remove(governor)

    def _new_clock(self, name: str) -> SteppedClock | None:
        if not self._scenario.stepped or clocks.found() is None:
            return None
        folder = self.directory / f"clock-{name}"
        folder.mkdir()
        return SteppedClock(folder)

    def _new_server(self) -> Server:
        folder, clock = self.directory / "server", _of(self._server_clock)
        server = Server(self._guard, folder, clock, self._scenario.fsync)
        self.diary.servers.append(time.monotonic())
        return server

    def _new_governor(self, name: str) -> Governor:
        self._started += 1
        settings = (*SETTINGS, *self._scenario.settings)
        sets = [part for setting in settings for part in ("--set", setting)]
        command = (*self._scenario.governor, "--redis-url", self.link.url, *sets)
        life = Life(name, self._started, time.monotonic())
        process = subprocess.Popen(
            ["/bin/sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh",
             *command, "serve", "governor", "--name", name],
            cwd=ROOT,
            env=_environment() | {OFFSET: str(self._host_clock)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        assert process.stderr is not None
        fcntl.fcntl(process.stderr, _SET_PIPE_SIZE, PIPE_BYTES)
        self._guard.watch(process.pid)
        self.diary.lives.append(life)
        return Governor(process, life, self.directory / f"governor-{self._started:04}.log")


def _of(clock: SteppedClock | None) -> dict[str, str]:
    return {} if clock is None else clock.environ


def _environment() -> dict[str, str]:
    """Ours, without what would set the governor otherwise."""
    ours = ("QTCTL_", "GOV_", "P31_", "REDIS_", "METRICS_", "STREAM_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"QTCTL_CONFIG": os.devnull}
