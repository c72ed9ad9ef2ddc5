"""The other end of $NOTIFY_SOCKET: what a service manager would hear, and when."""

import contextlib
import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import until

Message = dict[str, str]


class Manager:
    """Hears messages in a thread; each is kept with its time of arrival."""

    def __init__(self, address: str, listening: socket.socket) -> None:
        self.address = address
        self.heard: list[tuple[float, Message]] = []
        self._socket = listening
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def environ(self, watchdog_sec: float | None = None) -> dict[str, str]:
        """What a manager puts into the environment of a service."""
        variables = {"NOTIFY_SOCKET": self.address}
        if watchdog_sec is not None:
            variables["WATCHDOG_USEC"] = str(int(watchdog_sec * 1e6))
        return variables

    @property
    def messages(self) -> list[Message]:
        return [message for _, message in self.heard]

    @property
    def status(self) -> str:
        """What STATUS said last."""
        return next((m["STATUS"] for m in reversed(self.messages) if "STATUS" in m), "")

    def times(self, name: str) -> list[float]:
        """When this was said."""
        return [at for at, message in self.heard if name in message]

    def count(self, name: str) -> int:
        return len(self.times(name))

    def states(self) -> list[str]:
        """READY, RELOADING and STOPPING in the order they came."""
        wanted = ("READY", "RELOADING", "STOPPING")
        return [name for message in self.messages for name in wanted if message.get(name) == "1"]

    def wait_for(self, name: str, count: int = 1, timeout: float = 10.0) -> Message:
        """The count-th message with this name."""
        until(lambda: self.count(name) >= count, timeout, f"{name} for the {count}. time")
        return [message for message in self.messages if name in message][count - 1]

    def stop(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(b"", _bound(self.address))
        self._thread.join()

    def _listen(self) -> None:
        while datagram := self._socket.recv(65_536):
            lines = datagram.decode().split("\n")
            message = dict(line.split("=", 1) for line in lines)
            self.heard.append((time.monotonic(), message))


@contextlib.contextmanager
def manager(*, abstract: bool = False) -> Iterator[Manager]:
    """One that listens for the length of a `with`."""
    with (
        tempfile.TemporaryDirectory(prefix="qtctl-test-") as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening,
    ):
        address = f"@qtctl-test-{os.getpid()}-{uuid.uuid4()}"
        if not abstract:
            address = str(Path(directory) / "notify")
        listening.bind(_bound(address))
        hears = Manager(address, listening)
        try:
            yield hears
        finally:
            hears.stop()


def _bound(address: str) -> str:
    return "\0" + address[1:] if address.startswith("@") else address
