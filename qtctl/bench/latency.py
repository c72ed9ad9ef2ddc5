"""From a plan on the stream to its permit, beside a PING by the same client to the same server.

The permit is seen by its event, which the same atomic step writes: a reader waits for it in XREAD.
"""

from collections.abc import Iterator

from qtctl import clock
from qtctl.bench.figures import Figure, compared, percentile, spread
from qtctl.bench.services import served
from qtctl.bench.stage import Stage, plan, put_targets, score, symbols
from qtctl.wire.schema.records import pairs, text

RATE = 100
SECONDS = 5
SYMBOLS = 10_000
BUSY = ("allocation.interval_sec=1",)


def measure(stage: Stage, rounds: int) -> Iterator[Figure]:
    """The figures of latency; a round is five seconds of 100 plans a second."""
    halves: dict[str, list[float]] = {"p50": [], "p99": [], "ping": []}
    with served(stage, "governor", 1):
        plans(stage, "warm", RATE)
        for place in range(rounds):
            halves["ping"].append(percentile(_pings(stage), 50))
            took = plans(stage, f"r{place}", RATE * SECONDS)
            halves["p50"].append(percentile(took, 50))
            halves["p99"].append(percentile(took, 99))
    for name, most in (("p50", 6.0), ("p99", 15.0)):
        what = f"plan to permit at {RATE} a second, {name}, beside PING"
        yield compared("latency", what, halves[name], halves["ping"], most)
    stage.empty()
    put_targets(stage.store, symbols(SYMBOLS))
    worst = []
    with served(stage, "all", 2, BUSY):
        plans(stage, "warm", RATE)
        for place in range(rounds):
            worst.append(percentile(plans(stage, f"b{place}", RATE * SECONDS), 99))
    busy = spread(worst)
    yield Figure("latency", "the same beside 10,000 symbols in one process, p99", busy.median, 100,
                 unit="ms", measured=busy, note="a pass each second")  # fmt: skip


def _pings(stage: Stage) -> list[float]:
    """Round trips in ms, at the same pace."""
    took = []
    for _ in range(RATE):
        clock.sleep(1 / RATE)
        begun = clock.monotonic()
        stage.store.run("PING")
        took.append((clock.monotonic() - begun) * 1000)
    return took


def plans(stage: Stage, head: str, count: int) -> list[float]:
    """Milliseconds from XADD to the event of the permit, plan by plan."""
    store = stage.store
    events = store.keys.events
    names = symbols(count, head)
    now = store.now_ms() // 1000
    store.batch([score(store, name, "0.2", now) for name in names])
    last = store.run("XREVRANGE", events, "+", "-", "COUNT", 1)
    at = text(last[0][0]) if last else "0-0"
    took: list[float] = []
    next_at = clock.monotonic()
    for name in names:
        next_at += 1 / RATE
        clock.sleep(max(0.0, next_at - clock.monotonic()))
        begun = clock.monotonic()
        store.run(*plan(store, name, store.now_ms() // 1000))
        ((_, entries),) = store.run("XREAD", "BLOCK", 10_000, "STREAMS", events, at)
        took.append((clock.monotonic() - begun) * 1000)
        at = text(entries[-1][0])
        assert pairs(entries[-1][1])["event"] == "permitted"
    return took
