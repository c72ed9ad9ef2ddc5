"""From a URL to a client: explicit timeouts, replies as bytes, and no retry, since redis-py repeats
a command when only its reply was lost (an XADD then stands there twice).

`tls.py` overrides private parts of redis-py, as `pipe.py` uses some: pyproject.toml caps redis.
"""

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from qtctl import errors
from qtctl.settings import display_url
from qtctl.wire.client import tls
from qtctl.wire.client.serializer import Serializer
from qtctl.wire.client.shapes import OddReplyError

PLAIN = ("redis://", "rediss://", "unix://")
_ELSEWHERE = (
    exceptions.AskError,  # and MOVED
    exceptions.TryAgainError,
    exceptions.ClusterDownError,  # and MASTERDOWN
    exceptions.ReadOnlyError,
    exceptions.BusyLoadingError,
)
_NOT_IN_A_SCRIPT = ("ACL failure in script", "The user executing the script can't")
"""How Valkey and Redis refuse a command inside a script: they do not say NOPERM there."""
_NOT_REDIS = {
    "H": "it speaks HTTP",
    "2": "it speaks SMTP or FTP",
    "5": "it speaks SMTP or FTP",
    "S": "it speaks SSH",
    "E": "it speaks memcached's protocol, or PostgreSQL's",
    r"\x15": "it speaks TLS: use rediss://",
}
"""Who answers in another protocol, by the first byte of the reply."""
_FIRST_BYTE = re.compile(r'got "(.+)" as reply type byte')
_SPEAKS_FIRST = (
    "it speaks before it is asked (an SMTP, SSH or MySQL server; or a Redis with too many clients)"
)
_NOT_SERVING = {
    "DENIED": "is in protected mode: it serves only its own host until it has a password or a bind "
    "address",
    "MASTERDOWN": "is a replica that has lost its primary, and serves nothing meanwhile",
    "CLUSTERDOWN": "is a node of a cluster that is down",
    "BUSY": "is busy with a script ('redis-cli SCRIPT KILL' ends one that has written nothing)",
}
"""Why a Redis serves nothing at all, by the first word of its reply."""
_UNKNOWN_COMMAND = re.compile(r"(?:ERR )?unknown command [`'\"]?(\w+)", re.IGNORECASE)
_EVERY_REDIS_HAS = (
    "GET", "SET", "TTL", "TYPE", "EXISTS", "HGETALL", "HMGET", "HSET", "XADD", "XLEN", "XRANGE",
    "XREVRANGE", "XREADGROUP", "TIME",
)  # fmt: skip


class Access(msgspec.Struct, frozen=True):
    """How we log in to a server, and how we recognise it; the URL takes precedence. password is
    called for each new connection. The files are PEM, for rediss:// only; ca_file replaces the CAs
    of the system."""

    username: str = ""
    password: Callable[[], str] | None = None
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    check_hostname: bool = True

    def check(self, url: str) -> None:
        """Reads all of it, to see that it can be read. Errors: ConfigError naming the file."""
        if self.password is not None:
            self.password()
        if url.startswith("rediss://"):
            self.tls()

    def tls(self) -> ssl.SSLContext:
        """The context of TLS connections. Errors: ConfigError naming the setting and the file."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except (OSError, ValueError) as problem:
            raise _bad_file("tls_ca_file", self.ca_file, problem) from problem
        context.check_hostname = self.check_hostname
        if self.cert_file:
            try:
                # Without a password OpenSSL would prompt for that of an encrypted key.
                context.load_cert_chain(self.cert_file, self.key_file or None, password="")
            except (OSError, ValueError) as problem:
                files = ", ".join(name for name in (self.cert_file, self.key_file) if name)
                raise _bad_file("tls_cert_file, tls_key_file", files, problem) from problem
        return context


NO_ACCESS = Access()


def connect(
    url: str, *, connect_timeout_sec: float, timeout_sec: float, access: Access = NO_ACCESS
) -> "redis.Redis":
    """A client on one connection of its own, not thread safe; no command is sent yet.

    Replies have the types of RESP2: bytes, int, list, None. timeout_sec bounds the wait for each,
    so it must exceed the time of a blocking read.
    Errors: ConfigError where the URL, or a file that access names, can't be used.
    """
    if not url.startswith(PLAIN):
        raise errors.ConfigError(
            f"[redis] url {display_url(url)!r} does not name a single server; it must begin with "
            f"one of {', '.join(PLAIN)}"
        )
    try:
        pool = redis.ConnectionPool.from_url(
            url,
            socket_timeout=timeout_sec,
            socket_connect_timeout=connect_timeout_sec,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            driver_info=None,
            command_packer=Serializer(),
            protocol=2,
            username=access.username or None,
            password=None if access.password is None else access.password(),
        )
        if url.startswith("rediss://"):
            pool.connection_class = tls.over(access.tls())
            pool.connection_kwargs["redis_connect_func"] = tls.greeted
        client = redis.Redis(connection_pool=pool, single_connection_client=True)
    except exceptions.RedisError:
        with translated(url):
            raise
    except ValueError:
        # `from None`: the cause may quote the URL with its password.
        raise errors.ConfigError(f"[redis] url {display_url(url)!r} can't be read") from None
    except TypeError as problem:
        # An option of the URL becomes an argument of redis-py. Any other TypeError is a bug, or a
        # redis-py that differs from those that pyproject.toml allows.
        options = parse_qs(urlsplit(url).query)
        unknown = next((name for name in options if f"'{name}'" in str(problem)), None)
        if unknown is None:
            raise
        raise errors.ConfigError(
            f"[redis] url {display_url(url)!r} has an unknown option: {unknown}"
        ) from None
    client.auto_close_connection_pool = True
    # records.py alone decodes replies: redis-py's parsers would drop repeated stream fields.
    client.response_callbacks.clear()
    return client


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turns every error of redis-py into one of ours that names the URL, without its password."""
    try:
        yield
    except (exceptions.AuthenticationError, exceptions.AuthorizationError) as problem:
        raise errors.RedisUnreachable(
            f"{display_url(url)} refuses the login: {_short(problem).rstrip('.')}; check user and "
            "password ([redis] username, password_file)"
        ) from problem
    except OddReplyError as problem:
        raise errors.RedisUnreachable(
            f"what answers at {display_url(url)} does not behave like Redis: {problem}"
        ) from problem
    except exceptions.InvalidResponse as problem:
        found = _FIRST_BYTE.search(str(problem))
        kind = _NOT_REDIS.get(found[1], "") if found else ""
        raise errors.RedisUnreachable(
            f"what answers at {display_url(url)} is not Redis{kind and f': {kind}'}"
        ) from problem
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as problem:
        why = not_serving(problem.__cause__)
        if why is not None:
            raise errors.RedisUnreachable(f"{display_url(url)} {why}") from problem
        text = _SPEAKS_FIRST if str(problem) == "Connection not ready" else _short(problem)
        raise errors.RedisUnreachable(
            f"no Redis at {display_url(url)}: {text}{tls.hint(url, text)}"
        ) from problem
    except exceptions.ResponseError as problem:
        why = not_serving(problem)
        if why is not None:
            raise errors.RedisUnreachable(f"{display_url(url)} {why}") from problem
        if str(problem).startswith("DB index is out of range"):
            raise errors.ServerRefusedError(
                f"{display_url(url)}: this server has no database of that number (it has 16 unless "
                "its setting databases says otherwise); the number is the last part of the URL"
            ) from problem
        raise reply_error(problem) from problem
    except exceptions.RedisError as problem:
        raise errors.WireError(f"{display_url(url)}: {_short(problem)}") from problem


