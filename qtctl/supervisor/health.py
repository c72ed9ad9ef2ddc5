"""The HTTP port of a service: /metrics, and /livez and /readyz as one line of plain text.

However many clients connect, and however slow they are, the loops keep the descriptors they need:
only so many connections are accepted at a time, the others wait in the backlog. A request whose
Host is a name that is not ours is refused, so that no page in a browser can read this port by
letting a name of its own point here (DNS rebinding).
"""

import ipaddress
import logging
import resource
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from prometheus_client.exposition import choose_encoder

from qtctl import clock
from qtctl.errors import QtctlError
from qtctl.services.base import Service
from qtctl.settings import section_of
from qtctl.supervisor.progress import Progress

PLAIN = "text/plain; charset=utf-8"

# Time limits for one read or write and for a whole request: a client that sends a byte now and then
# must not hold a thread for ever.
IO_TIMEOUT_SEC = 5.0
REQUEST_TIMEOUT_SEC = 15.0

# Connections at a time, but never more than an eighth of the descriptors the process may have.
# While all are taken, one that has not ended its request after a while makes room for the next.
MOST_CONNECTIONS = 32
CROWDED_TIMEOUT_SEC = 2.0
BACKLOG = 1024

# How soon a server notices its end; each look costs some 20 µs.
_POLL_SEC = 0.1
_HOSTNAME = socket.gethostname()


class Page(NamedTuple):
    """A response."""

    status: HTTPStatus
    content_type: str
    body: bytes


class HealthServer:
    """Answers on `service.metrics_addr:metrics_port` between `start` and `stop`."""

    def __init__(self, service: Service, progress: Progress) -> None:
        self._service = service
        self._progress = progress
        self._port = service.metrics_port
        self._log = logging.getLogger(f"qtctl.supervisor.{service.name}")
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Listen; the port in use. Raises QtctlError naming address, port and settings."""
        name, host = self._service.name, self._service.metrics_addr
        port = self._port
        try:
            self._server = _Server(host, port, self._page, self._log)
        except (OSError, OverflowError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            section = section_of(name)
            raise QtctlError(
                f"can't listen on {_netloc(host, port)}: {reason}; change [{section}] metrics_port "
                f"(0 takes a free one) or [{section}] metrics_addr"
            ) from exc
        bound: int = self._server.server_address[1]
        self._service.metrics_port = bound  # Its record in Redis names it.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SEC,), name=f"health-{name}", daemon=True
        )
        self._thread.start()
        self._log.info("listening", extra={"fields": {"url": f"http://{_netloc(host, bound)}"}})
        return bound

    def switch(self, service: Service, progress: Progress) -> None:
        """From now on answer for the service that replaces this one, on the same port."""
        self._service, self._progress = service, progress

    def stop(self) -> None:
        """Free the port and close open connections."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()  # shutdown() alone leaves the port bound
        self._server.hang_up(float("inf"))
        self._thread.join()
        self._server = self._thread = None

    def _page(self, path: str, accept: str) -> Page:
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            return Page(HTTPStatus.OK, content_type, encode(self._service.registry))
        if path not in ("/livez", "/readyz"):
            body = b"not found: there are /metrics, /livez and /readyz\n"
            return Page(HTTPStatus.NOT_FOUND, PLAIN, body)
        probe = self._progress.live if path == "/livez" else self._progress.ready
        answer = probe(clock.monotonic())
        status = HTTPStatus.OK if answer.ok else HTTPStatus.SERVICE_UNAVAILABLE
        return Page(status, PLAIN, f"{answer.text}\n".encode())


class _Server(ThreadingHTTPServer):
    """Bound on construction. Keeps track of open connections, to close those that take too long."""

    request_queue_size = BACKLOG

    def __init__(
        self, host: str, port: int, page: Callable[[str, str], Page], log: logging.Logger
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.page = page
        self.log = log
        self.own_address = host
        self._lock = threading.Lock()
        self._deadlines: dict[socket.socket, float] = {}
        self._most = most_connections()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own looks the host's name up in DNS, which may take seconds; it is not used.
        socketserver.TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection; OSError (none for now) while there are too many, or no descriptors.
        It waits then: the loop around it would come back at once."""
        with self._lock:
            full = len(self._deadlines) >= self._most
        try:
            if full:
                raise OSError("too many connections")
            return super().get_request()
        except OSError:
            time.sleep(_POLL_SEC / 10)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._deadlines[request] = clock.monotonic() + REQUEST_TIMEOUT_SEC
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # Closed first: only then is its descriptor free for another.
        super().shutdown_request(request)
        with self._lock:
            self._deadlines.pop(request, None)

    def service_actions(self) -> None:
        """Called at every poll."""
        self.hang_up(clock.monotonic())

    def hang_up(self, now: float) -> None:
        """Close the connections whose time is up at `now` (monotonic seconds)."""
        with self._lock:
            crowded = len(self._deadlines) >= self._most
            until = now + (REQUEST_TIMEOUT_SEC - CROWDED_TIMEOUT_SEC if crowded else 0)
            late = [request for request, at in self._deadlines.items() if at <= until]
        for request in late:
            with suppress(OSError):  # it has ended meanwhile
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that disconnects is no error; a collector that raises is ours.
        if not isinstance(sys.exc_info()[1], OSError):
            self.log.exception("request failed")


class _Handler(BaseHTTPRequestHandler):
    """One request per connection (HTTP/1.0)."""

    server: _Server
    timeout = IO_TIMEOUT_SEC

    def do_GET(self) -> None:
        """Respond with the page at that path."""
        path = self.path.partition("?")[0]
        hosts, accept = self.headers.get_all("Host", []), self.headers.get("Accept", "")
        is_meant = all(is_own_host(host, self.server.own_address) for host in hosts)
        status, content_type, body = self.server.page(path, accept) if is_meant else _OTHER
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Sent as `Server`, without Python's version."""
        return "qtctl"

    def log_message(self, format: str, *args: object) -> None:
        """No access log: probes and scrapes come every few seconds."""


_REFUSED = b"forbidden: the Host header must be an address or a name of this host\n"
_OTHER = Page(HTTPStatus.FORBIDDEN, PLAIN, _REFUSED)


def most_connections() -> int:
    """How many connections one port takes at a time."""
    try:
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:  # a sandbox that does not tell
        allowed = resource.RLIM_INFINITY
    if allowed == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, allowed // 8))


def is_own_host(host: str, own_address: str) -> bool:
    """True if a Host header can only mean this host: an address, a name without a dot (nobody
    can register one), `localhost`, the configured address, or the host's own names."""
    name = host.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") <= 1:
        name = name.partition(":")[0]
    name = name.removesuffix(".")
    if "." not in name and ":" not in name:
        return True
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return name.endswith(".localhost") or name == own_address.lower() or name in _own_names()


@cache
def _own_names() -> frozenset[str]:
    # Only asked for where a name needs it: looking up the full name may take seconds.
    return frozenset(name.lower().removesuffix(".") for name in (_HOSTNAME, socket.getfqdn()))


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
