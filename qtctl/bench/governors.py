"""Several governors on one group: permits per second by their number, and the promise held."""

import contextlib
from collections import Counter
from collections.abc import Iterator

from qtctl import clock
from qtctl.bench.figures import Figure, Spread, spread
from qtctl.bench.governor import NO_LIMIT, queue
from qtctl.bench.services import Served, served
from qtctl.bench.stage import PACE_SEC, Stage, symbols
from qtctl.errors import QtctlError
from qtctl.wire.keys import DECISION, GROUP
from qtctl.wire.records import pairs, text

PLANS = 10_000
MOST = 4
WAIT_SEC = 120.0
_SETS = (
    "governor.max_queue_age_sec=3600",
    "governor.max_plan_age_sec=3600",
    f"governor.max_opens_per_5min_total={NO_LIMIT}",
)


def measure(stage: Stage, rounds: int) -> Iterator[Figure]:
    """Two beside one; the curve up to four is its note."""
    curve: dict[int, Spread] = {}
    for count in range(1, MOST + 1):
        rates, shares = [], Counter[str]()
        for place in range(min(rounds, 3)):
            rate, shares = _round(stage, count, f"G{count}{place}x")
            rates.append(rate)
        curve[count] = spread(rates)
        assert len(shares) == count, "each had its share"
    told = ", ".join(f"{count}: {found.median:,.0f}" for count, found in curve.items())
    yield Figure("governors", "permits a second, two governors beside one",
                 curve[2].median / curve[1].median, 1.0, at_least=True, measured=curve[2],
                 beside=curve[1], measured_unit="permits/s",
                 note=f"by their number: {told}")  # fmt: skip


def _round(stage: Stage, count: int, head: str) -> tuple[float, Counter[str]]:
    """Permits per second of so many, and how many each of them gave."""
    stage.empty()
    names = symbols(PLANS, head)
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(
                served(stage, "governor", place + 1, (*_SETS, f"governor.name=g{place}"))
            )
            for place in range(count)
        ]
        # The stream is filled while they sleep: what is measured is theirs alone.
        for each in running:
            each.pause()
        queue(stage, names, GROUP, keep=True)
        clock.sleep(PACE_SEC)
        begun = clock.monotonic()
        took = _until_permitted(stage, running, begun)
    return PLANS / took, _shares(stage, names)


def _until_permitted(stage: Stage, running: list[Served], begun: float) -> float:
    store = stage.store()
    for each in running:
        each.go_on()
    while store.run("ZCARD", store.keys.permits) < PLANS:
        if clock.monotonic() - begun > WAIT_SEC:
            raise QtctlError(f"{len(running)} governors did not permit {PLANS:,} plans in time")
        clock.sleep(0.005)
    took = clock.monotonic() - begun
    store.close()
    return took


def _shares(stage: Stage, names: list[str]) -> Counter[str]:
    """By whom each plan was permitted. One event for each: none was decided twice."""
    store = stage.store()
    events = Counter(
        pairs(raw)["plan_id"] for _, raw in store.reply(("XRANGE", store.keys.events, "-", "+"))
    )
    assert max(events.values()) == 1, "no plan was decided twice"
    found = store.batch(
        [("HMGET", store.keys.at(DECISION, f"plan-{name}"), "instance", "verdict")
         for name in names]
    )  # fmt: skip
    assert all(verdict == b"permitted" for _, verdict in found), "each plan has its permit"
    store.close()
    return Counter(text(instance) for instance, _ in found)
