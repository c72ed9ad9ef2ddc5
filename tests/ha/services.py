"""`qtctl serve` on nodes, as a process, and what it is fed with."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from qtctl.wire.client.store import Store
from tests.support.nodes import Nodes
from tests.support.processes import Process, qtctl, until

ENV = {**os.environ, "QTCTL_CONFIG": os.devnull}
QUICK = (
    "allocation.metrics_port=0", "governor.metrics_port=0", "allocation.interval_sec=0.5",
    "governor.symbol_cooldown_sec=0", "governor.reopen_cooldown_sec=0",
    "governor.max_exec_per_5min=0", "governor.max_exec_per_hour=0",
)  # fmt: skip


def _found(store: Store, pattern: str) -> list[str]:
    return list(store.scan_keys(pattern))


@contextmanager
def serving(nodes: Nodes, which: str = "all", *more: str) -> Iterator[Process]:
    """Both services with passes twice a second, once they have a record; targets are there."""
    store = Store(nodes.url, nodes.keys)
    targets(store)
    sets = [part for each in (*QUICK, *more) for part in ("--set", each)]
    with qtctl("serve", which, *nodes.options, *sets, env=ENV) as child:
        for name in ("allocation", "governor") if which == "all" else (which,):
            until(
                partial(_found, store, nodes.keys.service(name, "*")), what=f"the record of {name}"
            )
        yield child
    store.close()


def targets(store: Store) -> None:
    """Two symbols, as upstream writes them."""
    now = store.now_ms() // 1000
    prefix = store.keys.prefix
    for symbol in ("BTCUSDT", "ETHUSDT"):
        store.run("HSET", f"{prefix}allocation:target:{symbol}", "target_usd", "1000",
                  "timestamp", now)  # fmt: skip
        store.run("HSET", f"{prefix}capital:efficiency:{symbol}", "efficiency_score", "0.4",
                  "confidence", "0.9", "ts", now)  # fmt: skip
