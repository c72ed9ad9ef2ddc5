"""What `qtctl serve all` holds in memory, with few symbols and with many, and whether it grows; and
what the server holds of a decision for 24 h.
"""

import statistics
from collections.abc import Iterator

from qtctl import clock
from qtctl.bench import governor
from qtctl.bench.figures import Figure
from qtctl.bench.services import served
from qtctl.bench.stage import Stage, put_targets, symbols
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION, GROUP

FEW, MANY = 1_000, 100_000
DECISIONS = 2_000
HOUR = 360
"""Passes of an hour at the usual interval of 10 s."""
INTERVAL_SEC = 0.1
SETTLED = 120
"""Passes until caches are filled."""


def measure(stage: Stage, rounds: int) -> Iterator[Figure]:
    """The figures of memory; one round is enough."""
    store = stage.store
    put_targets(store, symbols(FEW))
    with served(stage, "all", 2, (f"allocation.interval_sec={INTERVAL_SEC}",)) as process:
        _passes(store, SETTLED)
        settled = process.resident_mb()
        _passes(store, HOUR)
        after = process.resident_mb()
    yield Figure("memory", "serve all with 1,000 symbols", after, 60, unit="MB")
    yield Figure("memory", "after 360 more passes", after / settled, 1.05,
                 note=f"{settled:.1f} MB, then {after:.1f} MB")  # fmt: skip
    put_targets(store, symbols(MANY))
    with served(stage, "all", 2, ("allocation.interval_sec=1",)) as process:
        _passes(store, 5)
        found = process.resident_mb()
    yield Figure("memory", "serve all with 100,000 symbols", found, 400, unit="MB")
    yield decision(stage)


def decision(stage: Stage) -> Figure:
    """By the server's own account of each key; its tables of keys come on top."""
    store, names = stage.store, symbols(DECISIONS, "M")
    governor.queue(stage, names, GROUP)
    governor.serve(stage.url)
    keys = [store.keys.at(DECISION, f"plan-{name}") for name in names]
    found = store.batch([("MEMORY", "USAGE", key) for key in keys])
    value = statistics.fmean(found)
    return Figure("memory", "a decision, kept for 24 h", value, 900, unit="B")


def _passes(store: Store, count: int) -> None:
    """Wait for this many more passes, by the stream that each adds to."""
    seen, before = 0, _newest(store)
    while seen < count:
        clock.sleep(0.02)
        now = _newest(store)
        if now != before:
            seen, before = seen + 1, now


def _newest(store: Store) -> object:
    """The time of the newest pass."""
    entries = store.run("XREVRANGE", store.keys.proposed_stream, "+", "-", "COUNT", 1)
    return None if not entries else entries[0][0]
