"""From a URL to a client: explicit timeouts, no hidden retry, replies as bytes.

redis-py repeats a command when only its reply was lost (an XADD is then there twice) and waits
for a minute in a blocking read: so no retry here; the loops own theirs.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    ConnectionError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)
from redis.retry import Retry

from qtctl import errors
from qtctl.settings import display_url

PLAIN = ("redis://", "rediss://", "unix://")
_TLS_HINTS = {
    "CERTIFICATE_VERIFY_FAILED": "see [redis] tls_ca_file, and whether the host is in it",
    "CERTIFICATE_REQUIRED": "it wants a client's certificate: [redis] tls_cert_file, tls_key_file",
    # It may have gone before its reason was read.
    **dict.fromkeys(
        ("HANDSHAKE_FAILURE", "EOF occurred", "closed by server", "reset by peer", "Broken pipe"),
        "it may want a client's certificate: [redis] tls_cert_file, tls_key_file",
    ),
    "UNKNOWN_CA": "it does not know the CA of our certificate: [redis] tls_cert_file",
    "WRONG_VERSION_NUMBER": "nobody speaks TLS there: redis://, or the port for rediss://",
}
"""What to do about a failure of TLS, by the word that OpenSSL has for it."""


_ELSEWHERE = (AskError, TryAgainError, ClusterDownError, ReadOnlyError, BusyLoadingError)
"""MOVED, ASK, TRYAGAIN, CLUSTERDOWN, MASTERDOWN, READONLY, LOADING."""
_NOT_IN_A_SCRIPT = ("ACL failure in script", "The user executing the script can't")
"""How Valkey and Redis say NOPERM to a command of a script, without that word."""


class Access(msgspec.Struct, frozen=True):
    """Who we are to a server, and how we know it; what the URL says of these wins.

    password: reads it, anew for each connection. The files are for rediss:// only, in PEM; without
    ca_file the system's CAs are trusted, with it no other.
    """

    username: str = ""
    password: Callable[[], str] | None = None
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    check_hostname: bool = True

    def check(self, url: str) -> None:
        """Can all of it be read. Errors: ConfigError naming the file."""
        if self.password is not None:
            self.password()
        if url.startswith("rediss://"):
            self.tls()

    def tls(self) -> ssl.SSLContext:
        """What a TLS connection goes by. Errors: ConfigError naming the setting and the file."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except (OSError, ValueError) as problem:
            raise _bad_file("tls_ca_file", self.ca_file, problem) from problem
        context.check_hostname = self.check_hostname
        if self.cert_file:
            try:
                # An encrypted key would ask its question on the terminal.
                context.load_cert_chain(self.cert_file, self.key_file or None, password="")
            except (OSError, ValueError) as problem:
                files = ", ".join(name for name in (self.cert_file, self.key_file) if name)
                raise _bad_file("tls_cert_file, tls_key_file", files, problem) from problem
        return context


NO_ACCESS = Access()


