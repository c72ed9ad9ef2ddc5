"""The history: what it takes on the disk, how fast it is written and read beside a plain table of
SQLite with the same rows, and in how much memory.

Each set of rows has a process of its own, and files in a temporary folder; no Redis is involved.
"""

import resource
import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from qtctl import clock
from qtctl.bench.figures import Figure, compared, in_rounds
from qtctl.bench.market import CHANGE_PASSES, START_MS, Market, decisions
from qtctl.domain.passes import COLUMNS
from qtctl.history.folder import size_of
from qtctl.history.ids import DAY_MS
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Entry, PassEntry
from qtctl.history.store import Store
from qtctl.settings.model import Settings
from qtctl.simulate.history_maker import HistoryMaker, Wanted

T = TypeVar("T")
SYMBOLS = 500
PASSES = 2_160
"""6 h of them: they are alike, and 48 h take eight times as much."""
IN_48_H = 8
DECISIONS = 100_000
PLAIN_ROWS = 100_000
"""So many rows are in the plain table at most; what is compared is the cost of a row."""
SIMULATED_HOURS = 6
_BATCH = 1_000
_LATER_MS = START_MS + 9 * DAY_MS


class Took(msgspec.Struct):
    """How long something took, adding up: by the clock, and of a processor."""

    clock_sec: float = 0.0
    processor_sec: float = 0.0

    @contextmanager
    def more(self) -> Iterator[None]:
        """Adds the processor time of what runs within."""
        began, worked = clock.monotonic(), _processor_sec()
        yield
        self.clock_sec += clock.monotonic() - began
        self.processor_sec += _processor_sec() - worked


class Turn(msgspec.Struct):
    """A round of the history and of the plain table."""

    ours: Took = msgspec.field(default_factory=Took)
    plain: Took = msgspec.field(default_factory=Took)
    our_rows: int = 0
    plain_rows: int = 0


class Measured(msgspec.Struct, frozen=True):
    """What one process found. memory_mb: the most that it held; write and read, round by round, are
    without the making of the rows."""

    rows: int
    bytes: int
    write: list[Turn]
    read: list[Turn]
    memory_mb: float


def measure(rounds: int) -> Iterator[Figure]:
    """The figures of the history."""
    usual = apart(_passes, PASSES, CHANGE_PASSES, False, rounds)
    every = apart(_passes, PASSES, 1, False, rounds)
    exact = apart(_passes, PASSES, CHANGE_PASSES, True, 0)
    taken = apart(_decisions, DECISIONS, rounds)
    hours = f"48 h of {SYMBOLS} symbols"
    more = f"6 h, scaled; {exact.bytes * IN_48_H / 1e6:.1f} MB with scores of 17 digits"
    yield _size(f"{hours}, each changing every 60 s", usual.bytes * IN_48_H, 40, more)
    yield _size(f"{hours}, every value in each pass", every.bytes * IN_48_H, 200, "6 h, scaled")
    yield _size("10 million decisions", taken.bytes / taken.rows * 1e7, 2_200,
                f"{taken.rows:,} of them, scaled")  # fmt: skip
    yield from _rate("decisions taken in", taken.write, 0.2, 30_000)
    yield from _rate("decisions read", taken.read, 1, 200_000)
    yield from _rate("proposals read, each changing every 60 s", usual.read, 1.5, 500_000)
    yield from _rate("proposals read, every value in each pass", every.read, 0.8, 500_000)
    # In processes of their own, without the plain table and its rows.
    alone = (exact, apart(_passes, PASSES, 1, False, 0), apart(_decisions, DECISIONS, 0))
    most = max(each.memory_mb for each in alone)
    yield Figure("history", "memory of a process that writes and reads", most, 60, unit="MB")
    seconds = apart(_simulated, SIMULATED_HOURS) * 48 / SIMULATED_HOURS
    yield Figure("history", f"simulate history, {hours}", seconds, 60, unit="s",
                 note=f"{SIMULATED_HOURS} h, scaled; of a processor")  # fmt: skip


def _simulated(hours: int) -> float:
    """Seconds of a processor that so many hours take."""
    wanted = Wanted(seed=7, symbols=SYMBOLS, start_ms=START_MS, end_ms=START_MS + hours * 3_600_000)
    took = Took()
    with tempfile.TemporaryDirectory(prefix="qtctl-bench-") as name, took.more():
        HistoryMaker(wanted, Settings()).write(Path(name))
    return took.processor_sec


def _size(what: str, bytes_: float, target: float, note: str = "") -> Figure:
    return Figure("history", what, bytes_ / 1e6, target, unit="MB", note=note)


