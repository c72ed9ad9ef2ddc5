"""Servers with users, and with TLS: the Valkey that comes with qtctl, and Debian's redis-server."""

import contextlib
import hashlib
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from qtctl.wire.client.connect import Access
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.schema.keys import Keys
from tests.support.debian import needed
from tests.support.guard import guarded
from tests.support.ports import free_port
from tests.support.processes import until

ACL_FILE = Path(__file__).parents[2] / "etc" / "redis-acl.conf"
ROLES = ("allocation", "governor", "recorder", "operator", "viewer", "apply", "upstream")
ADMIN = "user admin on >admin ~* &* +@all\n"
"""The tests' own, who makes and looks at everything."""


class Redis(NamedTuple):
    """A server with the users of etc/redis-acl.conf; each role's password is in a file."""

    url: str
    passwords: Path

    def password(self, role: str) -> str:
        """As it is in its file."""
        return (self.passwords / role).read_text()

    def access(self, role: str) -> Access:
        """A login."""
        return Access(username=role, password=lambda: self.password(role))

    @contextlib.contextmanager
    def store(self, role: str = "admin") -> Iterator[Store]:
        """A connection as this role."""
        store = Store(self.url, Keys(), access=self.access(role))
        try:
            yield store
        finally:
            store.close()

    def environ(self, role: str) -> dict[str, str]:
        """What a process of this role is started with."""
        return {
            "QTCTL_REDIS_USERNAME": role,
            "QTCTL_REDIS_PASSWORD_FILE": str(self.passwords / role),
        }

    def empty(self) -> None:
        """As it was at the start."""
        with self.store() as admin:
            admin.run("FLUSHALL")
            admin.run("SCRIPT", "FLUSH")
            admin.run("ACL", "LOG", "RESET")

    def refusals(self) -> list[str]:
        """What the server refused since, as `user command-or-key`."""
        with self.store() as admin:
            rows = admin.run("ACL", "LOG")
        found = [dict(zip(row[::2], row[1::2], strict=True)) for row in rows]
        return [f"{row[b'username'].decode()} {row[b'object'].decode()}" for row in found]


def filled_in(directory: Path) -> tuple[Path, Path]:
    """An aclfile made of the shipped file, and where the passwords are."""
    passwords = directory / "passwords"
    passwords.mkdir()
    (passwords / "admin").write_text("admin")
    text = ACL_FILE.read_text(encoding="utf-8")
    for role in ROLES:
        (passwords / role).write_text(f"{role}-has-a-password")
        digest = hashlib.sha256(f"{role}-has-a-password".encode()).hexdigest()
        text = text.replace(f"#{role}-sha256", f"#{digest}")
    users = [line for line in text.splitlines(keepends=True) if line.startswith("user ")]
    aclfile = directory / "users.acl"
    aclfile.write_text("".join(users) + ADMIN)
    return aclfile, passwords


@contextlib.contextmanager
def valkey(directory: Path) -> Iterator[Redis]:
    """The embedded server, with users, on a port of its own."""
    aclfile, passwords = filled_in(directory)
    port = free_port()
    with temporary(port=port, extra={"aclfile": str(aclfile)}):
        yield Redis(f"redis://127.0.0.1:{port}/0", passwords)


@contextlib.contextmanager
def debian_redis(directory: Path) -> Iterator[Redis]:
    """Debian's redis-server, with users. Skips where there is none."""
    aclfile, passwords = filled_in(directory)
    port = free_port()
    with redis_server({"port": str(port), "aclfile": str(aclfile)}, port):
        yield Redis(f"redis://127.0.0.1:{port}/0", passwords)


@contextlib.contextmanager
def redis_server(options: Mapping[str, str], port: int) -> Iterator[Path]:
    """redis-server with these options, listening, in a folder of its own."""
    binary = needed("redis-server")
    with guarded() as guard:
        config = {
            "bind": "127.0.0.1",
            "dir": str(guard.directory),
            "save": '""',
            "logfile": "server.log",
            **options,
        }
        lines = "".join(f"{name} {value}\n" for name, value in config.items())
        process = subprocess.Popen(
            [binary, "-"], stdin=subprocess.PIPE, start_new_session=True, cwd=guard.directory
        )
        guard.watch(process.pid)
        try:
            assert process.stdin is not None
            with process.stdin as stdin:
                stdin.write(lines.encode())
            until(lambda: process.poll() is not None or _listens(port), what="redis-server")
            assert process.poll() is None, (guard.directory / "server.log").read_text()
            yield guard.directory
        finally:
            process.kill()
            process.wait()
            guard.forget(process.pid)


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


class Heard:
    """What a server carried out, as MONITOR tells it, in scripts as well."""

    def __init__(self, redis: Redis) -> None:
        self._store = Store(redis.url, Keys(), access=redis.access("admin"))
        self._store.run("PING")
        client = self._store._connected()
        assert client.connection is not None
        self._connection = client.connection
        self._connection.send_command("MONITOR")
        self._connection.read_response()

    def close(self) -> None:
        """No more of it."""
        self._store.close()

    def commands(self) -> set[str]:
        """`get`, `xinfo|groups`, …: all since the start."""
        found: set[str] = set()
        mark = f"end-{time.monotonic_ns()}"
        with contextlib.closing(Store(self._store.url, Keys(), access=self._store._access)) as last:
            last.run("ECHO", mark)
        while True:
            line = self._connection.read_response().decode("utf-8", "backslashreplace")
            words = [word.strip('"').lower() for word in line.partition("] ")[2].split(" ")[:2]]
            if words[0] == "echo" and words[1] == mark:
                return found
            found.add(_named(words))


def _named(words: Sequence[str]) -> str:
    containers = ("xinfo", "xgroup", "script", "client", "acl", "memory")
    return "|".join(words) if words[0] in containers else words[0]
