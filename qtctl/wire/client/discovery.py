"""Finds the primary by asking the sentinels, or the nodes of a cluster.

All our keys share one hash tag, hence one slot and one node: one plain connection is enough on a
cluster too. After a failover, or a move of the slot, we ask again.
Source: docs/configuration.md#redis-urls.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
from redis.crc import key_slot

from qtctl import clock
from qtctl.errors import RedisUnreachable, ServerRefusedError, WireError
from qtctl.settings import SENTINEL, Nodes, display_url, hash_tag
from qtctl.wire.client import shapes
from qtctl.wire.client.connect import Access, connect, translated
from qtctl.wire.schema.records import pairs, text

T = TypeVar("T")
_ASK_SEC = 0.5
"""A node that takes longer is skipped: another one knows the same."""
_SILENT_SEC = 30.0
"""How long a sentinel that did not answer is not asked again: waiting for it holds up plans."""


class Place(msgspec.Struct, frozen=True):
    """Host and port of a server."""

    host: str
    port: int


class Finder:
    """Finds the primary through the nodes of a URL; one per connection, not thread safe."""

    def __init__(self, url: str, nodes: Nodes, prefix: str, access: Access) -> None:
        self._url = display_url(url)
        self._nodes = nodes
        self._slot: int = key_slot(hash_tag(prefix).encode())
        self._access = access
        self._sentinels = nodes.scheme == SENTINEL
        self._ask = deque(Place(*node) for node in nodes.nodes)
        self._silent_until: dict[Place, float] = {}

    def find(self, connect_to: Callable[[Place], T]) -> T:
        """The result of connect_to for the first of the servers named that it accepts. Errors:
        RedisUnreachable with the problem of each node and of each server named."""
        problems: dict[str, None] = {}
        for place in self._named(problems):
            try:
                return connect_to(place)
            except (RedisUnreachable, WireError) as problem:
                problems[str(problem)] = None
        raise RedisUnreachable(f"no primary by {self._url}: {'; '.join(problems)}")

    def url(self, place: Place) -> str:
        """The plain URL of a server."""
        return self._nodes.url(place.host, place.port)

    def doubt(self) -> None:
        """Asks another node next time: the last answer was wrong or is out of date."""
        self._ask.rotate(-1)

    def moved(self, place: Place) -> Place | None:
        """The server that has become the primary meanwhile; None if there is none, or nobody knows.
        Only sentinels are asked: a cluster node that is cut off refuses writes by itself."""
        asked = self._next_sentinel()
        if asked is None:
            return None
        try:
            if self._asked(asked)[0] == place:
                return None
        except (RedisUnreachable, WireError):
            self._silent_until[asked] = clock.monotonic() + _SILENT_SEC
            return None
        # This sentinel itself may be out of date: ask the others as well.
        now = next(self._named({}), None)
        return None if now == place else now

    def _next_sentinel(self) -> Place | None:
        """The next sentinel in turn, skipping those silent of late; None if none is left."""
        for _ in range(len(self._ask) if self._sentinels else 0):
            self._ask.rotate(-1)
            if self._silent_until.get(self._ask[0], 0.0) <= clock.monotonic():
                return self._ask[0]
        return None

    def troubles(self, place: Place) -> list[str]:
        """A line for each node that can't be reached or names another primary than this one."""
        lines: list[str] = []
        for node in list(self._ask):
            try:
                found, _ = self._asked(node)
                if found != place:
                    lines.append(f"{node.host}:{node.port} names {found.host}:{found.port}")
            except (RedisUnreachable, WireError) as problem:
                lines.append(str(problem))
        return lines

    def _named(self, problems: dict[str, None]) -> Iterator[Place]:
        """The servers that the nodes name as primary, each once, the most credible first; adds what
        is wrong with nodes to `problems`.

        A majority of sentinels is asked, and the latest failover that any of them knows of wins:
        one that is cut off, or has not heard of it yet, names a primary that was replaced.
        """
        answers: list[tuple[Place, int]] = []
        enough = len(self._ask) // 2 + 1 if self._sentinels else 1
        tried: set[Place] = set()
        nodes = list(self._ask)
        for asked, node in enumerate(nodes, 1):
            try:
                answers.append(self._asked(node))
            except (RedisUnreachable, WireError) as problem:
                problems[str(problem)] = None
                self._ask.remove(node)
                self._ask.append(node)
            if len(answers) >= enough or asked == len(nodes):
                for place, _ in sorted(answers, key=lambda it: -it[1]):
                    if place not in tried:
                        tried.add(place)
                        yield place

    def _asked(self, node: Place) -> tuple[Place, int]:
        """The primary according to this node, and the epoch of the latest failover it knows of.
        Errors: RedisUnreachable, WireError."""
        command = (
            ("SENTINEL", "MASTER", self._nodes.service) if self._sentinels else ("CLUSTER", "SLOTS")
        )
        try:
            reply = self._run(node, *command)
        except ServerRefusedError as problem:
            raise self._refused(node, str(problem)) from problem
        if self._sentinels:
            known = pairs(reply)
            return Place(known["ip"], int(known["port"])), int(known.get("config-epoch", 0))
        return self._owner(node, reply), 0

    def _owner(self, node: Place, slots: Any) -> Place:
        for first, last, primary, *_ in slots:
            host, port = text(primary[0] or b""), int(primary[1])
            place = Place(host, port)
            if host in ("", "?"):
                place = Place(node.host, port)  # It does not know its own name: it means itself.
            elif place not in self._ask and len(self._ask) < 100:
                self._ask.append(place)
            if first <= self._slot <= last:
                return place
        raise self._refused(node, f"knows no owner of slot {self._slot}; is the cluster whole?")

    def _refused(self, node: Place, why: str) -> ServerRefusedError:
        if "unknown command" in why or "cluster support disabled" in why:
            why = "is no sentinel" if self._sentinels else "is no node of a cluster"
        elif self._sentinels and "No such master" in why:
            why = f"knows no service {self._nodes.service!r}"
        return ServerRefusedError(f"{node.host}:{node.port} {why}")

    def _run(self, node: Place, *command: Any) -> Any:
        url = self._nodes.asked(node.host, node.port)
        # The login in the settings is for the servers; that of sentinels is in the URL, if any.
        access = Access() if self._sentinels else self._access
        with translated(url):
            client = connect(url, connect_timeout_sec=_ASK_SEC, timeout_sec=_ASK_SEC, access=access)
            try:
                reply = client.execute_command(*command)  # type: ignore[no-untyped-call]
                shapes.check(command, reply)
                return reply
            finally:
                client.close()
                client.connection_pool.disconnect()
