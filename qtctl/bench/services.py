"""`qtctl serve` as a process of its own, as operators run it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from qtctl import clock
from qtctl.bench.stage import Stage
from qtctl.errors import QtctlError
from qtctl.wire.schema.keys import SERVICE

START_SEC = 30.0


class Served:
    """A running process, its memory and its share of the cores."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def pause(self) -> None:
        """Suspends it until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Resumes it."""
        self._process.send_signal(signal.SIGCONT)

    def resident_mb(self) -> float:
        """Its resident memory now, in MB."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise QtctlError("its memory can't be read from /proc")

    def cpu_sec(self) -> float:
        """CPU time it has used so far, in seconds."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def served(stage: Stage, what: str, count: int, sets: Sequence[str] = ()) -> Iterator[Served]:
    """`qtctl serve WHAT` once its `count` services have their records in Redis."""
    settings = (
        "allocation.metrics_port=0",
        "governor.metrics_port=0",
        "logging.level=error",
        *sets,
    )
    options = [part for each in settings for part in ("--set", each)]
    command = [sys.executable, "-m", "qtctl", "serve", what, "--redis-url", stage.url, *options]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("QTCTL_")}
    process = subprocess.Popen(
        command, env=environ | {"QTCTL_CONFIG": os.devnull}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    store = stage.store()
    try:
        deadline = clock.monotonic() + START_SEC
        pattern = store.keys.pattern(SERVICE)
        while len(set(store.scan_keys(pattern))) < count:
            if process.poll() is not None or clock.monotonic() > deadline:
                raise QtctlError(f"qtctl serve {what} did not start")
            clock.sleep(0.02)
        yield Served(process)
    finally:
        store.close()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
