"""Where the benches run: a private server, or a named one that holds nothing of ours."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from qtctl import clock
from qtctl.errors import RefusedError, UsageError
from qtctl.settings import display_url, nodes_of
from qtctl.wire.client.shapes import Command
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.schema.keys import EFFICIENCY, TARGET, Keys

PACE_SEC = 0.3
"""A pause before each round: a loop is idle between passes, and an idle machine wakes slowly."""
FOREIGN = "qtctl-bench:foreign:"


class Stage(msgspec.Struct, frozen=True):
    """A server with a connection to it, and a folder for sockets."""

    url: str
    directory: Path
    private: bool
    store: Store

    def empty(self) -> None:
        """Delete everything that was measured with."""
        if self.private:
            self.store.run("FLUSHALL")
            return
        for pattern in (f"{self.store.keys.prefix}*", f"{FOREIGN}*"):
            found = list(self.store.scan_keys(pattern))
            self.store.batch([("UNLINK", key) for key in found])


@contextlib.contextmanager
def stage(url: str | None) -> Iterator[Stage]:
    """A private server for the length of a `with`, or the one named. Errors: RefusedError where
    that holds any key of ours, UsageError where it is not one server."""
    if url is None:
        with temporary() as server, contextlib.closing(connect(server.url)) as store:
            # What waits for a governor's first look in a server's first second is quarantined.
            clock.sleep(1.01 - clock.now() % 1)
            yield Stage(server.url, server.directory, True, store)
        return
    if nodes_of(url) is not None:
        raise UsageError(f"bench measures one server: {display_url(url)} names several")
    with (
        tempfile.TemporaryDirectory(prefix="qtctl-bench-") as directory,
        contextlib.closing(connect(url)) as store,
    ):
        found = next(store.scan_keys(f"{store.keys.prefix}*"), None)
        if found is not None:
            raise RefusedError(f"{found} exists: a bench needs a Redis that holds nothing of ours")
        named = Stage(url, Path(directory), False, store)
        try:
            yield named
        finally:
            named.empty()


def connect(url: str) -> Store:
    """A connection that is patient: some measured commands take seconds."""
    return Store(url, Keys(), timeout_sec=60.0)


def symbols(count: int, head: str = "S") -> list[str]:
    """This many names, in upper case as exchanges write them: the score of any other costs a plan
    one more round trip."""
    return [f"{head.upper()}{number:06d}USDT" for number in range(count)]


def put_targets(store: Store, names: Sequence[str]) -> None:
    """A target and a good score for each, as upstream writes them."""
    now = store.now_ms() // 1000
    commands: list[Command] = []
    for place, name in enumerate(names):
        commands.append(
            ("HSET", store.keys.at(TARGET, name), "target_usd", f"{1000 + place % 777}.5",
             "weight", "0.01", "cluster_id", "3", "regime", "calm", "confidence", "0.9",
             "timestamp", now, "mode", "live")
        )  # fmt: skip
        commands.append(score(store, name, f"0.{place % 89 + 10}", now))
    store.batch(commands)


def put_scores(store: Store, names: Sequence[str], place: int) -> None:
    """Another good score for each of these."""
    now = store.now_ms() // 1000
    store.batch([score(store, name, f"0.{place % 89 + 10}1", now) for name in names])


def score(store: Store, name: str, value: str, at: int) -> Command:
    """One score, as upstream writes it."""
    return ("HSET", store.keys.at(EFFICIENCY, name), "efficiency_score", value,
            "confidence", "0.9", "ts", at, "mode", "live", "version", "1")  # fmt: skip


def plan(store: Store, symbol: str, at: int, entry_id: Any = "*") -> Command:
    """An open plan on this symbol, as upstream sends it; its id is `plan-SYMBOL`."""
    return ("XADD", store.keys.plans, entry_id, "plan_id", f"plan-{symbol}", "symbol", symbol,
            "action", "OPEN_PROPOSED", "decision", "EXECUTE", "kill_score", "0.1", "side", "BUY",
            "qty", "0.01", "price", "5000", "reduceOnly", "false", "timestamp", at,
            "source", "bench")  # fmt: skip
