"""Messages to systemd, over the datagram socket named in the environment (sd_notify)."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

# A manager that does not read must not delay the supervisor; what matters is sent again.
_SEND_TIMEOUT_SEC = 0.2


class Notify:
    """Sends to the manager that `environ` names, if any. watchdog_sec: how long it waits for a
    WATCHDOG=1, None without a watchdog."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # @ stands for the NUL byte of an abstract socket; other kinds (vsock:) are not supported.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.listening = address.startswith(("@", "/"))
        self.watchdog_sec = _watchdog_sec(environ) if self.listening else None

    def send(self, *lines: str) -> bool:
        """Send one message, a `NAME=value` per line; False if it could not be delivered."""
        if not self.listening:
            return True
        message = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(_SEND_TIMEOUT_SEC)
                out.connect(self._address)
                out.sendall(message.encode(errors="backslashreplace"))
        except (OSError, ValueError):  # no receiver, a full queue, an invalid address
            return False
        return True


def _watchdog_sec(environ: Mapping[str, str]) -> float | None:
    pid = environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return None  # meant for a parent, whose environment was inherited
    with suppress(ValueError):
        usec = int(environ.get("WATCHDOG_USEC", ""))
        return usec / 1e6 if usec > 0 else None
    return None
