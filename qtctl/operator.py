"""Who works here: the one name that is kept with what an operator does."""

import getpass
import socket
from collections.abc import Mapping

MAX_NAME_CHARS = 64


def user_at_host(environ: Mapping[str, str]) -> str:
    """`alice@desk`: the user who typed the command, also behind sudo, and this host."""
    name = next((environ[it] for it in ("SUDO_USER", "LOGNAME", "USER") if environ.get(it)), "")
    if not name:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):  # A user id without a name.
            name = "unknown"
    return f"{name[:MAX_NAME_CHARS]}@{socket.gethostname()}"
