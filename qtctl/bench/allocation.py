"""One pass of the allocation loop beside its wire floor and beside a naive loop."""

from collections.abc import Callable, Iterator

from qtctl import clock
from qtctl.bench import naive
from qtctl.bench.figures import Figure, spread
from qtctl.bench.recording import Floor, recording
from qtctl.bench.stage import FOREIGN, PACE_SEC, Stage, put_targets, symbols
from qtctl.services.allocation import AllocationLoop
from qtctl.settings import Allocation
from qtctl.wire.keys import Keys
from qtctl.wire.store import Store

SMALL, LARGE = 10_000, 100_000
NAIVE_SYMBOLS = 2_000
FOREIGN_KEYS = 1_000_000
FOREIGN_PASSES = 10


def measure(stage: Stage, rounds: int) -> Iterator[Figure]:
    """The figures of the allocation loop, as they come."""
    store = stage.store()
    names = symbols(LARGE)
    put_targets(store, names[:SMALL])
    loop = _loop(stage.url)
    commands = _commands(stage)
    floor = Floor(stage.url, commands)
    floors, passes, naives = [], [], []
    for _ in range(rounds):
        floors.append(_paced(floor.run) * 1000)
        passes.append(_paced(lambda: _pass(loop)) * 1000)
    for _ in range(min(rounds, 3)):
        took = naive.allocation(stage.url, names[:NAIVE_SYMBOLS])
        naives.append(took * SMALL / NAIVE_SYMBOLS * 1000)
    floor.close()
    small, beside, plain = spread(passes), spread(floors), spread(naives)
    yield Figure("allocation", "10,000 symbols, beside the wire floor",
                 small.median / beside.median, 2.5, measured=small, beside=beside,
                 note=f"{len(commands):,} commands")  # fmt: skip
    yield Figure("allocation", "10,000 symbols, naive beside ours",
                 plain.median / small.median, 12, at_least=True, measured=small, beside=plain,
                 note=f"naive: {NAIVE_SYMBOLS:,}, × {SMALL // NAIVE_SYMBOLS}")  # fmt: skip
    put_targets(store, names[SMALL:])
    while loop.step(clock.now()) < LARGE:
        pass  # They are found over several passes.
    passes = [_paced(lambda: _pass(loop)) * 1000 for _ in range(max(3, rounds // 2))]
    large = spread(passes)
    yield Figure("allocation", "100,000 symbols, beside 10,000", large.median / small.median, 11,
                 measured=large, beside=small)  # fmt: skip
    loop.close()
    # Afresh: a keyspace that has just shrunk is still being put in order by the server.
    stage.empty()
    put_targets(store, names[:SMALL])
    loop = _loop(stage.url)
    yield _foreign(stage, store, loop)
    loop.close()
    store.close()


def _foreign(stage: Stage, store: Store, loop: AllocationLoop) -> Figure:
    """The same pass without and with a million keys of others in the keyspace."""
    without = spread([_paced(lambda: _pass(loop)) * 1000 for _ in range(FOREIGN_PASSES)])
    for start in range(0, FOREIGN_KEYS, 50_000):
        store.batch([("SET", f"{FOREIGN}{number}", 1) for number in range(start, start + 50_000)])
    _pass(loop)
    took = [_paced(lambda: _pass(loop)) * 1000 for _ in range(FOREIGN_PASSES)]
    found = spread(took)
    if stage.private:
        for start in range(0, FOREIGN_KEYS, 50_000):
            keys = [f"{FOREIGN}{number}" for number in range(start, start + 50_000)]
            store.batch([("UNLINK", *keys[at : at + 1_000]) for at in range(0, len(keys), 1_000)])
    mean = sum(took) / len(took)
    return Figure("allocation", "1,000,000 foreign keys, beside none", mean / without.median, 1.5,
                  measured=found, beside=without, note=f"{FOREIGN_PASSES} passes")  # fmt: skip


def _commands(stage: Stage) -> list[bytes]:
    """What one pass sends."""
    with recording(stage.directory, stage.url) as recorder:
        loop = _loop(recorder.url)
        recorder.commands.clear()
        _pass(loop)
        commands = list(recorder.commands)
        loop.close()
    return commands


def _loop(url: str) -> AllocationLoop:
    loop = AllocationLoop(Store(url, Keys(), timeout_sec=60.0), Allocation(name="bench"))
    loop.open(clock.now())
    _pass(loop)
    return loop


def _pass(loop: AllocationLoop) -> float:
    begun = clock.monotonic()
    loop.step(clock.now())
    return clock.monotonic() - begun


def _paced(run: Callable[[], float]) -> float:
    clock.sleep(PACE_SEC)
    return run()
