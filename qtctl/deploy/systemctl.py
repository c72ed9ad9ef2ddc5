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
_ASKED = (
    "LoadState", "ActiveState", "SubState", "Result", "StatusText", "NRestarts", "InvocationID",
)  # fmt: skip


@dataclass(frozen=True)
class Status:
    """The state of a unit by systemd."""

    load: str
    active: str
    sub: str
    result: str
    text: str
    restarts: int
    invocation: str
    """Another one after each start."""

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
        return shown + (f"; it reports: {self.text}" if self.text else "")


class Systemctl:
    """Runs systemctl; each method raises QtctlError with its error output."""

    def __init__(self, program: str) -> None:
        self._program = program

    def status(self, unit: str) -> Status:
        """The state of a unit."""
        out = self._run("show", f"--property={','.join(_ASKED)}", unit)
        found = dict(line.partition("=")[::2] for line in out.splitlines())
        return Status(
            load=found.get("LoadState", ""),
            active=found.get("ActiveState", ""),
            sub=found.get("SubState", ""),
            result=found.get("Result", ""),
            text=escape(found.get("StatusText", "")),
            restarts=int(found.get("NRestarts") or 0),
            invocation=found.get("InvocationID", ""),
        )

    def daemon_reload(self) -> str:
        """Read all units again; what systemctl printed, which is nothing."""
        return self._run("daemon-reload")

    def stop(self, unit: str) -> None:
        """Stop it, and wait until it has."""
        self._run("stop", unit)

    def restart(self, unit: str, wait_sec: float) -> str:
        """Start it again and wait this long until it is ready; its status then, for people.

        Errors: QtctlError with its status where it does not become ready.
        """
        # Earlier tries must not count: neither a start limit nor a failure.
        self._run("reset-failed", unit, may_fail=True)
        before = self.status(unit)
        # Not by `systemctl restart` alone: while Redis is away, that would wait for ever.
        self._run("restart", "--no-block", unit)
        deadline = clock.monotonic() + wait_sec
        while True:
            status = self.status(unit)
            # Right after the call the old process may still be there.
            if status.active == "active" and status.invocation != before.invocation:
                return str(status)
            if status.active == "failed" or status.restarts - before.restarts >= _FLAPPING:
                raise QtctlError(f"{unit} is {status}; see: journalctl -u {unit} -n 50")
            if clock.monotonic() >= deadline:
                raise QtctlError(
                    f"{unit} is not ready after {wait_sec:g} s: {status}; "
                    f"see: journalctl -u {unit} -n 50"
                )
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
        why = f"{BOOTED} is not there" if program else "systemctl is not installed"
        raise RefusedError(
            f"no systemd runs here ({why}), so nothing was done; --root DIR stages the files in a "
            "folder"
        )
    return Systemctl(program)
