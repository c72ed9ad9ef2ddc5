"""Two governors on one group beside one: permits per second, and the promise held.

The server has a core of its own, and all governors share the others, so that a second governor
takes nothing from the server and gets nothing but what the first leaves.
"""

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator

import msgspec

from qtctl import clock
from qtctl.bench.cores import server_apart, started_on
from qtctl.bench.figures import Figure, compared
from qtctl.bench.governor import NO_LIMIT, queue
from qtctl.bench.services import Served, served
from qtctl.bench.stage import PACE_SEC, Stage, symbols
from qtctl.errors import QtctlError
from qtctl.wire.queries.keyspace import info
from qtctl.wire.schema.keys import DECISION, GROUP
from qtctl.wire.schema.records import pairs, text

PLANS = 10_000
WAIT_SEC = 120.0
GROWS, STANDS = 1.15, 0.97
"""Two beside one: the least ratio where there was room to grow, and where there was none."""
FULL_SERVER, FULL_CORES = 0.9, 0.75
"""The shares from which the server's core, and those of the governors, count as full."""
_SETS = (
    "governor.max_queue_age_sec=3600",
    "governor.max_plan_age_sec=3600",
    f"governor.max_opens_per_5min_total={NO_LIMIT}",
)


class Round(msgspec.Struct, frozen=True):
    """Permits per second, and how many cores the server and the governors kept busy for it."""

    rate: float
    server_cores: float
    governors_cores: float


def measure(stage: Stage, rounds: int) -> Iterator[Figure]:
    """Two beside one. Where the server's core or those of the governors are the limit already, the
    target is that the second costs next to nothing."""
    found: dict[int, list[Round]] = {1: [], 2: []}
    with server_apart(stage) as cores:
        # In turns: other load on the machine hits both.
        for place in range(rounds):
            for count, into in found.items():
                into.append(_round(stage, count, f"G{count}{place}x", cores))
    ordered = {count: sorted(each, key=lambda it: it.rate) for count, each in found.items()}
    median = {count: each[len(each) // 2] for count, each in ordered.items()}
    busy = ", ".join(
        f"{count}: {each.server_cores:.2f} and {each.governors_cores:.2f}"
        for count, each in median.items()
    )
    one, two = ([each.rate for each in found[count]] for count in (1, 2))
    yield compared("governors", "permits a second, two governors beside one", two, one,
                   target(median[2], len(cores)), at_least=True, measured_unit="permits/s",
                   note=f"cores busy, server and governors: {busy}")  # fmt: skip


def target(two: Round, cores: int) -> float:
    """The target for two beside one, by how busy they kept the server and their own cores. On one
    core there is no room for a second, whatever else kept it busy."""
    full = two.server_cores >= FULL_SERVER or two.governors_cores >= FULL_CORES * cores
    return STANDS if cores < 2 or full else GROWS


def _round(stage: Stage, count: int, head: str, cores: Collection[int]) -> Round:
    """This many governors on these cores, on plans that wait for them."""
    stage.empty()
    names = symbols(PLANS, head)
    with contextlib.ExitStack() as stack:
        with started_on(cores):
            running = [
                stack.enter_context(
                    served(stage, "governor", place + 1, (*_SETS, f"governor.name=g{place}"))
                )
                for place in range(count)
            ]
        # The stream is filled while they sleep: only their own work is measured.
        for each in running:
            each.pause()
        queue(stage, names, GROUP, keep=True)
        clock.sleep(PACE_SEC)
        server, theirs = _server_cpu_sec(stage), sum(each.cpu_sec() for each in running)
        begun = clock.monotonic()
        took = _until_permitted(stage, running, begun)
        server = _server_cpu_sec(stage) - server
        theirs = sum(each.cpu_sec() for each in running) - theirs
    shares = _shares(stage, names)
    assert len(shares) == count, "each had its share"
    return Round(PLANS / took, server / took, theirs / took)


def _server_cpu_sec(stage: Stage) -> float:
    found = info(stage.store)
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def _until_permitted(stage: Stage, running: list[Served], begun: float) -> float:
    store = stage.store
    for each in running:
        each.go_on()
    while store.run("ZCARD", store.keys.permits) < PLANS:
        if clock.monotonic() - begun > WAIT_SEC:
            raise QtctlError(f"{len(running)} governors did not permit {PLANS:,} plans in time")
        clock.sleep(0.005)
    return clock.monotonic() - begun


def _shares(stage: Stage, names: list[str]) -> Counter[str]:
    """How many plans each instance permitted. One event per plan: none was decided twice."""
    store = stage.store
    events = Counter(
        pairs(raw)["plan_id"] for _, raw in store.reply(("XRANGE", store.keys.events, "-", "+"))
    )
    assert max(events.values()) == 1, "no plan was decided twice"
    found = store.batch(
        [("HMGET", store.keys.at(DECISION, f"plan-{name}"), "instance", "verdict")
         for name in names]
    )  # fmt: skip
    assert all(verdict == b"permitted" for _, verdict in found), "each plan has its permit"
    return Counter(text(instance) for instance, _ in found)
