"""From a URL to a client: explicit timeouts, no hidden retry, replies as bytes.

redis-py repeats a command when only its reply was lost (an XADD is then there twice) and waits
for a minute in a blocking read: so no retry here; the loops own theirs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,
    NoPermissionError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from qtctl import errors
from qtctl.settings import display_url

SUPPORTED = ("redis://", "rediss://", "unix://")


def connect(url: str, *, connect_timeout_sec: float, timeout_sec: float) -> "redis.Redis":
    """A client on one connection of its own; nothing is sent yet.

    Not thread safe. Replies come as RESP2 has them: bytes, int, list, None. timeout_sec bounds
    the wait for each reply: a blocking read needs more than its block time.
    Errors: ConfigError where the URL can't be used.
    """
    if not url.startswith(SUPPORTED):
        raise errors.ConfigError(
            f"[redis] url {display_url(url)!r}: this version speaks {', '.join(SUPPORTED)} "
            "and embedded:"
        )
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout_sec,
            socket_connect_timeout=connect_timeout_sec,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            driver_info=None,
            protocol=2,
            single_connection_client=True,
        )
    except (ValueError, RedisError) as problem:
        with translated(url):
            if isinstance(problem, RedisError):
                raise
        raise errors.ConfigError(f"[redis] url {display_url(url)!r} can't be read") from problem
    # One place decodes: records.py. redis-py's own parsers would drop repeated stream fields.
    client.response_callbacks.clear()
    return client


def exchange(client: "redis.Redis", commands: Sequence[tuple[Any, ...]], atomic: bool) -> list[Any]:
    """Sends all commands at once, in a MULTI where atomic, and reads all replies.

    An error reply stands in its place as an exception. redis-py's own pipeline does the same with
    three times the work per command.
    Errors: those of redis; ResponseError where a MULTI was refused, which then did nothing.
    """
    connection = client.connection
    assert connection is not None, "made with single_connection_client"
    sent = [("MULTI",), *commands, ("EXEC",)] if atomic else commands
    packed = b"".join(map(hiredis.pack_command, sent))
    connection.send_packed_command([packed])  # type: ignore[no-untyped-call]
    replies = [_reply(connection) for _ in sent]
    if not atomic:
        return replies
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply  # Refused as it was queued: nothing was done.
    done: list[Any] = replies[-1]
    return done


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as refused:
        return refused


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Everything redis raises becomes ours here, once, with the URL but without its password."""
    try:
        yield
    except (AuthenticationError, AuthorizationError) as problem:
        raise errors.RedisUnreachable(
            f"{display_url(url)} refuses the login: {problem}; check user and password"
        ) from problem
    except (ConnectionError, TimeoutError, OSError) as problem:
        raise errors.RedisUnreachable(
            f"no Redis at {display_url(url)}: {_short(problem)}"
        ) from problem
    except ResponseError as problem:
        raise reply_error(problem) from problem
    except RedisError as problem:
        raise errors.WireError(f"{display_url(url)}: {_short(problem)}") from problem


def reply_error(problem: Exception, key: str = "") -> errors.WireError:
    """The error that a reply stands for; key is named where the reply does not."""
    text = _short(problem)
    where = f"{key}: " if key else ""
    if isinstance(problem, NoPermissionError):
        return errors.NoPermissionError(f"{where}{text}")
    if text.startswith("WRONGTYPE"):
        return errors.WrongTypeError(f"{where}{text}")
    return errors.ServerRefusedError(f"{where}{text}")


def _short(problem: BaseException) -> str:
    text = " ".join(str(problem).split()) or type(problem).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def is_error(reply: Any) -> bool:
    """Is this reply of a pipeline an error (pipelines here never raise for one command)."""
    return isinstance(reply, Exception)