def connect(
    url: str, *, connect_timeout_sec: float, timeout_sec: float, access: Access = NO_ACCESS
) -> "redis.Redis":
    """A client on one connection of its own; nothing is sent yet.

    Not thread safe. Replies come as RESP2 has them: bytes, int, list, None. timeout_sec bounds
    the wait for each reply: a blocking read needs more than its block time.
    Errors: ConfigError where the URL, or what access names, can't be used.
    """
    if not url.startswith(PLAIN):
        raise errors.ConfigError(
            f"[redis] url {display_url(url)!r} names no single server; here it must be one: "
            f"{', '.join(PLAIN)}"
        )
    try:
        pool = redis.ConnectionPool.from_url(
            url,
            socket_timeout=timeout_sec,
            socket_connect_timeout=connect_timeout_sec,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            driver_info=None,
            protocol=2,
            username=access.username or None,
            password=None if access.password is None else access.password(),
        )
        if url.startswith("rediss://"):
            pool.connection_class = _over(access.tls())
            pool.connection_kwargs["redis_connect_func"] = _greeted
        client = redis.Redis(connection_pool=pool, single_connection_client=True)
    except RedisError:
        with translated(url):
            raise
    except (ValueError, TypeError):
        # Without what raised it: that may quote the URL, password and all.
        raise errors.ConfigError(f"[redis] url {display_url(url)!r} can't be read") from None
    client.auto_close_connection_pool = True
    # One place decodes: records.py. redis-py's own parsers would drop repeated stream fields.
    client.response_callbacks.clear()
    return client


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Everything redis raises becomes ours here, once, with the URL but without its password."""
    try:
        yield
    except (AuthenticationError, AuthorizationError) as problem:
        raise errors.RedisUnreachable(
            f"{display_url(url)} refuses the login: {_short(problem).rstrip('.')}; check user and "
            "password ([redis] username, password_file)"
        ) from problem
    except (ConnectionError, TimeoutError, OSError) as problem:
        raise errors.RedisUnreachable(
            f"no Redis at {display_url(url)}: {_short(problem)}{_tls_hint(url, str(problem))}"
        ) from problem
    except ResponseError as problem:
        raise reply_error(problem) from problem
    except RedisError as problem:
        raise errors.WireError(f"{display_url(url)}: {_short(problem)}") from problem


def reply_error(problem: Exception, key: str = "") -> errors.WireError:
    """The error that a reply stands for; key is named where the reply does not."""
    text = _short(problem) + _kind_hint(problem)
    where = f"{key}: " if key else ""
    if isinstance(problem, NoPermissionError) or any(word in text for word in _NOT_IN_A_SCRIPT):
        return errors.NoPermissionError(f"{where}{text}")
    if text.startswith("WRONGTYPE"):
        return errors.WrongTypeError(f"{where}{text}")
    return errors.ServerRefusedError(f"{where}{text}")


def is_elsewhere(problem: Exception) -> bool:
    """Does this reply say that another server is the primary (of these keys) now, or soon."""
    if isinstance(problem, _ELSEWHERE):
        return True
    return isinstance(problem, ResponseError) and str(problem).startswith("UNBLOCKED")


def _kind_hint(problem: Exception) -> str:
    """Where the URL is for a plain server, and what answers is none."""
    if isinstance(problem, (AskError, ClusterCrossSlotError)):
        return " (a node of a cluster: use a redis+cluster:// URL)"
    if "unknown command" in str(problem):
        return " (is it a sentinel? Use redis+sentinel://host:port/service)"
    return ""


def _over(context: ssl.SSLContext) -> type[redis.SSLConnection]:
    """Connections that trust what this context trusts. Those of redis-py would trust the system's
    CAs beside the one that is named."""

    class Connection(redis.SSLConnection):
        def _wrap_socket_with_ssl(self, sock: Any) -> ssl.SSLSocket:
            return context.wrap_socket(sock, server_hostname=self.host)

    return Connection


def _greeted(connection: Any) -> None:
    """A first exchange. What TLS 1.3 sends after its handshake would else lie there unread, and
    redis-py takes a new connection with something to read for a broken one."""
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    with suppress(ResponseError):
        connection.read_response()


def _bad_file(setting: str, files: str, problem: Exception) -> errors.ConfigError:
    why = getattr(problem, "strerror", None) or _short(problem)
    if isinstance(problem, ssl.SSLError):
        why = f"no certificate and fitting key in PEM, or encrypted ({problem.reason or why})"
    return errors.ConfigError(f"[redis] {setting}: {files} can't be used: {why}")


def _tls_hint(url: str, text: str) -> str:
    hints = _TLS_HINTS.items() if url.startswith("rediss://") else ()
    return next((f"; {hint}" for word, hint in hints if word in text), "")


def _short(problem: BaseException) -> str:
    text = " ".join(str(problem).split()) or type(problem).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def is_error(reply: Any) -> bool:
    """Is this reply of a pipeline an error (pipelines here never raise for one command)."""
    return isinstance(reply, Exception)
