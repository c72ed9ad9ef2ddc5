"""Which keys under a prefix changed, as the server itself reports it (client tracking, BCAST).

The connection that writes does the tracking, so that NOLOOP leaves out its own writes; RESP2 has no
pushes, so the changes go to a second connection. Like `pipe.py` it uses private parts of redis-py.
"""

from collections.abc import Callable
from typing import Any

import hiredis
import redis
from redis.exceptions import RedisError

from qtctl import clock
from qtctl.errors import QtctlError, WireError
from qtctl.wire.client import shapes
from qtctl.wire.client.connect import translated
from qtctl.wire.client.store import Store
from qtctl.wire.schema.records import text

CHANNEL = "__redis__:invalidate"
MOST_CHANGES = 20_000
"""Keys remembered between two looks: where more changed, a SCAN is cheaper."""
RETRY_SEC = 60.0
"""How long a server that refused, or lost us twice within it, is not asked again."""
_ANSWER_SEC = 1.0
"""A connection that takes longer to hand over what it has is given up."""
_READ_BYTES = 65_536
_INCOMPLETE = object()


class Tracking:
    """Keys under a prefix that were written, removed or have expired. ignore: changes of these
    keys are of no interest."""

    def __init__(self, store: Store, prefix: str, ignore: Callable[[bytes], bool]) -> None:
        self._store, self._prefix, self._ignore = store, prefix, ignore
        self._listener: _Listener | None = None
        self._retry_at, self._lost_at = 0.0, -RETRY_SEC
        self.problem: str | None = "not asked yet"
        """Why the server does not report changes; None while it does."""
        self.gap: str | None = None
        """Why the last look may have missed changes, which only a SCAN finds then; "" at the start,
        None where it missed none."""

    def changed(self) -> set[bytes]:
        """What changed since the last call; nothing while there is a problem. Errors:
        RedisUnreachable."""
        self.gap = None
        listener = self._listener
        if listener is None:
            return self._begin()
        try:
            listener.ask()
            # The one place where a listener that is gone shows on the connection that writes.
            broken = listener.missing_in(self._store.run("CLIENT", "TRACKINGINFO"))
            listener.hear(self._ignore)
        except WireError as problem:
            broken = str(problem)
        except QtctlError:
            self.stop()
            raise
        except (RedisError, OSError) as problem:
            broken = f"the connection for invalidations: {problem}"
        if broken:
            now = clock.monotonic()
            again, self._lost_at = now < self._lost_at + RETRY_SEC, now
            self.stop()
            self.gap = broken
            return self._refused(broken) if again else self._begin()
        changed, self.gap = listener.taken()
        return changed

    def listen(self) -> None:
        """Takes in what changed so far, so that it fills no buffer until the next look. A failure
        is found then."""
        if self._listener is not None:
            try:
                self._listener.ask()
                self._listener.hear(self._ignore)
            except (RedisError, OSError):
                self._listener.close()

    def stop(self) -> None:
        """Lets the second connection go; the server is asked again at the next look."""
        if self._listener is not None:
            self._listener.close()
        self._listener, self._retry_at, self.problem = None, 0.0, "not asked yet"

    def _begin(self) -> set[bytes]:
        if clock.monotonic() < self._retry_at:
            return set()
        store, listener = self._store, None
        url = store.server_url()
        try:
            with translated(url):
                listener = _Listener(store.beside())
            # Asked first: without it tracking is of no use. It may be on for a listener before.
            store.run("CLIENT", "TRACKINGINFO")
            store.run("CLIENT", "TRACKING", "OFF")
            store.run(
                "CLIENT", "TRACKING", "ON", "REDIRECT", listener.id, "BCAST",
                "PREFIX", self._prefix, "NOLOOP",
            )  # fmt: skip
        except QtctlError as problem:
            if listener is not None:
                listener.close()
            # Where the server is gone, the next command on the other connection says so.
            return self._refused(str(problem))
        self._listener, self.problem = listener, None
        self.gap = self.gap or ""
        return set()

    def _refused(self, problem: str) -> set[bytes]:
        self.problem, self._retry_at = problem, clock.monotonic() + RETRY_SEC
        return set()


class _Listener:
    """The connection that receives the names of changed keys."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        try:
            self.id = client.execute_command("CLIENT", "ID")  # type: ignore[no-untyped-call]
            shapes.check(("CLIENT", "ID"), self.id)
            connection: Any = client.connection
            connection.send_command("SUBSCRIBE", CHANNEL)
            connection.read_response()
        except BaseException:
            self.close()
            raise
        self._connection, self._socket = connection, connection._sock
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._changed: set[bytes] = set()
        self._gap: str | None = None

    def ask(self) -> None:
        """Sends a PING: what changed before it is there before the reply."""
        if self._socket is None:
            raise redis.ConnectionError("closed")
        self._socket.settimeout(_ANSWER_SEC)
        self._connection.send_command("PING", check_health=False)

    def hear(self, ignore: Callable[[bytes], bool]) -> None:
        """Takes in all that comes before the reply to the PING. Errors: those of redis and of the
        socket, after which the connection is of no use."""
        deadline = clock.monotonic() + _ANSWER_SEC
        while True:
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                if isinstance(reply, Exception):
                    raise redis.ResponseError(str(reply))
                if reply[0] == b"pong":
                    return
                if reply[0] == b"message":
                    self._note(reply[2], ignore)
            left = deadline - clock.monotonic()
            if left <= 0:
                raise redis.TimeoutError("no answer in time")
            self._socket.settimeout(left)
            data = self._socket.recv(_READ_BYTES)
            if not data:
                raise redis.ConnectionError("closed by server")
            self._reader.feed(data)

    def _note(self, keys: list[bytes] | None, ignore: Callable[[bytes], bool]) -> None:
        if keys is None:
            self._gap = "a database was flushed"
        elif len(self._changed) < MOST_CHANGES:
            self._changed.update(key for key in keys if not ignore(key))
        else:
            self._gap = f"over {MOST_CHANGES:,} keys changed between two passes"

    def taken(self) -> tuple[set[bytes], str | None]:
        """What changed since the last call, and why that may not be all."""
        found = self._changed, self._gap
        self._changed, self._gap = set(), None
        return found

    def missing_in(self, info: Any) -> str:
        """What is wrong with the tracking by this reply to CLIENT TRACKINGINFO, "" if nothing."""
        found = dict(zip(info[::2], info[1::2], strict=False))
        flags = [text(flag) for flag in found.get(b"flags", ())]
        if "broken_redirect" in flags:
            return "the connection for invalidations was closed"
        on = "bcast" in flags and found.get(b"redirect") == self.id
        return "" if on else "the server tracks nothing for this connection any more"

    def close(self) -> None:
        """Lets the connection go. Never raises."""
        self._socket = None
        try:
            self._client.close()
            self._client.connection_pool.disconnect()
        except (RedisError, OSError):
            pass  # It is gone either way.
