"""Real processes under a deadline: started, watched through files, and gone afterwards."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

QTCTL = (sys.executable, "-m", "qtctl")

T = TypeVar("T")


def until(condition: Callable[[], T], timeout: float = 30.0, what: str = "the condition") -> T:
    """What `condition` returns once it is true-ish, asked every 5 ms; fails after `timeout` s."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(0.005)
    return result


def alive(pid: int) -> bool:
    """Is there a process with this id that is no zombie?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:  # no /proc here, or gone this moment
        return not Path("/proc/self").exists()
    return state != "Z"


class Process:
    """A child in a session of its own; its output goes to files, so no pipe can fill up."""

    def __init__(
        self, argv: Sequence[str], directory: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self._stdout, self._stderr = directory / "stdout", directory / "stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self._popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=None if env is None else dict(env),
                start_new_session=True,
            )
        self.pid = self._popen.pid

    @property
    def stdout(self) -> str:
        """What it has printed up to now."""
        return self._stdout.read_text(errors="backslashreplace")

    @property
    def stderr(self) -> str:
        """What it has said on stderr up to now."""
        return self._stderr.read_text(errors="backslashreplace")

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._popen.poll()

    def wait_for_line(self, part: str, timeout: float = 30.0, *, times: int = 1) -> str:
        """The whole line on either stream that contains `part` for the time number `times`."""

        def found() -> str | None:
            ended = self.code is not None
            lines = [
                line.rstrip("\n")
                for text in (self.stdout, self.stderr)
                for line in text.splitlines(keepends=True)
                if part in line and line.endswith("\n")
            ]
            if len(lines) >= times:
                return lines[times - 1]
            if ended:
                raise AssertionError(f"ended without {part!r}: {self}")
            return None

        try:
            return until(found, timeout, f"a line with {part!r}") or ""
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self}") from None

    def signal(self, number: int) -> None:
        """Send it a signal; it alone, not its children. After SIGSTOP it does nothing any more."""
        self._popen.send_signal(number)
        if number == signal.SIGSTOP and Path("/proc/self/task").exists():
            until(self._is_stopped, what="each of its threads to stop")

    def _is_stopped(self) -> bool:
        threads = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return all(each.read_text().rpartition(")")[2].split()[0] == "T" for each in threads)

    def wait(self, timeout: float = 30.0) -> int:
        """Its exit code; fails if it does not end in time."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:g} s: {self}") from None

    def end(self) -> None:
        """SIGKILL to it and its session's children, if anything is left of them."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def __str__(self) -> str:
        return (
            f"pid {self.pid}, exit code {self.code}\n"
            f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )


@contextlib.contextmanager
def process(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Iterator[Process]:
    """A process for the length of a `with`; `env` replaces the environment where given."""
    with tempfile.TemporaryDirectory(prefix="qtctl-test-") as directory:
        child = Process(argv, Path(directory), env)
        try:
            yield child
        finally:
            child.end()


@contextlib.contextmanager
def qtctl(*args: str, env: Mapping[str, str] | None = None) -> Iterator[Process]:
    """`qtctl ARGS…` as a process."""
    with process([*QTCTL, *args], env=env) as child:
        yield child
