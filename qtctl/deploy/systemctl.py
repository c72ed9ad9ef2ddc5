"""systemd, as far as an installation needs it."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qtctl import clock
from qtctl.errors import QtctlError, RefusedError
from qtctl.text import escape

BOOTED = Path("/run/systemd/system")
"""Exists where systemd runs: sd_booted(3)."""
_CALL_SEC = 60.0
_POLL_SEC = 0.1
_FLAPPING = 3
"""After this many automatic restarts while waiting for a good start, give up."""
_TEXTS = ("LoadState", "ActiveState", "SubState", "Result", "StatusText", "InvocationID")
"""The properties behind the fields of Status, but for its first."""


@dataclass(frozen=True)
class Status:
    """The state of a unit by systemd; the invocation changes with each start."""

    restarts: int
    load: str
    active: str
    sub: str
    result: str
    text: str
    invocation: str

    @property
    def running(self) -> bool:
        """True while it is up or starting."""
        return self.active in ("active", "activating", "reloading")

    def __str__(self) -> str:
        shown = f"{self.active} ({self.sub})"
        if self.result not in ("", "success"):
            shown += f", {self.result}"
        if self.restarts:
            shown += f", restarted {self.restarts} times"
        return shown + (f"; it reports: {escape(self.text)}" if self.text else "")


@dataclass(frozen=True)
class Systemctl:
    """Runs systemctl; each method raises QtctlError with its error output."""

    _program: str

    def status(self, unit: str) -> Status:
        """The state of a unit."""
        out = self._run("show", f"--property={','.join((*_TEXTS, 'NRestarts'))}", unit)
        found = dict(line.partition("=")[::2] for line in out.splitlines())
        texts = (found.get(name, "") for name in _TEXTS)
        return Status(int(found.get("NRestarts") or 0), *texts)

    def daemon_reload(self) -> str:
        """Read all units again; what systemctl printed, which is nothing."""
        return self._run("daemon-reload")

    def stop(self, unit: str) -> str:
        """Stop a unit and wait until it has stopped; `already done` where it was not running."""
        if not self.status(unit).running:
            return "already done"
        return self._run("stop", unit)

    def restart(self, unit: str, wait_sec: float) -> str:
        """Start it again and wait this long until it is ready; its status then, for people. Errors:
        QtctlError with its status where it does not become ready."""
        # Earlier tries must not count: neither a start limit nor a failure.
        self._run("reset-failed", unit, may_fail=True)
        before = self.status(unit)
        # Not by `systemctl restart` alone: while Redis is away, that would wait indefinitely.
        self._run("restart", "--no-block", unit)
        deadline = clock.monotonic() + wait_sec
        while True:
            status = self.status(unit)
            # Right after the call the old process may still be there.
            if status.active == "active" and status.invocation != before.invocation:
                return str(status)
            failed = status.active == "failed" or status.restarts - before.restarts >= _FLAPPING
            if failed or clock.monotonic() >= deadline:
                late = "" if failed else f"not ready after {wait_sec:g} s: "
                raise QtctlError(f"{unit} is {late}{status}; see: journalctl -u {unit} -n 50")
            clock.sleep(_POLL_SEC)

    def _run(self, *words: str, may_fail: bool = False) -> str:
        command = f"systemctl {' '.join(words)}"
        try:
            done = subprocess.run(
                [self._program, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_CALL_SEC,
                check=False,
                env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
            )
        except subprocess.TimeoutExpired as problem:
            raise QtctlError(f"{command} did not end within {_CALL_SEC:g} s") from problem
        except OSError as problem:
            raise QtctlError(f"{command} could not be run: {problem.strerror}") from problem
        if done.returncode and not may_fail:
            error = " ".join(done.stderr.decode("utf-8", "backslashreplace").split())
            raise QtctlError(f"{command} exited {done.returncode}: {error or 'no output'}")
        return done.stdout.decode("utf-8", "backslashreplace")


def here(environ: Mapping[str, str]) -> Systemctl:
    """systemd of this host. Errors: RefusedError where none runs."""
    program = shutil.which("systemctl", path=environ.get("PATH"))
    if program is None or not BOOTED.is_dir():
        why = f"{BOOTED} does not exist" if program else "systemctl is not installed"
        stage = "--root DIR stages the files in a folder"
        raise RefusedError(f"no systemd runs here ({why}), so nothing was done; {stage}")
    return Systemctl(program)
