"""Many slow connections to a port, until stdin ends.

    python -m tests.soak.flood PORT COUNT

Each sends the beginning of a request and never its end; what the server closes is opened again.
"""

import contextlib
import select
import socket
import sys
import time

PAUSE_SEC = 0.02


def main(port: int, count: int) -> None:
    """Until stdin ends, or half a minute: nobody must be flooded by an orphan."""
    held: list[socket.socket] = []
    until = time.monotonic() + 30
    while time.monotonic() < until and not select.select([sys.stdin], [], [], PAUSE_SEC)[0]:
        while len(held) < count:
            connection = socket.socket()
            connection.setblocking(False)
            held.append(connection)
            with contextlib.suppress(OSError):
                connection.connect(("127.0.0.1", port))
        held = [connection for connection in held if _holds(connection)]
    for connection in held:
        connection.close()


def _holds(connection: socket.socket) -> bool:
    try:
        connection.send(b"G")
        if connection.recv(1_000):
            return True
    except BlockingIOError:
        return True
    except OSError:
        pass
    connection.close()
    return False


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
