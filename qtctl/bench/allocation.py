"""One pass of the allocation loop beside its bare Redis floor and beside a naive loop."""

import statistics
from collections.abc import Callable, Iterator, Sequence

from qtctl import clock
from qtctl.bench import naive
from qtctl.bench.figures import Figure, ratio, spread
from qtctl.bench.recording import Floor, recording
from qtctl.bench.stage import FOREIGN, PACE_SEC, Stage, connect, put_targets, stage, symbols
from qtctl.services.allocation import AllocationLoop
from qtctl.settings import Allocation
from qtctl.wire.allocation.symbols import SPREAD
from qtctl.wire.client.store import Store

SMALL, LARGE = 10_000, 100_000
NAIVE_SYMBOLS = 2_000
FOREIGN_KEYS = 1_000_000
FOREIGN_PASSES = 10
MANY_ROUNDS = 15


def measure(on: Stage, rounds: int) -> Iterator[Figure]:
    """The figures of the allocation loop, as they come."""
    names = symbols(LARGE)
    put_targets(on.store, names[:SMALL])
    loop = _loop(on.url)
    commands = _commands(on)
    floor = Floor(on.url, commands)
    floors, passes, naives = [], [], []
    for _ in range(rounds):
        floors.append(_paced(floor.run) * 1000)
        passes.append(_paced(lambda: _pass(loop)) * 1000)
        took = naive.allocation(on.url, names[:NAIVE_SYMBOLS])
        naives.append(took * SMALL / NAIVE_SYMBOLS * 1000)
    floor.close()
    small = spread(passes)
    yield Figure("allocation", "10,000 symbols, beside the bare Redis floor",
                 ratio(passes, floors), 2.5, measured=small, beside=spread(floors),
                 note=f"{len(commands):,} commands")  # fmt: skip
    yield Figure("allocation", "10,000 symbols, naive beside ours",
                 ratio(naives, passes), 12, at_least=True, measured=small, beside=spread(naives),
                 note=f"naive: {NAIVE_SYMBOLS:,}, × {SMALL // NAIVE_SYMBOLS}")  # fmt: skip

    def grow(place: Store) -> None:
        put_targets(place, names[SMALL:])

    few, many = _compared(on, loop, names[:SMALL], grow, max(rounds, MANY_ROUNDS))
    yield Figure("allocation", "100,000 symbols, beside 10,000", ratio(many, few), 11,
                 measured=spread(many), beside=spread(few))  # fmt: skip
    if not on.private:
        # Afresh: the server is still reorganizing a keyspace that has just shrunk.
        on.empty()
        put_targets(on.store, names[:SMALL])
        loop = _loop(on.url)
    alone, crowded = _compared(on, loop, names[:SMALL], _crowd, FOREIGN_PASSES)
    yield Figure("allocation", "1,000,000 foreign keys, beside none",
                 statistics.fmean(crowded) / statistics.fmean(alone), 1.5,
                 measured=spread(crowded), beside=spread(alone),
                 note=f"means of {FOREIGN_PASSES} passes")  # fmt: skip
    loop.close()


def _compared(
    on: Stage,
    loop: AllocationLoop,
    names: Sequence[str],
    change: Callable[[Store], None],
    rounds: int,
) -> tuple[list[float], list[float]]:
    """Passes over these symbols as they are, and after a change, in ms.

    In turns, on a second server: other load on the machine slows both. On a named server, first all
    of the one, then all of the other.
    """
    if not on.private:
        before = [_paced(lambda: _pass(loop)) * 1000 for _ in range(rounds)]
        change(on.store)
        _settle(loop)
        return before, [_paced(lambda: _pass(loop)) * 1000 for _ in range(rounds)]
    before, after = [], []
    with stage(None) as other:
        put_targets(other.store, names)
        change(other.store)
        changed = _loop(other.url)
        _settle(changed)
        for _ in range(rounds):
            before.append(_paced(lambda: _pass(loop)) * 1000)
            after.append(_paced(lambda: _pass(changed)) * 1000)
        changed.close()
    return before, after


def _settle(loop: AllocationLoop) -> None:
    """In a large keyspace symbols are found over several passes."""
    for _ in range(SPREAD + 1):
        _pass(loop)


def _crowd(store: Store) -> None:
    """A million foreign keys."""
    for start in range(0, FOREIGN_KEYS, 50_000):
        store.batch([("SET", f"{FOREIGN}{number}", 1) for number in range(start, start + 50_000)])


def _commands(on: Stage) -> list[bytes]:
    """What one pass sends."""
    with recording(on.directory, on.url) as recorder:
        loop = _loop(recorder.url)
        recorder.commands.clear()
        _pass(loop)
        commands = list(recorder.commands)
        loop.close()
    return commands


def _loop(url: str) -> AllocationLoop:
    loop = AllocationLoop(connect(url), Allocation(name="bench"))
    loop.open()
    _pass(loop)
    return loop


def _pass(loop: AllocationLoop) -> float:
    begun = clock.monotonic()
    loop.step()
    return clock.monotonic() - begun


def _paced(run: Callable[[], float]) -> float:
    clock.sleep(PACE_SEC)
    return run()
