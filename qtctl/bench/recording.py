"""All commands of one loop, recorded as they pass and sent again without the loop: the floor.

The recorder stands between a service and the server, byte for byte. The floor packs what it took
down beforehand, sends it over one socket in chunks, parses the replies and throws them away.
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

CHUNK = 500
_READ_BYTES = 1 << 16


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

    def __init__(self, directory: Path, server_url: str) -> None:
        self._server_url = server_url
        path = directory / "recorder.sock"
        self.url = f"unix://{quote(str(path))}"
        self.commands: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Accepts connections."""
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Accepts no more connections; existing ones end with their service."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
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
            self.commands.append(hiredis.pack_command(tuple(command)))


@contextlib.contextmanager
def recording(directory: Path, server_url: str) -> Iterator[Recorder]:
    """A recorder for the duration of a `with`."""
    recorder = Recorder(directory, server_url)
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.stop()
        with contextlib.suppress(FileNotFoundError):
            (directory / "recorder.sock").unlink()


class Floor:
    """Commands that are ready to be sent."""

    def __init__(self, url: str, commands: Sequence[bytes]) -> None:
        self._socket = connected(url)
        self._socket.settimeout(60.0)
        self._chunks = [
            (b"".join(commands[start : start + CHUNK]), len(commands[start : start + CHUNK]))
            for start in range(0, len(commands), CHUNK)
        ]

    def run(self) -> float:
        """Seconds that the server and the wire take for them."""
        reader = hiredis.Reader()
        begun = clock.monotonic()
        for packed, count in self._chunks:
            self._socket.sendall(packed)
            while count:
                if reader.gets() is False:
                    reader.feed(self._socket.recv(_READ_BYTES))
                else:
                    count -= 1
        return clock.monotonic() - begun

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()
