"""Real nodes from the embedded server's binary: replicas and sentinels, or a cluster."""

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from qtctl.wire.client.connect import connect
from qtctl.wire.private_server.program import find
from qtctl.wire.schema.keys import Keys
from tests.support.guard import Guard, guarded
from tests.support.ports import free_ports
from tests.support.processes import until

SERVICE = "quantum"
TAGGED = "{quantum}:"
DOWN_MS = 500
"""A server that is silent for so long is down: far less than anybody would set, for the tests."""


class Node:
    """One server or sentinel; may be killed and started again, on the same port and files."""

    def __init__(self, guard: Guard, name: str, port: int, lines: Sequence[str]) -> None:
        self.name, self.port = name, port
        self._guard, self._login = guard, ""
        self._lines = [f"port {port}", "bind 127.0.0.1", 'save ""', "appendonly yes", *lines]
        self.directory = guard.directory / name
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, login: str = "") -> None:
        """Start it afresh; a file that it keeps (append-only, nodes.conf) is read. login: what is
        needed from now on, as in a URL."""
        self._login = login or self._login
        self.directory.mkdir(exist_ok=True)
        config = self.directory / "node.conf"
        if not config.exists():  # A sentinel writes into its own.
            config.write_text("\n".join([*self._lines, f"dir {self.directory}", ""]))
        with (self.directory / "log").open("ab") as log:
            self._popen = subprocess.Popen(
                [find(), config, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._guard.watch(self._popen.pid)
        until(self._answers, what=f"{self.name} to answer")

    def run(self, *command: Any) -> Any:
        """One command, on a connection of its own."""
        client = connect(
            f"redis://{self._login}127.0.0.1:{self.port}", connect_timeout_sec=2.0, timeout_sec=10.0
        )
        try:
            return client.execute_command(*command)
        finally:
            client.close()
            client.connection_pool.disconnect()

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def kill(self) -> None:
        """SIGKILL: nothing is said, nothing is written."""
        if self._popen is not None and self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()
            self._guard.forget(self._popen.pid)

    def forget(self) -> None:
        """Its files go: as a server without persistence would start."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def signal(self, number: int) -> None:
        assert self._popen is not None
        self._popen.send_signal(number)

    def _answers(self) -> bool:
        with contextlib.suppress(Exception):
            return bool(self.run("PING") == b"PONG")
        return False


class Nodes:
    """Some of them, with the URL that leads to their primary."""

    def __init__(self, kind: str, url: str, prefix: str, servers: list[Node], asked: list[Node]):
        self.kind, self.url, self.prefix = kind, url, prefix
        self.servers, self.asked = servers, asked

    @property
    def keys(self) -> Keys:
        return Keys(self.prefix)

    @property
    def options(self) -> tuple[str, ...]:
        """How qtctl is told about them."""
        return ("--redis-url", self.url, "--set", f"redis.prefix={self.prefix}")

    def primary(self) -> Node:
        """The server that has the keys now, by its own word; there is exactly one."""
        (found,) = [each for each in self.servers if each.alive and self._is_primary(each)]
        return found

    def _is_primary(self, node: Node) -> bool:
        with contextlib.suppress(Exception):
            node.run("SET", f"{self.prefix}qtctl-test:probe", "1", "PX", "1")
            return True
        return False


@contextlib.contextmanager
def sentinels(replicas: int = 2) -> Iterator[Nodes]:
    """Three sentinels, a primary and its replicas."""
    with guarded() as guard:
        ports = free_ports(replicas + 1)
        servers = [Node(guard, f"server{place}", port, ["repl-diskless-sync-delay 0"])
                   for place, port in enumerate(ports)]  # fmt: skip
        for server in servers:
            server.start()
        for server in servers[1:]:
            server.run("REPLICAOF", "127.0.0.1", str(servers[0].port))
        lines = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {servers[0].port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        asked = [Node(guard, f"sentinel{place}", port, lines)
                 for place, port in enumerate(free_ports(3))]  # fmt: skip
        for sentinel in asked:
            sentinel.start("--sentinel")
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in asked)
        nodes = Nodes(
            "sentinel", f"redis+sentinel://{hosts}/{SERVICE}/0", "quantum:", servers, asked
        )
        try:
            until(lambda: all(_knows(each, replicas) for each in asked), what="sentinels to agree")
            yield nodes
        finally:
            _end(nodes)


def _knows(sentinel: Node, replicas: int) -> bool:
    row = sentinel.run("SENTINEL", "MASTER", SERVICE)
    known = dict(zip(row[::2], row[1::2], strict=True))
    return int(known[b"num-slaves"]) == replicas and int(known[b"num-other-sentinels"]) == 2


@contextlib.contextmanager
def cluster(replicas: int = 1) -> Iterator[Nodes]:
    """Three primaries with a third of the slots each; replicas only for the one that has ours."""
    with guarded() as guard:
        count = 3 + replicas
        ports = free_ports(2 * count)
        lines = ["cluster-enabled yes", f"cluster-node-timeout {2 * DOWN_MS}",
                 "cluster-replica-validity-factor 0", "repl-diskless-sync-delay 0"]  # fmt: skip
        servers = [
            Node(guard, f"node{place}", port, [*lines, f"cluster-port {bus}"])
            for place, (port, bus) in enumerate(zip(ports[:count], ports[count:], strict=True))
        ]
        for server in servers:
            server.start()
        for place, (first, last) in enumerate([(0, 5460), (5461, 10922), (10923, 16383)]):
            servers[place].run("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            servers[place].run("CLUSTER", "SET-CONFIG-EPOCH", str(place + 1))
        for server, bus in zip(servers[1:], ports[count + 1 :], strict=True):
            servers[0].run("CLUSTER", "MEET", "127.0.0.1", str(server.port), str(bus))
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in servers[:3])
        nodes = Nodes("cluster", f"redis+cluster://{hosts}", TAGGED, servers, servers)
        try:
            until(lambda: all(_whole(each, count) for each in servers), what="the cluster")
            ours = nodes.primary().run("CLUSTER", "MYID")
            for server in servers[3:]:
                server.run("CLUSTER", "REPLICATE", ours)
            for server in servers[3:]:
                until(_synchronised(server), what="the replica to follow")
            yield nodes
        finally:
            _end(nodes)


def _whole(node: Node, count: int) -> bool:
    info = node.run("CLUSTER", "INFO")
    return b"cluster_state:ok" in info and b"cluster_known_nodes:%d\r" % count in info


def _synchronised(replica: Node) -> Callable[[], bool]:
    return lambda: b"master_link_status:up" in replica.run("INFO", "replication")


def _end(nodes: Nodes) -> None:
    for node in {*nodes.asked, *nodes.servers}:
        node.kill()
