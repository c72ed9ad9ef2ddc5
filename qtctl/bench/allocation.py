"""One pass of the allocation loop beside its bare Redis floor."""

import statistics
from collections.abc import Callable, Iterator, Sequence

from qtctl import clock
from qtctl.bench.figures import Figure, compared
from qtctl.bench.market import CHANGE_PASSES
from qtctl.bench.recording import Floor, recording
from qtctl.bench.stage import (
    FOREIGN,
    PACE_SEC,
    Stage,
    connect,
    put_scores,
    put_targets,
    stage,
    symbols,
)
from qtctl.services.allocation import AllocationLoop
from qtctl.settings import Allocation
from qtctl.wire.allocation.symbols import SPREAD
from qtctl.wire.client.store import Store

SMALL, LARGE = 10_000, 100_000
FOREIGN_KEYS = 1_000_000
FOREIGN_PASSES = 10
MANY_ROUNDS = 15


def measure(on: Stage, rounds: int) -> Iterator[Figure]:
    """The figures of the allocation loop, as they come."""
    names = symbols(LARGE)
    put_targets(on.store, names[:SMALL])
    loop = opened(on.url)
    commands = _commands(on)
    floor = Floor(on.url, commands)
    floors, passes = [], []
    for place in range(rounds):
        put_scores(on.store, names[place % CHANGE_PASSES : SMALL : CHANGE_PASSES], place)
        floors.append(_paced(floor.run))
        passes.append(paced_pass(loop))
    floor.close()
    yield compared("allocation", "10,000 symbols, beside the bare Redis floor", passes, floors, 1.5,
                   note=f"{len(commands):,} commands")  # fmt: skip

    def grow(place: Store) -> None:
        put_targets(place, names[SMALL:])

    large: list[float] = []
    few, many = _compared(on, loop, names[:SMALL], grow, max(rounds, MANY_ROUNDS), large)
    # The floor grows by more than the number of symbols: so many keys fit into no cache.
    pairs = ((many, few), (large, floors))
    grown, by = (statistics.median(one) / statistics.median(other) for one, other in pairs)
    yield compared(
        "allocation", "100,000 symbols, beside the bare Redis floor", many, large, 1.5,
        note=f"{grown:.2f} × that of 10,000; the floor is {by:.2f} × its own",
    )  # fmt: skip
    if not on.private:
        # Afresh: the server is still reorganizing a keyspace that has just shrunk.
        on.empty()
        put_targets(on.store, names[:SMALL])
        loop = opened(on.url)
    alone, crowded = _compared(on, loop, names[:SMALL], _crowd, FOREIGN_PASSES)
    yield compared("allocation", "1,000,000 foreign keys, beside none", crowded, alone, 1.05)
    loop.close()


def _compared(
    on: Stage,
    loop: AllocationLoop,
    names: Sequence[str],
    change: Callable[[Store], None],
    rounds: int,
    floors: list[float] | None = None,
) -> tuple[list[float], list[float]]:
    """Passes over these symbols as they are, and after a change, in ms: in turns on two servers,
    so that other load slows both; on a named server one after the other. floors: takes in the bare
    Redis floor after the change, in turns with the passes."""
    if not on.private:
        before = [paced_pass(loop) for _ in range(rounds)]
        change(on.store)
        _settle(loop)
        return before, _in_turns(on, loop, rounds, floors, lambda: None)
    before = []
    with stage(None) as other:
        put_targets(other.store, names)
        change(other.store)
        changed = opened(other.url)
        _settle(changed)
        after = _in_turns(
            other, changed, rounds, floors, lambda: before.append(paced_pass(loop))
        )  # fmt: skip
        changed.close()
    return before, after


def _in_turns(
    on: Stage,
    loop: AllocationLoop,
    rounds: int,
    floors: list[float] | None,
    other: Callable[[], None],
) -> list[float]:
    """Passes, in turns with the other one and with their floor where that is wanted."""
    floor = None if floors is None else Floor(on.url, _commands(on))
    took = []
    for _ in range(rounds):
        other()
        took.append(paced_pass(loop))
        if floor is not None and floors is not None:
            floors.append(_paced(floor.run))
    if floor is not None:
        floor.close()
    return took


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
        # The floor is what the proposals cost; `publishing` has what the pass's publication does.
        loop = opened(recorder.url, publish=False)
        recorder.commands.clear()
        _pass(loop)
        commands = list(recorder.commands)
        loop.close()
    return commands


def opened(url: str, *, publish: bool = True) -> AllocationLoop:
    """A loop that has made its first pass."""
    loop = AllocationLoop(connect(url), Allocation(name="bench"), publish=publish)
    loop.open()
    _pass(loop)
    return loop


def _pass(loop: AllocationLoop) -> float:
    begun = clock.monotonic()
    loop.step()
    return clock.monotonic() - begun


def _paced(run: Callable[[], float]) -> float:
    """Milliseconds, after a pause."""
    clock.sleep(PACE_SEC)
    return run() * 1000


def paced_pass(loop: AllocationLoop) -> float:
    """Milliseconds of a pass, after a pause."""
    return _paced(lambda: _pass(loop))