def _rate(what: str, turns: Sequence[Turn], times: float, per_sec: int) -> Iterator[Figure]:
    """Beside a plain table, and by itself; by the time of a processor, which other load on the
    machine takes from the clock's. times, per_sec: the least of each."""
    ours = [turn.ours.processor_sec / turn.our_rows * 1e6 for turn in turns]
    plain = [turn.plain.processor_sec / max(turn.plain_rows, 1) * 1e6 for turn in turns]
    by_clock = 1 / statistics.median(turn.ours.clock_sec / turn.our_rows for turn in turns)
    yield compared("history", f"{what}, beside a plain table", ours, plain, times,
                   times_as_fast=True, measured_unit="µs a row",
                   note=f"{by_clock:,.0f} /s by the clock")  # fmt: skip
    rates = [1e6 / usec for usec in ours]
    yield in_rounds("history", what, rates, per_sec, at_least=True, unit="/s")


def apart(task: Callable[..., T], *given: Any) -> T:
    """The result of a process of its own, whose memory nothing else has grown."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(task, *given).result()


def _passes(count: int, every: int, digits: bool, rounds: int) -> Measured:
    market = Market(SYMBOLS, digits=digits)

    def batch(entries: list[PassEntry]) -> Batch:
        return Batch(cursors={"passes": entries[-1].id}, passes=entries)

    def flat(entries: list[PassEntry]) -> Iterator[Sequence[str]]:
        for entry in entries:
            columns = [getattr(entry.value.columns, name) for name in COLUMNS]
            yield from zip([entry.id] * SYMBOLS, *columns, strict=True)

    def read(history: History) -> int:
        rows = changed = 0
        for each in history.passes():
            rows += len(each.value.columns)
            changed += len(each.changed)
        return rows

    return _measured(market.passes(count, every), 20, batch, flat, read, rounds)


def _decisions(count: int, rounds: int) -> Measured:
    def batch(entries: list[Entry]) -> Batch:
        return Batch(cursors={"decisions": entries[-1].id}, decisions=entries)

    def flat(entries: list[Entry]) -> Iterator[Sequence[str]]:
        for entry in entries:
            yield entry.id, *entry.fields.values()

    def read(history: History) -> int:
        rows = downsized = 0
        for each in history.decisions():
            rows += 1
            downsized += each.verdict == "permitted" and each.factor != 1.0
        return rows

    return _measured(decisions(count), _BATCH, batch, flat, read, rounds)


def _measured(
    entries: Iterable[T],
    size: int,
    batch: Callable[[list[T]], Batch],
    flat: Callable[[list[T]], Iterator[Sequence[str]]],
    read: Callable[[History], int],
    rounds: int,
) -> Measured:
    """Writes all in batches, each beside the same rows in the plain table, and reads it in rounds;
    rounds: 0 where only size and memory are wanted, of one reading and no plain table."""
    writes = [Turn() for _ in range(max(rounds, 1))]
    reads = [Turn() for _ in range(rounds)]
    with tempfile.TemporaryDirectory(prefix="qtctl-bench-") as name:
        folder, rest = Path(name) / "history", iter(entries)
        with Plain(Path(name) / "plain.db") as plain:
            with Store(folder, synthetic=True) as store:
                for number, part in enumerate(iter(lambda: list(islice(rest, size)), [])):
                    turn, found = writes[number % len(writes)], batch(part)
                    with turn.ours.more():
                        store.write(found)
                    rows = [*flat(part)] if rounds else []
                    turn.our_rows += max(len(rows), 1)
                    if rounds and plain.rows < PLAIN_ROWS:
                        with turn.plain.more():
                            plain.write(rows)
                        turn.plain_rows += len(rows)
                store.seal(_LATER_MS, _LATER_MS)
            if not rounds:
                read(History(folder))
            for turn in reads:
                with turn.ours.more():
                    turn.our_rows = read(History(folder))
                with turn.plain.more():
                    turn.plain_rows = plain.read()
        memory_mb = most_memory_mb()
        rows_written = sum(turn.our_rows for turn in writes)
        return Measured(rows_written, size_of(folder), writes, reads, memory_mb)


class Plain:
    """What anybody would write first: a table of text, a row for each entry, an index on the second
    column (a plan_id, a symbol), a transaction for each batch."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self.rows, self._insert = 0, ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def write(self, rows: Sequence[Sequence[str]]) -> None:
        """These rows, in one transaction."""
        if not self._insert:
            names = [f"c{number}" for number in range(len(rows[0]))]
            self._db.execute(f"CREATE TABLE plain ({', '.join(names)})")
            self._db.execute("CREATE INDEX by_second ON plain (c1)")
            self._insert = f"INSERT INTO plain VALUES ({', '.join('?' * len(names))})"
        self._db.execute("BEGIN")
        self._db.executemany(self._insert, rows)
        self._db.execute("COMMIT")
        self.rows += len(rows)

    def read(self) -> int:
        """All rows, one by one; how many."""
        return sum(1 for _ in self._db.execute("SELECT * FROM plain"))


def most_memory_mb() -> float:
    """The most that this program held; not what getrusage says, which counts the one that forked
    it as well."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _processor_sec() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
