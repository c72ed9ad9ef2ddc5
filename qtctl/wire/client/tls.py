"""TLS to Redis: connections with our own context, and what to do where it fails."""

import ssl
from contextlib import suppress
from typing import Any

import redis

_CA_NEEDS = "the CA's certificate needs the extension {} (docs/deploying.md)"
_HINTS = {
    # What a CA's certificate lacks for the strict checks of Python 3.13.
    "does not include key usage": _CA_NEEDS.format("keyUsage=critical,keyCertSign,cRLSign"),
    "not marked critical": _CA_NEEDS.format("basicConstraints=critical,CA:TRUE"),
    "invalid CA certificate": _CA_NEEDS.format("basicConstraints=critical,CA:TRUE"),
    "Missing Authority Key Identifier": "the server's certificate needs the extension "
    "authorityKeyIdentifier=keyid, and its CA's subjectKeyIdentifier=hash (docs/deploying.md)",
    "CERTIFICATE_VERIFY_FAILED": "check [redis] tls_ca_file, and whether the server's certificate "
    "is for this host",
    "CERTIFICATE_REQUIRED": "it wants a client certificate: [redis] tls_cert_file, tls_key_file",
    # The connection may be gone before the reason was read.
    **dict.fromkeys(
        ("HANDSHAKE_FAILURE", "EOF occurred", "closed by server", "reset by peer", "Broken pipe"),
        "it may want a client certificate: [redis] tls_cert_file, tls_key_file",
    ),
    "UNKNOWN_CA": "it does not know the CA of our certificate: [redis] tls_cert_file",
    "WRONG_VERSION_NUMBER": "this port does not speak TLS: use redis://, or the port for rediss://",
}
"""What to do about a failure of TLS, by what OpenSSL calls it; the first that fits counts."""


def hint(url: str, problem: str) -> str:
    """What to do about a problem, to stand behind it; "" where nothing is known, or without TLS."""
    hints = _HINTS.items() if url.startswith("rediss://") else ()
    return next((f"; {hint}" for word, hint in hints if word in problem), "")


def over(context: ssl.SSLContext) -> type[redis.SSLConnection]:
    """A class of connections that trust what this context trusts, and not the system's CAs too."""

    class Connection(redis.SSLConnection):
        def _wrap_socket_with_ssl(self, sock: Any) -> ssl.SSLSocket:
            return context.wrap_socket(sock, server_hostname=self.host)

    return Connection


def greeted(connection: Any) -> None:
    """Logs in and exchanges a PING: redis-py takes a connection for broken where the session
    tickets that TLS 1.3 sends after its handshake are still unread."""
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    with suppress(redis.ResponseError):
        connection.read_response()
