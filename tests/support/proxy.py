"""A proxy in front of the server that counts commands and goes wrong at one of them.

It passes on one command at a time and waits for its reply, so that "after the n-th command and
before its reply" is an exact place, also within a pipeline or a MULTI. It listens on TCP: a Unix
socket can't be reset.
"""

import contextlib
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import hiredis

BEFORE = "cut before the command"
AFTER = "cut after the command, before its reply"
RESET = "reset after the command"
HALF_OPEN = "swallow everything from the command on"
MUTE = "pass the command on, swallow its reply"
LATE = "pass the command on late, when its sender may be gone"
KINDS = (BEFORE, AFTER, RESET, HALF_OPEN, MUTE, LATE)
_CHUNK = 1 << 16


class Fault(NamedTuple):
    """What goes wrong, once: at the `at`-th command (from 1), or at the first one of a `name`."""

    kind: str
    at: int = 0
    name: str = ""
    late_sec: float = 0.0


class Proxy:
    """`url` leads through it. `seen` are the names of all commands that came, in their order."""

    def __init__(self, upstream: Path, fault: Fault | None = None) -> None:
        self._upstream = str(upstream)
        self._fault = fault
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.seen: list[str] = []
        self.fired = False
        self.answers: dict[str, bytes] = {}
        """What is said to a command of that name instead of its reply, outside of a MULTI."""
        self.answered = 0
        """How often that was."""
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._start(self._accept)

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        for sock in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def arm(self, fault: Fault) -> None:
        """Another fault, in place of the last; commands count on."""
        with self._lock:
            self._fault, self.fired = fault, False

    def settle(self) -> None:
        """Until every connection is done with; its client must have closed it, or been cut off."""
        for thread in self._threads[1:]:
            thread.join()

    def _start(self, target: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.append(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        requests = hiredis.Reader()
        with (
            client,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server,
            contextlib.suppress(OSError),
        ):
            server.connect(self._upstream)
            queued = False
            while chunk := client.recv(_CHUNK):
                requests.feed(chunk)
                while (command := requests.gets()) is not False:
                    name = command[0].decode().upper()
                    answer = self.answers.get(name)
                    if answer is not None and (not queued or name == "EXEC"):
                        _exchange(server, command)
                        client.sendall(answer)
                        queued, self.answered = False, self.answered + 1
                        continue
                    queued = name == "MULTI" or (queued and name != "EXEC")
                    if not self._passed(command, client, server):
                        return

    def _passed(self, command: list[bytes], client: socket.socket, server: socket.socket) -> bool:
        """Passes one command on and its reply back; False where the connection is done for."""
        fault = self._due(command[0].decode())
        if fault is None:
            client.sendall(_exchange(server, command))
            return True
        if fault.kind == LATE:
            time.sleep(fault.late_sec)
        if fault.kind not in (BEFORE, HALF_OPEN):
            reply = _exchange(server, command)
        if fault.kind in (HALF_OPEN, MUTE):
            while client.recv(_CHUNK):
                pass
        elif fault.kind == LATE:
            client.sendall(reply)
            return True
        elif fault.kind == RESET:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    def _due(self, name: str) -> Fault | None:
        with self._lock:
            self.seen.append(name.upper())
            fault = self._fault
            if fault is None or self.fired:
                return None
            due = len(self.seen) == fault.at or name.upper() == fault.name
            self.fired = due
            return fault if due else None


def _exchange(server: socket.socket, command: list[bytes]) -> bytes:
    """The raw reply to one command."""
    server.sendall(hiredis.pack_command(tuple(command)))  # type: ignore[arg-type]
    whole, reader = b"", hiredis.Reader()
    while reader.gets() is False:
        chunk = server.recv(_CHUNK)
        if not chunk:
            raise ConnectionError("the server is gone")
        whole += chunk
        reader.feed(chunk)
    return whole


class SlowLink:
    """`url` leads to the server over a link that is long and not narrow: everything arrives half a
    round trip later, in each direction, however much it is."""

    def __init__(self, upstream: Path, round_trip_sec: float) -> None:
        self._upstream = str(upstream)
        self.take(round_trip_sec)
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._start(self._accept)

    def __enter__(self) -> "SlowLink":
        return self

    def __exit__(self, *_: object) -> None:
        _shut(self._listener)
        self.cut()

    def take(self, round_trip_sec: float) -> None:
        """How long a round trip takes from now on."""
        self._delay_sec = round_trip_sec / 2

    def cut(self) -> None:
        """Ends the connections of this moment."""
        while self._open:
            _shut(self._open.pop())

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                server.connect(self._upstream)
                self._open += [client, server]
                for source, target in ((client, server), (server, client)):
                    on_its_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                    self._start(self._take, source, on_its_way)
                    self._start(self._deliver, on_its_way, target)

    def _take(
        self, source: socket.socket, on_its_way: "queue.SimpleQueue[tuple[float, bytes]]"
    ) -> None:
        chunk = b"all"
        while chunk:
            try:
                chunk = source.recv(_CHUNK)
            except OSError:
                chunk = b""
            on_its_way.put((time.monotonic() + self._delay_sec, chunk))

    def _deliver(
        self, on_its_way: "queue.SimpleQueue[tuple[float, bytes]]", target: socket.socket
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, chunk = on_its_way.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not chunk:
                    break
                target.sendall(chunk)
        _shut(target)

    def _start(self, run: Callable[..., None], *args: object) -> None:
        threading.Thread(target=run, args=args, daemon=True).start()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
