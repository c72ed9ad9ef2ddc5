"""A folder and the processes in it that are gone when this process is, also after a SIGKILL."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Told the pids to kill, all of them in each line; waits for the end of whoever started it.
_GUARD = """
while read -r line; do pids=$line; done
for pid in $pids; do kill -9 "$pid"; done
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
"""


class Guard:
    """Knows which processes must not outlive us."""

    def __init__(self, directory: Path, process: "subprocess.Popen[bytes]") -> None:
        self.directory = directory
        self._process = process
        self._pids: set[int] = set()

    def watch(self, pid: int) -> None:
        """This process is to end with us."""
        self._pids.add(pid)
        self._tell()

    def forget(self, pid: int) -> None:
        """It has ended."""
        self._pids.discard(pid)
        self._tell()

    def _tell(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(" ".join(map(str, self._pids)).encode() + b"\n")


@contextlib.contextmanager
def guarded() -> Iterator[Guard]:
    """A folder of our own (0700, its path short enough for a socket) for the length of a `with`."""
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    process = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "guard", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        yield Guard(directory, process)
    finally:
        process.stdin.close()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)
