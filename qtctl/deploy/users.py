"""The user and group of the services, which systemd-sysusers makes from a packaged file."""

import shutil
import subprocess
from collections.abc import Mapping

from qtctl.deploy import packaged
from qtctl.errors import RefusedError
from qtctl.text import escape

PATH = "/etc/sysusers.d/qtctl.conf"
"""Where the file is installed: sysusers.d(5)."""
_PROGRAM = "systemd-sysusers"
_CALL_SEC = 60.0


def creates(user: str) -> bool:
    """True for the user that the packaged file is about."""
    return any(line.split()[:2] == ["u", user] for line in packaged.sysusers().splitlines())


def create(user: str, environ: Mapping[str, str]) -> None:
    """Have systemd make the user and group; one that is there stays as it is. Errors: RefusedError
    where that is not possible: nothing was done."""
    program = shutil.which(_PROGRAM, path=environ.get("PATH"))
    if program is None:
        raise missing(user, f"{_PROGRAM} is not installed")
    try:
        done = subprocess.run(
            [program, str(packaged.sysusers_file())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CALL_SEC,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise missing(user, f"{_PROGRAM} could not be run: {problem}") from problem
    if done.returncode:
        error = " ".join(done.stderr.decode("utf-8", "backslashreplace").split())
        raise missing(user, f"{_PROGRAM} exited {done.returncode}: {escape(error)}")


def missing(user: str, why: str = "") -> RefusedError:
    """The error where they are not there, with a command that makes them."""
    because = f" ({why})" if why else ""
    return RefusedError(
        f"the services run as user and group {user}, which do not exist{because}; nothing was "
        f"done. Create them: useradd --system --user-group --no-create-home "
        f"--shell /usr/sbin/nologin {user}"
    )
