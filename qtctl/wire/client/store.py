"""One connection to Redis: commands one by one or in batches, its errors as ours."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from typing import Any

import redis
from redis.exceptions import NoScriptError

from qtctl import clock, errors
from qtctl.settings import display_url, nodes_of
from qtctl.wire.client import scripts, shapes
from qtctl.wire.client.connect import NO_ACCESS, Access, connect, is_elsewhere, is_error, translated
from qtctl.wire.client.discovery import Finder, Place
from qtctl.wire.client.pipe import Large, Pipe
from qtctl.wire.client.server import Server, millis, server_of
from qtctl.wire.client.shapes import Command
from qtctl.wire.schema.keys import Keys, KeySpec
from qtctl.wire.schema.records import text

BATCH = 512
"""Commands sent at once: large enough to hide the round trip, small enough to bound memory."""
CALLS, CALLS_AHEAD = 25, 4
"""Calls of a script sent at once, and so many times as many may be on their way."""
SCAN_COUNT = 1_000
_place = itemgetter(0)


class Store:
    """A connection that is made on first use, and again after it broke; not thread safe.
    `generation` counts the connections: what is known of the server holds for one of them."""

    def __init__(
        self, url: str, keys: Keys, *, connect_timeout_sec: float = 1.5, timeout_sec: float = 2.0,
        access: Access = NO_ACCESS,
    ) -> None:  # fmt: skip
        self.url = url
        self.keys = keys
        self.generation = 0
        self._timeouts = (connect_timeout_sec, timeout_sec)
        self._access = access
        self._client: redis.Redis | None = None
        self._asked: tuple[Pipe, float] | None = None
        nodes = nodes_of(url)
        self._plain: dict[str, str] = {}  # The scripts whose flags the server does not know.
        self._finder = None if nodes is None else Finder(url, nodes, keys.prefix, access)
        self._at = Place("", 0), url

    def server_url(self) -> str:
        """The plain URL of the server that the URL leads to. Errors: RedisUnreachable, except for
        a plain URL, whose server is not asked."""
        if self._finder is not None:
            with self.mended():
                self._connected()
        return self._at[1]

    @property
    def connected(self) -> bool:
        """True while there is a connection, as far as is known."""
        return self._client is not None

    def reader(self, block_sec: float) -> "Store":
        """Another connection, for reads that block up to block_sec."""
        connect_timeout, timeout = self._timeouts
        return Store(
            self.url, self.keys, connect_timeout_sec=connect_timeout, access=self._access,
            timeout_sec=timeout + block_sec,  # BLOCK can overrun its own time-out a little.
        )  # fmt: skip

    def to_url(self, url: str) -> "Store":
        """Another connection with the same names and login, to another URL."""
        connect_timeout, timeout = self._timeouts
        return Store(
            url, self.keys, connect_timeout_sec=connect_timeout, timeout_sec=timeout,
            access=self._access,
        )  # fmt: skip

    def beside(self) -> redis.Redis:
        """A second client, to the server that this connection leads to; nothing is sent yet."""
        return self._client_to(self.server_url())

    def close(self) -> None:
        """Let the connection go; the next command makes a new one. Never raises."""
        client, self._client, self._asked = self._client, None, None
        if client is not None:
            try:
                client.close()
                client.connection_pool.disconnect()
            except (redis.RedisError, OSError):
                pass  # It is gone either way.

    def run(self, *command: Any) -> Any:
        """One command, its reply as bytes. Errors: RedisUnreachable, WireError."""
        try:
            reply = self._connected().execute_command(*command)  # type: ignore[no-untyped-call]
            shapes.check(command, reply)
        except BaseException as problem:
            self._translate(problem)
            raise
        return reply

    def batch(
        self, commands: Sequence[Command], *, atomic: bool = False, decoded: bool = False,
        large: Large | None = None,
    ) -> list[Any]:  # fmt: skip
        """The replies to many commands; an error reply stands in its place as an exception. Sent in
        chunks of BATCH; with `atomic` each chunk is a MULTI. decoded: text for bytes; large: where
        they may be. Errors: RedisUnreachable."""
        replies: list[Any] = []
        with self.pipe(decoded=decoded, large=large) as pipe:
            for start in range(0, len(commands), BATCH):
                pipe.send(commands[start : start + BATCH], atomic=atomic)
                if start:
                    replies += pipe.receive()
            if commands:
                replies += pipe.receive()
        return replies

    def pipe(self, *, decoded: bool = False, large: Large | None = None) -> "_Ahead":
        """Commands sent ahead of their replies; at the end none is left unanswered. Errors:
        RedisUnreachable, WireError where a MULTI was refused."""
        return _Ahead(self, decoded, large)

    def open_pipe(self, *, decoded: bool = False, large: Large | None = None) -> Pipe:
        """The same without the end: errors are those of redis."""
        client = self._client or self._connected()
        return Pipe(client, roams=self._finder is not None, decoded=decoded, large=large)

    def reply(self, command: Command, large: Large | None = None) -> Any:
        """The same for a command whose reply is large; too large for memory, where large says how
        it is read then."""
        (reply,) = self.batch([command], large=large)
        return self._raised(reply)

    def ask(self, command: Command, large: Large | None = None) -> None:
        """Sends a command that may wait for its answer on the server. Until that has come, this
        connection is good for nothing else."""
        try:
            pipe = self.open_pipe(large=large)
            pipe.send([command])
            self._asked = pipe, clock.monotonic() + self._timeouts[1]
        except BaseException as problem:
            self._translate(problem)
            raise

    @property
    def asked(self) -> bool:
        """True while there is an answer to come."""
        return self._asked is not None

    def answer(self, within_sec: float) -> tuple[Any] | None:
        """The answer, None where it does not come within that time; one that takes longer than the
        time-out breaks the connection. Errors: RedisUnreachable, WireError."""
        assert self._asked is not None, "nothing was asked"
        pipe, until = self._asked
        try:
            if not pipe.arrived(within_sec):
                if clock.monotonic() > until:
                    raise redis.TimeoutError("Timeout reading from socket")
                return None
            (reply,) = pipe.receive()
        except BaseException as problem:
            self.close()  # The rest would be taken for the answer to something else.
            self._translate(problem)
            raise
        self._asked = None
        return (self._raised(reply) if isinstance(reply, Exception) else reply,)

    def scripts(self, name: str, calls: Iterable[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """The replies to many calls of one script (keys, arguments), in their order. Errors as in
        batch."""
        calls = [*calls]
        name = self._plain.get(name, name)
        commands = (
            ("EVALSHA", scripts.digest(name), len(keys), *keys, *args) for keys, args in calls
        )
        replies = [reply for _, reply in sorted(self.calls(name, commands), key=_place)]
        if name in scripts.FLAGS and any(is_error(it) and "ompil" in str(it) for it in replies):
            self._plain[name] = name + scripts.PLAIN
            return self.scripts(name, calls)
        return replies

    def calls(self, name: str, commands: Iterable[Command]) -> Iterator[tuple[int, Any]]:
        """The replies to many calls of one script, each with the place of its call, as they come:
        the server works while the next calls are put together.

        A server that does not know the script (restarted, flushed) is taught it and asked again:
        such a call did nothing. Where it refuses to be taught, that error is each reply. Errors
        as in batch.
        """
        unknown: list[tuple[int, Command]] = []
        ahead: deque[list[tuple[int, Command]]] = deque()

        def known(pipe: Pipe) -> Iterator[tuple[int, Any]]:
            for call, reply in zip(ahead.popleft(), pipe.receive(), strict=True):
                if isinstance(reply, NoScriptError):
                    unknown.append(call)
                else:
                    shapes.check_script(name, reply)
                    yield call[0], reply

        with _Ahead(self, False, None) as pipe:
            numbered = enumerate(commands)
            while chunk := list(islice(numbered, CALLS)):
                pipe.send([command for _, command in chunk])
                ahead.append(chunk)
                if len(ahead) > CALLS_AHEAD:
                    yield from known(pipe)
            while ahead:
                yield from known(pipe)
        if unknown:
            try:
                self.run("SCRIPT", "LOAD", scripts.source(name))
            except errors.WireError as refused:
                yield from ((place, refused) for place, _ in unknown)
                return
            replies = self.batch([command for _, command in unknown])
            for (place, _), reply in zip(unknown, replies, strict=True):
                with self.mended():
                    shapes.check_script(name, reply)
                yield place, reply

    def script(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """One call of a script. Errors: RedisUnreachable, WireError."""
        (reply,) = self.scripts(name, [(keys, args)])
        return self._raised(reply)

    def scan(self, spec: KeySpec) -> list[str]:
        """The names (symbols, plan_ids) of all keys of a template, each once, sorted."""
        names = {self.keys.name(spec, key) for key in self.scan_keys(self.keys.pattern(spec))}
        return sorted(name for name in names if name is not None)

    def scan_keys(self, pattern: str) -> Iterator[str]:
        """Every key that a glob matches, perhaps more than once (SCAN may repeat itself)."""
        for page, _ in self.scan_pages(pattern):
            yield from map(text, page)

    def scan_pages(
        self, pattern: str, count: int = SCAN_COUNT, cursor: bytes = b"0"
    ) -> Iterator[tuple[list[bytes], bytes]]:
        """The same by the page, each with the cursor of the next, which is b"0" after the last;
        count: keys that a page looks at."""
        return self._pages(("SCAN",), ("MATCH", pattern, "COUNT", count), cursor)

    def index_pages(self, key: str, count: int = SCAN_COUNT) -> Iterator[list[bytes]]:
        """The members of a sorted set by the page, perhaps more than once."""
        for page, _ in self._pages(("ZSCAN", key), ("COUNT", count), b"0"):
            yield page[::2]

    def _pages(
        self, head: tuple[str, ...], options: tuple[Any, ...], cursor: bytes
    ) -> Iterator[tuple[list[bytes], bytes]]:
        while True:
            cursor, page = self.reply((*head, cursor, *options))
            yield page, cursor
            if cursor == b"0":
                return

    def now_ms(self) -> int:
        """The server's clock, epoch milliseconds."""
        return millis(self.run("TIME"))

    def server(self) -> Server:
        """Who answers, since when, and whether it may evict."""
        info, time = map(self._raised, self.batch([("INFO",), ("TIME",)]))
        found = server_of(info, millis(time))
        if self._finder is not None and found.role != "master":
            self.close()
            raise errors.RedisUnreachable(f"{display_url(self._at[1])} is a {found.role} now")
        return found

    def confirm(self) -> None:
        """Checks that Sentinel has made no other server the primary: an isolated one does not know,
        and takes writes that will be lost. Errors: RedisUnreachable where it has."""
        if self._finder is None or self._client is None:
            return
        now = self._finder.moved(self._at[0])
        if now is not None:
            self.close()
            raise errors.RedisUnreachable(
                f"{display_url(self._at[1])} is not the primary any more: {now.host}:{now.port} is"
            )

    def silent_nodes(self) -> list[str] | None:
        """What is wrong with the nodes that name the primary; None for a plain server."""
        return None if self._finder is None else self._finder.troubles(self._at[0])

    def _raised(self, reply: Any) -> Any:
        if isinstance(reply, errors.WireError):
            raise reply
        if isinstance(reply, Exception):
            with translated(self._at[1]):
                raise reply
        return reply

    def _connected(self) -> redis.Redis:
        if self._client is None:
            if self._finder is None:
                self._client = self._client_to(self.url)
            else:
                self._client = self._finder.find(self._primary)
            self.generation += 1
        return self._client

    def _client_to(self, url: str) -> redis.Redis:
        connect_timeout, timeout = self._timeouts
        return connect(
            url, connect_timeout_sec=connect_timeout, timeout_sec=timeout, access=self._access
        )

    def _primary(self, place: Place) -> redis.Redis:
        """A client to a server whose role is primary. Errors: RedisUnreachable, WireError."""
        assert self._finder is not None
        url = self._finder.url(place)
        with translated(url):
            client = self._client_to(url)
            try:
                role = client.execute_command("ROLE")  # type: ignore[no-untyped-call]
                shapes.check(("ROLE",), role)
                if role[0] != b"master":
                    raise redis.ConnectionError("it is a replica: the failover is not over")
            except BaseException:
                client.close()
                raise
        self._at = place, url
        return client

    def _translate(self, problem: BaseException) -> None:
        """Raises it as ours: as `mended`, where a `with` around what mostly succeeds costs too much
        of a plan's time. After an interrupt the connection is closed: what was sent may be without
        its reply, which the next command would take for its own."""
        if not isinstance(problem, Exception):
            self.close()
        with self.mended():
            raise problem

    @contextmanager
    def mended(self) -> Iterator[None]:
        """Errors as ours. After a broken connection nothing is known about the next: start it from
        scratch."""
        try:
            with translated(self._at[1]):
                try:
                    yield
                except redis.RedisError as problem:
                    if self._finder is None or not is_elsewhere(problem):
                        raise
                    raise redis.ConnectionError(str(problem)) from problem
        except errors.RedisUnreachable:
            self.close()
            if self._finder is not None:
                self._finder.doubt()
            raise


class _Ahead:
    """One pipe of a store, for the length of a `with`."""

    def __init__(self, store: Store, decoded: bool, large: Large | None) -> None:
        self._store = store
        self._decoded, self._large = decoded, large

    def __enter__(self) -> Pipe:
        try:
            self._pipe = self._store.open_pipe(decoded=self._decoded, large=self._large)
        except BaseException as problem:
            self._store._translate(problem)
            raise
        return self._pipe

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if problem is None and not self._pipe.outstanding:
            return
        with self._store.mended():
            try:
                if problem is not None:
                    raise problem
                self._pipe.drain()
            except redis.ResponseError:
                self._pipe.drain()
                raise
            except BaseException:
                self._store.close()  # What is to come would be taken for the reply to another.
                raise