def reply_error(problem: Exception, key: str = "") -> errors.WireError:
    """The error for an error reply; it names the key, where one is given."""
    if isinstance(problem, errors.WireError) and not key:
        return problem
    text = _short(problem) + _kind_hint(problem)
    where = f"{key}: " if key else ""
    in_a_script = any(word in text for word in _NOT_IN_A_SCRIPT)
    if in_a_script or isinstance(problem, exceptions.NoPermissionError):
        return errors.NoPermissionError(f"{where}{text}")
    if text.startswith("WRONGTYPE"):
        return errors.WrongTypeError(f"{where}{text}")
    return errors.ServerRefusedError(f"{where}{text}")


def is_denied(problem: object) -> bool:
    """True if this user may not run the command, or the server does not have it."""
    if isinstance(problem, exceptions.NoPermissionError | errors.NoPermissionError):
        return True
    return isinstance(problem, Exception) and _UNKNOWN_COMMAND.match(str(problem)) is not None


def is_elsewhere(problem: Exception) -> bool:
    """True if the reply says that another server is, or soon will be, primary for these keys."""
    if isinstance(problem, _ELSEWHERE):
        return True
    return isinstance(problem, exceptions.ResponseError) and str(problem).startswith("UNBLOCKED")


def not_serving(problem: BaseException | None) -> str | None:
    """Why the server that sent this reply serves nothing at all; None for any other problem."""
    if not isinstance(problem, exceptions.ResponseError):
        return None
    if isinstance(problem, exceptions.MasterDownError):
        return _NOT_SERVING["MASTERDOWN"]
    if isinstance(problem, exceptions.ClusterDownError):
        return _NOT_SERVING["CLUSTERDOWN"]
    text = str(problem)
    unknown = _UNKNOWN_COMMAND.match(text)
    if unknown is not None and unknown[1].upper() in _EVERY_REDIS_HAS:
        return (
            f"does not know {unknown[1].upper()}, so it is no Redis with data: a "
            "sentinel, perhaps (use redis+sentinel://host:port/service)"
        )
    return _NOT_SERVING.get(text.partition(" ")[0])


def _kind_hint(problem: Exception) -> str:
    """A hint where the server is not what the URL says, or lacks what others have."""
    if isinstance(problem, (exceptions.AskError, exceptions.ClusterCrossSlotError)):
        return " (a node of a cluster: use a redis+cluster:// URL)"
    if str(problem).startswith(("NOGROUP", "UNBLOCKED")):
        return " (somebody deleted the stream or its group; the governor makes both anew)"
    if _UNKNOWN_COMMAND.match(str(problem)):
        return " (renamed or left out on this server, or by a proxy before it)"
    return ""


def _bad_file(setting: str, files: str, problem: Exception) -> errors.ConfigError:
    why = getattr(problem, "strerror", None) or _short(problem)
    if isinstance(problem, ssl.SSLError):
        why = f"no certificate and fitting key in PEM, or encrypted ({problem.reason or why})"
    return errors.ConfigError(f"[redis] {setting}: {files} can't be used: {why}")


def _short(problem: BaseException) -> str:
    text = " ".join(str(problem).split()) or type(problem).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def is_error(reply: Any) -> bool:
    """True if this reply of a pipeline is an error: pipelines do not raise for one command."""
    return isinstance(reply, Exception)
