"""The history: what it takes on the disk, how fast it is written and read, and in how much memory.

Each figure comes from a process of its own, on files in a temporary folder; no Redis is involved.
"""

import resource
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from qtctl import clock
from qtctl.bench.figures import Figure
from qtctl.bench.market import CHANGE_PASSES, START_MS, Market, decisions
from qtctl.history.folder import size_of
from qtctl.history.ids import DAY_MS
from qtctl.history.reader import History
from qtctl.history.rows import Batch
from qtctl.history.store import Store

T = TypeVar("T")
SYMBOLS = 500
PASSES = 2_160
"""6 h of them: they are alike, and 48 h take eight times as much."""
IN_48_H = 8
DECISIONS = 100_000
_BATCH = 1_000
_LATER_MS = START_MS + 9 * DAY_MS


class Took(msgspec.Struct):
    """How long something took, adding up: by the clock, and of a processor."""

    clock_sec: float = 0.0
    processor_sec: float = 0.0

    @contextmanager
    def more(self) -> Iterator[None]:
        """Adds what is within."""
        began, worked = clock.monotonic(), _processor_sec()
        yield
        self.clock_sec += clock.monotonic() - began
        self.processor_sec += _processor_sec() - worked


class Measured(msgspec.Struct, frozen=True):
    """What one process found. memory_mb: the most that it held; write and read are without the
    making of the rows."""

    rows: int
    bytes: int
    write: Took
    read: Took
    memory_mb: float


def measure(rounds: int) -> Iterator[Figure]:
    """The figures of the history; one round is enough."""
    usual = _apart(_passes, PASSES, CHANGE_PASSES, False)
    every = _apart(_passes, PASSES, 1, False)
    exact = _apart(_passes, PASSES, CHANGE_PASSES, True)
    taken = _apart(_decisions, DECISIONS)
    hours = f"48 h of {SYMBOLS} symbols"
    more = f"6 h, scaled; {exact.bytes * IN_48_H / 1e6:.1f} MB with scores of 17 digits"
    yield _size(f"{hours}, each changing every 60 s", usual.bytes * IN_48_H, 40, more)
    yield _size(f"{hours}, every value in each pass", every.bytes * IN_48_H, 200, "6 h, scaled")
    yield _size("10 million decisions", taken.bytes / taken.rows * 1e7, 2_200,
                f"{taken.rows:,} of them, scaled")  # fmt: skip
    yield _rate("decisions taken in", taken.rows, taken.write, 30_000)
    yield _rate("decisions read", taken.rows, taken.read, 200_000)
    yield _rate("proposals read, each changing every 60 s", usual.rows, usual.read, 500_000)
    yield _rate("proposals read, every value in each pass", every.rows, every.read, 500_000)
    most = max(each.memory_mb for each in (usual, every, exact, taken))
    yield Figure("history", "memory of a process that writes and reads", most, 60, unit="MB")


def _size(what: str, bytes_: float, target: float, note: str = "") -> Figure:
    return Figure("history", what, bytes_ / 1e6, target, unit="MB", note=note)


def _rate(what: str, rows: int, took: Took, target: float) -> Figure:
    """By the time of a processor, which other load on the machine takes from the clock's."""
    note = f"{rows / took.clock_sec:,.0f} /s by the clock"
    value = rows / took.processor_sec
    return Figure("history", what, value, target, unit="/s", at_least=True, note=note)


def _apart(task: Callable[..., Measured], *given: Any) -> Measured:
    """The result of a process of its own, whose memory nothing else has grown."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(task, *given).result()


def _passes(count: int, every: int, digits: bool) -> Measured:
    market = Market(SYMBOLS, digits=digits)

    def read(history: History) -> int:
        rows = changed = 0
        for each in history.passes():
            rows += len(each.value.columns)
            changed += len(each.changed)
        return rows

    return _measured(market.passes(count, every), 20, _of_passes, read)


def _of_passes(entries: list[Any]) -> Batch:
    return Batch(cursors={"passes": entries[-1].id}, passes=entries)


def _decisions(count: int) -> Measured:
    def read(history: History) -> int:
        rows = downsized = 0
        for each in history.decisions():
            rows += 1
            downsized += each.verdict == "permitted" and each.factor != 1.0
        return rows

    return _measured(decisions(count), _BATCH, _of_decisions, read)


def _of_decisions(entries: list[Any]) -> Batch:
    return Batch(cursors={"decisions": entries[-1].id}, decisions=entries)


def _measured(
    entries: Iterable[T],
    size: int,
    batch: Callable[[list[T]], Batch],
    read: Callable[[History], int],
) -> Measured:
    write, reading = Took(), Took()
    with tempfile.TemporaryDirectory(prefix="qtctl-bench-") as name:
        folder, rest = Path(name), iter(entries)
        with Store(folder, synthetic=True) as store:
            while part := list(islice(rest, size)):
                with write.more():
                    store.write(batch(part))
            store.seal(_LATER_MS, _LATER_MS)
        with reading.more():
            rows = read(History(folder))
        memory_mb = _most_memory_mb()
        return Measured(rows, size_of(folder), write, reading, memory_mb)


def _most_memory_mb() -> float:
    """The most that this program held; not what getrusage says, which counts the one that forked
    it as well."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _processor_sec() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
