"""`qtctl serve` as a process, as operators run it, and what it costs."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from qtctl import clock
from qtctl.bench.stage import Stage
from qtctl.errors import QtctlError
from qtctl.wire.private_server.serving import serve
from qtctl.wire.schema.keys import SERVICE

START_SEC = 30.0


class Served:
    """A running process, its memory and its share of the cores."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def pause(self) -> None:
        """Stop it until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it continue."""
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


def plain_environ() -> dict[str, str]:
    """The environment of this process without settings."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("QTCTL_")}
    return environ | {"QTCTL_CONFIG": os.devnull}


@contextlib.contextmanager
def served(stage: Stage, what: str, count: int, sets: Sequence[str] = ()) -> Iterator[Served]:
    """`qtctl serve WHAT` once its `count` services have their records in Redis."""
    process = serve(what, stage.url, ("logging.level=error", *sets), plain_environ())
    store = stage.store
    try:
        deadline = clock.monotonic() + START_SEC
        pattern = store.keys.pattern(SERVICE)
        while len(set(store.scan_keys(pattern))) < count:
            if process.poll() is not None or clock.monotonic() > deadline:
                raise QtctlError(f"qtctl serve {what} did not start")
            clock.sleep(0.02)
        yield Served(process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
