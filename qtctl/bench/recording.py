"""All commands of one loop, recorded as they pass, and sent again without the loop: the floor.

The recorder passes every byte between a service and the server. The floor packs what was recorded
beforehand, sends it over one socket in chunks, parses the replies and discards them.
"""

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import hiredis

from qtctl import clock
from qtctl.wire.schema.packing import packed

CHUNK = 500
_READ_BYTES = 1 << 16
OF_ONE_CONNECTION = (b"SUBSCRIBE __redis__:invalidate", b"CLIENT TRACKING")
"""Not recorded: they set up the connection that sends them, and would change that of the floor."""


def connected(url: str) -> socket.socket:
    """A bare socket to a server without a login. Errors: OSError."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        bare = socket.socket(socket.AF_UNIX)
        bare.connect(unquote(parts.path))
        return bare
    bare = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379))
    bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bare


class Recorder:
    """A socket in front of a server; `commands` has what passed through, in order."""

    def __init__(self, path: Path, server_url: str) -> None:
        self._server_url = server_url
        self.url = f"unix://{quote(str(path))}"
        self.commands: list[bytes] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        reader = hiredis.Reader()
        with client, connected(self._server_url) as server, selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    source: socket.socket = key.fileobj  # type: ignore[assignment]
                    data = source.recv(_READ_BYTES)
                    if not data:
                        return
                    if source is client:
                        reader.feed(data)
                        with self._lock:
                            self._note(reader)
                    key.data.sendall(data)

    def _note(self, reader: "hiredis.Reader") -> None:
        while (command := reader.gets()) is not False:
            if b" ".join(command[:2]) not in OF_ONE_CONNECTION:
                self.commands.append(packed(command))


@contextlib.contextmanager
def recording(directory: Path, server_url: str) -> Iterator[Recorder]:
    """A recorder for the length of a `with`; open connections end with their service."""
    path = directory / "recorder.sock"
    recorder = Recorder(path, server_url)
    try:
        yield recorder
    finally:
        recorder.listener.close()
        path.unlink(missing_ok=True)


class Floor:
    """Commands ready to be sent."""

    def __init__(self, url: str, commands: Sequence[bytes]) -> None:
        self._socket = connected(url)
        self._socket.settimeout(60.0)
        self._chunks = [
            (b"".join(commands[start : start + CHUNK]), len(commands[start : start + CHUNK]))
            for start in range(0, len(commands), CHUNK)
        ]

    def run(self) -> float:
        """Seconds that the server and the connection take for them."""
        reader = hiredis.Reader()
        begun = clock.monotonic()
        for chunk, count in self._chunks:
            self._socket.sendall(chunk)
            while count:
                if reader.gets() is False:
                    reader.feed(self._socket.recv(_READ_BYTES))
                else:
                    count -= 1
        return clock.monotonic() - begun

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
