"""The one HTTP client for the ports of services: /metrics, /livez and /readyz.

A record in Redis names the port, and a record is data: only this host's own addresses are asked,
for a bounded time, and a bounded answer is read. No proxy, no redirect.
"""

import http.client
import io
import os
import re
import socket
from types import SimpleNamespace

import msgspec

from qtctl import clock

TIMEOUT_SEC = 2.0
"""For the whole of an answer."""
MAX_BYTES = 16 * 1024 * 1024
"""A /metrics page with thousands of symbols has a few MiB."""
MAX_READY_BYTES = 65_536
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}


UNANSWERED = {"nobody": "nobody listens at", "silent": "no answer in time from"}
"""Who does not answer, in words before the place."""
ANOTHER = "another program is at"


class Page(msgspec.Struct, frozen=True):
    """An answer; where there was none, status is 0 and body is the reason."""

    status: int
    body: str


class Readiness(msgspec.Struct, frozen=True):
    """The answer of /readyz. who: `nobody`, `qtctl`, `other` or `silent` (it accepts a connection
    and does not answer in time); text: its line, where it is ours."""

    who: str
    ready: bool = False
    text: str = ""


class _Endless(http.client.HTTPException):
    """The answer goes on after as much, or for longer, than is read."""


def address(metrics: str) -> tuple[str, int] | None:
    """Host and port of `host:port` (`[::1]:8044`); None where there is no port yet, or none that
    could be."""
    found = re.fullmatch(r"\[?([^\[\]/@\s]*?)\]?:([0-9]{1,5})", metrics, re.ASCII)
    if found is None or not 0 < int(found[2]) < 65_536:
        return None
    return found[1] or "127.0.0.1", int(found[2])


def is_here(host: str) -> bool:
    """True for an address of this host; a name is not looked up, but for localhost."""
    host = _WILDCARDS.get(host, host)
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
        family, kind, _, _, place = found[0]
        with socket.socket(family, kind) as tried:
            tried.bind(place)
    except (OSError, UnicodeError):
        return host == "localhost"
    return True


def here(host: str, metrics: str) -> tuple[str, int] | None:
    """The port of a service by its record (its host, its metrics), None where it can't be asked
    from this host."""
    place = address(metrics)
    return place if place and host == socket.gethostname() and is_here(place[0]) else None


def process_is_gone(host: str, pid: str) -> bool:
    """True if the process of a service (by its record) was on this host, and is not any more.
    False where that can't be known."""
    if host != socket.gethostname() or not pid.isdecimal() or not 0 < int(pid) < 2**31:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # Somebody else's, so it is there.
    return False


def get(host: str, metrics: str, path: str) -> Page:
    """GET a page of the service with this record. Never raises."""
    place = here(host, metrics)
    if place is None:
        if address(metrics) is None:
            return Page(0, f"no metrics port is known ({metrics or 'no record of the service'})")
        return Page(0, f"{metrics} on {host} is not asked from another host")
    try:
        reply = _exchange(*place, path, MAX_BYTES)
        return Page(reply.status, reply.read().decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as problem:
        return Page(0, f"http://{metrics}{path}: {problem or type(problem).__name__}")


def ready(host: str, port: int, within_sec: float = TIMEOUT_SEC) -> Readiness:
    """The answer of /readyz on a port of this host. Never raises."""
    if not is_here(host):
        return Readiness("nobody")
    try:
        reply = _exchange(host, port, "/readyz", MAX_READY_BYTES, within_sec)
        text = reply.read().decode("utf-8", "replace").strip()
        if reply.getheader("Server", "") != "qtctl":
            return Readiness("other")
        return Readiness("qtctl", reply.status == 200, text.partition("\n")[0])
    except (TimeoutError, http.client.RemoteDisconnected):
        return Readiness("silent")
    except (OSError, UnicodeError):
        return Readiness("nobody")
    except http.client.HTTPException:
        return Readiness("other")  # It speaks, and is not ours.


def _exchange(
    host: str, port: int, path: str, most: int, within_sec: float = TIMEOUT_SEC
) -> http.client.HTTPResponse:
    """The answer, read to its end. HTTP/1.0: the server closes behind it."""
    deadline = clock.monotonic() + within_sec
    whole = bytearray()
    with socket.create_connection((_WILDCARDS.get(host, host), port), within_sec) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode("ascii"))
        while True:
            try:
                # A socket that has no time left would not block at all.
                connection.settimeout(max(0.001, deadline - clock.monotonic()))
                part = connection.recv(65_536) if clock.monotonic() < deadline else None
            except TimeoutError:
                part = None
            if part is None:
                raise _Endless("no end of it in time") if whole else TimeoutError("timed out")
            if not part:
                break
            whole += part
            if len(whole) > most:
                raise _Endless(f"more than {most:,} bytes")
    # All that the parser of http.client asks of a socket is a file to read from.
    received = SimpleNamespace(makefile=lambda _mode: io.BytesIO(whole))
    reply = http.client.HTTPResponse(received)  # type: ignore[arg-type]
    reply.begin()
    return reply
