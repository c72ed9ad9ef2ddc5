"""What it costs that passes and decisions are published for the history: with and without, in turns
in the same run ([history] publish)."""

from collections.abc import Iterator

from qtctl import clock
from qtctl.bench import governor, latency
from qtctl.bench.allocation import SMALL, opened, paced_pass
from qtctl.bench.figures import Figure, compared, percentile
from qtctl.bench.governor import PLANS
from qtctl.bench.services import served
from qtctl.bench.stage import PACE_SEC, Stage, symbols
from qtctl.simulate.live import LiveMarket
from qtctl.simulate.market import DAY_MS, Market
from qtctl.simulate.publishers import Publishers
from qtctl.wire.schema.keys import GROUP

WITHOUT = ("history.publish=false",)
WARM = 100
PASSES = 6
"""In each round: the machine's noise in one is larger than what publishing costs."""
SEED = 7


def measure(stage: Stage, rounds: int) -> Iterator[Figure]:
    """The figures, as they come."""
    yield _passes(stage, rounds)
    yield _permits(stage, rounds)
    yield from _latency(stage, rounds)


def _passes(stage: Stage, rounds: int) -> Figure:
    _put_market(stage)
    publishing, silent = opened(stage.url), opened(stage.url, publish=False)
    ours, beside = [], []
    for _ in range(PASSES * rounds):
        beside.append(paced_pass(silent))
        ours.append(paced_pass(publishing))
    publishing.close()
    silent.close()
    return compared("publishing", "a pass over 10,000 symbols, beside publish = false",
                    ours, beside, 1.10)  # fmt: skip


def _put_market(stage: Stage) -> None:
    """Targets and scores with the digits, times and formats of their producers: what all symbols
    have alike would cost nothing to compress."""
    now = stage.store.now_ms()
    market = Market(SEED, SMALL, now, now + DAY_MS)
    LiveMarket(
        stage.store, market, Publishers(SEED, market.names), start_ms=now, speed=1, take=0,
        force=False,
    ).begin()  # fmt: skip


def _permits(stage: Stage, rounds: int) -> Figure:
    """Microseconds each; the figure is of permits a second."""
    ours: list[float] = []
    beside: list[float] = []
    for place in range(2 * rounds):
        for publish, into in ((False, beside), (True, ours)):
            governor.queue(stage, symbols(PLANS, f"P{place}{publish:d}x"), GROUP)
            clock.sleep(PACE_SEC)
            into.append(governor.serve(stage.url, publish=publish) / PLANS * 1e6)
    return compared("publishing", "permits a second, beside publish = false", ours, beside, 0.87,
                    times_as_fast=True, measured_unit="µs each")  # fmt: skip


def _latency(stage: Stage, rounds: int) -> Iterator[Figure]:
    stage.empty()
    found: dict[bool, dict[int, list[float]]] = {
        publish: {50: [], 99: []} for publish in (True, False)
    }
    for place in range(rounds):
        for publish, into in found.items():
            with served(stage, "governor", 1, () if publish else WITHOUT):
                head = f"L{place}{publish:d}"
                latency.plans(stage, f"{head}w", WARM)
                took = latency.plans(stage, head, latency.RATE * latency.SECONDS)
            for percent, values in into.items():
                values.append(percentile(took, percent))
    for percent, most in ((50, 1.10), (99, 1.3)):
        what = f"plan to permit, p{percent}, beside publish = false"
        yield compared("publishing", what, found[True][percent], found[False][percent], most)
