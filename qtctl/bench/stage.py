"""Where the bench runs: on a private server, or on a named one that has no keys of qtctl."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from qtctl import clock
from qtctl.errors import RefusedError, UsageError
from qtctl.settings import display_url, nodes_of
from qtctl.wire.client.pipe import Command
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.schema.keys import EFFICIENCY, TARGET, Keys

PACE_SEC = 0.3
"""A pause before each round: a loop is idle between passes, and an idle machine wakes slowly."""


class Stage(msgspec.Struct, frozen=True):
    """A server and a folder for sockets."""

    url: str
    directory: Path
    private: bool

    def store(self) -> Store:
        """A new connection."""
        return Store(self.url, Keys(), timeout_sec=60.0)

    def empty(self) -> None:
        """Removes everything the measurement created."""
        store = self.store()
        if self.private:
            store.run("FLUSHALL")
        else:
            for pattern in (f"{store.keys.prefix}*", f"{FOREIGN}*"):
                found = list(store.scan_keys(pattern))
                store.batch([("UNLINK", key) for key in found])
        store.close()


FOREIGN = "qtctl-bench:foreign:"


@contextlib.contextmanager
def stage(url: str | None) -> Iterator[Stage]:
    """A private server for the length of a `with`, or the one named.

    Errors: RefusedError where that holds any key of ours, UsageError where it is none.
    """
    if url is None:
        with another() as private:
            yield private
        return
    if nodes_of(url) is not None:
        raise UsageError(f"bench measures one server: {display_url(url)} names several")
    with tempfile.TemporaryDirectory(prefix="qtctl-bench-") as directory:
        named = Stage(url, Path(directory), False)
        store = named.store()
        found = next(store.scan_keys(f"{store.keys.prefix}*"), None)
        store.close()
        if found is not None:
            raise RefusedError(f"found {found}: a bench needs a Redis without any keys of qtctl")
        try:
            yield named
        finally:
            named.empty()


@contextlib.contextmanager
def another() -> Iterator[Stage]:
    """One more private server."""
    with temporary() as server:
        yield Stage(server.url, server.directory, True)


def symbols(count: int, head: str = "S") -> list[str]:
    """This many names."""
    return [f"{head}{number:06d}USDT" for number in range(count)]


def put_targets(store: Store, names: Sequence[str]) -> None:
    """A target and a good score for each, as upstream writes them."""
    now = int(clock.now())
    commands: list[Command] = []
    for place, name in enumerate(names):
        commands.append(
            ("HSET", store.keys.at(TARGET, name), "target_usd", f"{1000 + place % 777}.5",
             "weight", "0.01", "cluster_id", "3", "regime", "calm", "confidence", "0.9",
             "timestamp", now, "mode", "live")
        )  # fmt: skip
        commands.append(score(store, name, f"0.{place % 89 + 10}", now))
    store.batch(commands)


def score(store: Store, name: str, value: str, at: int) -> Command:
    """One score, as upstream writes it."""
    return ("HSET", store.keys.at(EFFICIENCY, name), "efficiency_score", value,
            "confidence", "0.9", "ts", at, "mode", "live", "version", "1")  # fmt: skip
