"""Permits per second beside the bare Redis floor."""

from collections.abc import Iterator, Sequence

from qtctl import clock
from qtctl.bench.figures import Figure, compared, side
from qtctl.bench.recording import Floor, recording
from qtctl.bench.stage import PACE_SEC, Stage, connect, plan, score, symbols
from qtctl.services.governor import Governor
from qtctl.settings import Governor as Settings
from qtctl.wire.schema.keys import GROUP
from qtctl.wire.schema.records import text

PLANS = 5_000
NO_LIMIT = 1_000_000_000


def measure(stage: Stage, rounds: int) -> Iterator[Figure]:
    """The figures of the governor, as they come: every gate on, every plan gets its permit."""
    ours, floors = [], []
    for place in range(rounds):
        took, floor = _round(stage, f"R{place}x")
        ours.append(took / PLANS * 1e6)
        floors.append(floor / PLANS * 1e6)
    mine, beside = side(ours), side(floors)
    yield compared("governor", "permits, beside the bare Redis floor", ours, floors, 3,
                   measured_unit="µs each",
                   note=f"{1e6 / mine.median:,.0f} permits a second, floor "
                   f"{1e6 / beside.median:,.0f}")  # fmt: skip


def _round(stage: Stage, head: str) -> tuple[float, float]:
    """Seconds for the governor, and for its commands alone, on the same plans."""
    names = symbols(PLANS, head)
    entries = queue(stage, names, GROUP)
    with recording(stage.directory, stage.url) as recorder:
        # The floor is what the verdicts cost; `publishing` has what their publication does.
        serve(recorder.url, publish=False)
    commands = list(recorder.commands)
    assert _permits(stage) == PLANS, "each plan has a permit"
    queue(stage, names, GROUP, entries)
    floor = Floor(stage.url, commands)
    clock.sleep(PACE_SEC)
    wire = floor.run()
    floor.close()
    assert _permits(stage) == PLANS, "the floor did the same work"
    queue(stage, names, GROUP)
    clock.sleep(PACE_SEC)
    took = serve(stage.url)
    assert _permits(stage) == PLANS
    return took, wire


def serve(url: str, *, publish: bool = True) -> float:
    """Seconds in which a governor judges all that is queued."""
    settings = Settings(
        name="bench", max_queue_age_sec=3600, max_plan_age_sec=3600,
        max_opens_per_5min_total=NO_LIMIT,
    )  # fmt: skip
    governor = Governor(connect(url), settings, allow_eviction=False, publish=publish)
    governor.open()
    begun = clock.monotonic()
    governor.once()
    took = clock.monotonic() - begun
    governor.close()
    return took


def queue(
    stage: Stage,
    names: Sequence[str],
    group: str,
    entries: Sequence[str] = (),
    *,
    keep: bool = False,
) -> list[str]:
    """A plan and a score for each symbol, on an empty server unless `keep`; ids of the entries."""
    store = stage.store
    if not keep:
        stage.empty()
        store.run("XGROUP", "CREATE", store.keys.plans, group, "0", "MKSTREAM")
    now = store.now_ms() // 1000
    store.batch([score(store, name, "0.2", now) for name in names])
    ids = zip(names, entries or ["*"] * len(names), strict=True)
    return [text(each) for each in store.batch([plan(store, name, now, id_) for name, id_ in ids])]


def _permits(stage: Stage) -> int:
    count: int = stage.store.run("ZCARD", stage.store.keys.permits)
    return count
