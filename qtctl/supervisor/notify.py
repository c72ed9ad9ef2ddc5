"""Words for systemd, over the datagram socket that it names in the environment (sd_notify)."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

# A manager that does not read must not hold the supervisor up; what matters is said again.
_SEND_TIMEOUT_SEC = 0.2


class Notify:
    """Tells the manager that `environ` names; where it names none, everything is told to nobody.

    `watchdog_sec` is how long the manager waits for a WATCHDOG=1, None where it does not.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # @ stands for the NUL byte of an abstract socket; other kinds (vsock:) are not for us.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.listening = address.startswith(("@", "/"))
        self.watchdog_sec = _watchdog_sec(environ) if self.listening else None

    def send(self, *lines: str) -> bool:
        """One message, a `NAME=value` per line. False where it could not be delivered.

        Never raises: whether somebody listens must not matter to the services.
        """
        if not self.listening:
            return True
        message = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(_SEND_TIMEOUT_SEC)
                out.connect(self._address)
                out.sendall(message.encode(errors="backslashreplace"))
        except (OSError, ValueError):  # nobody there, a full queue, an impossible address
            return False
        return True


def _watchdog_sec(environ: Mapping[str, str]) -> float | None:
    pid = environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return None  # meant for another process, which passed its environment on
    with suppress(ValueError):
        usec = int(environ.get("WATCHDOG_USEC", ""))
        return usec / 1e6 if usec > 0 else None
    return None
