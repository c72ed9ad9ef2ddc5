"""Several governors on one group: permits per second by their number, and the promise held."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator

import msgspec

from qtctl import clock
from qtctl.bench.figures import Figure, compared
from qtctl.bench.governor import NO_LIMIT, queue
from qtctl.bench.services import Served, served
from qtctl.bench.stage import PACE_SEC, Stage, symbols
from qtctl.errors import QtctlError
from qtctl.wire.queries.keyspace import info
from qtctl.wire.schema.keys import DECISION, GROUP
from qtctl.wire.schema.records import pairs, text

PLANS = 10_000
MOST = 4
WAIT_SEC = 120.0
GROWS, STANDS = 1.15, 0.9
"""Two beside one: the least ratio where there was room to grow, and where there was none."""
FULL_SERVER, FULL_CORES = 0.9, 0.75
"""The shares from which the server's one core, and all cores of the machine, count as full."""
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

    @property
    def cores(self) -> float:
        """The sum."""
        return self.server_cores + self.governors_cores


def measure(stage: Stage, rounds: int) -> Iterator[Figure]:
    """Two beside one; the note has the whole curve, with the busy cores. Where the server or the
    cores are the limit already, the target is that the second costs little."""
    curve: dict[int, list[Round]] = {count: [] for count in range(1, MOST + 1)}
    # In turns: other load on the machine hits all of them.
    for place in range(min(rounds, 3)):
        for count, found in curve.items():
            found.append(_round(stage, count, f"G{count}{place}x"))
    cores = len(os.sched_getaffinity(0))
    ordered = {count: sorted(found, key=lambda it: it.rate) for count, found in curve.items()}
    median = {count: found[len(found) // 2] for count, found in ordered.items()}
    by_number = ", ".join(
        f"{count}: {it.rate:,.0f} ({it.cores:.1f} of {cores} cores)" for count, it in median.items()
    )
    one, two = ([each.rate for each in curve[count]] for count in (1, 2))
    yield compared("governors", "permits a second, two governors beside one", two, one,
                   target(median[2], cores), at_least=True, measured_unit="permits/s",
                   note=f"by their number: {by_number}")  # fmt: skip


def target(two: Round, cores: int) -> float:
    """The target for two beside one, by how many cores they kept busy."""
    limited = two.server_cores >= FULL_SERVER or two.cores >= FULL_CORES * cores
    return STANDS if limited else GROWS


def _round(stage: Stage, count: int, head: str) -> Round:
    """This many governors, on plans that wait for them."""
    stage.empty()
    names = symbols(PLANS, head)
    with contextlib.ExitStack() as stack:
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
