"""From a plan on the stream to its permit, beside two consumers of the same plans (see `bare`): the
least that an atomic step can take, and a plain service. All three in turns, at the same paces, on
cores that are not the server's.
"""

import contextlib
from collections.abc import Iterator

from qtctl.bench.bare import Bare, running
from qtctl.bench.cores import server_apart, started_on
from qtctl.bench.figures import Figure, compared, percentile
from qtctl.bench.pace import events_on, paced
from qtctl.bench.services import served
from qtctl.bench.stage import Stage, put_targets, symbols
from qtctl.wire.client.store import Store

RATES = {20: 100, 100: 200, 1_000: 1_000}
"""Plans a second, and how many of them are a round."""
WARM = 50
RATE = 100
SECONDS = 2
CROWDED = 500
"""Plans in a round beside passes."""
SYMBOLS = 10_000
BUSY = ("allocation.interval_sec=1",)
MOST = {50: 1.35, 99: 2.0}
"""The targets beside the floor, by percentile; beside a plain service it is 1."""


def measure(stage: Stage, rounds: int) -> Iterator[Figure]:
    """The figures of latency."""
    yield from _beside(stage, rounds)
    stage.empty()
    yield _crowded(stage, rounds)


def _crowded(stage: Stage, rounds: int) -> Figure:
    """`serve all` with the recorder, as it is by default, whose loops share the process, beside a
    governor alone. They would share the plans, so each runs while it is measured."""
    put_targets(stage.store, symbols(SYMBOLS))
    took: dict[str, list[float]] = {"all": [], "governor": []}
    folder = stage.directory / "history"
    recorded = ("history.enabled=true", "history.metrics_port=0", f"history.dir={folder}")
    for place in range(rounds):
        for what, count in (("governor", 1), ("all", 3)):
            with served(stage, what, count, (*BUSY, *recorded)):
                plans(stage, f"w{what}{place}", WARM)
                found = plans(stage, f"b{what}{place}", CROWDED)
            took[what].append(percentile(found, 99))
    return compared(
        "latency", f"plan to permit at {RATE} a second beside 10,000 symbols in one process, p99, "
        "beside a governor alone", took["all"], took["governor"], 3,
        note="a pass each second, all of it recorded",
    )  # fmt: skip


def _beside(stage: Stage, rounds: int) -> Iterator[Figure]:
    took: dict[tuple[str, int, int], list[float]] = {}
    with events_on(stage), server_apart(stage) as cores, contextlib.ExitStack() as stack:
        with started_on(cores):
            floor = stack.enter_context(running(stage, "floor"))
            plain = stack.enter_context(running(stage, "plain"))
            stack.enter_context(served(stage, "governor", 1))
        lanes: dict[str, Bare | None] = {"floor": floor, "governor": None, "plain": plain}
        for place in range(-1, rounds):
            for rate, count in RATES.items():
                for name, bare in lanes.items():
                    head = f"{name}{place}x{rate}x"
                    found = _round(stage.store, bare, head, rate, WARM if place < 0 else count)
                    for percent in MOST if place >= 0 else ():
                        took.setdefault((name, rate, percent), []).append(
                            percentile(found, percent)
                        )
    for rate in RATES:
        for percent, most in MOST.items():
            ours = took["governor", rate, percent]
            beside = {"the bare step": ("floor", most), "a plain service": ("plain", 1.0)}
            for what, (name, target) in beside.items():
                yield compared(
                    "latency", f"plan to permit at {rate:,} a second, p{percent}, beside {what}",
                    ours, took[name, rate, percent], target,
                )  # fmt: skip


def _round(store: Store, bare: Bare | None, head: str, rate: float, count: int) -> list[float]:
    """Milliseconds, plan by plan; bare: who answers, None for the governor."""
    if bare is not None:
        bare.prepare(head, count)
        store = bare.store
    return [each.took_ms for each in paced(store, symbols(count, head), rate)]


def plans(stage: Stage, head: str, count: int) -> list[float]:
    """Milliseconds from each plan to its permit, at RATE."""
    with events_on(stage):
        return [each.took_ms for each in paced(stage.store, symbols(count, head), RATE)]
