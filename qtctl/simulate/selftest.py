"""The selftest of readiness: a clean synthetic history passes every gate, and each fault that is
planted in it fails exactly its own.

Faults are planted while the passes are read, in one symbol, and what follows from them (reason,
multiplier) is made by the domain's own code; only a broken seal needs a copy with a changed file.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from qtctl.domain import numbers
from qtctl.domain.allocation import AllocationRules, multiplier
from qtctl.domain.passes import COLUMNS, Columns
from qtctl.domain.readings import assess
from qtctl.evidence import policy as policies
from qtctl.evidence import readiness
from qtctl.history import folder as folders
from qtctl.history.day_reader import PassRead
from qtctl.history.reader import History
from qtctl.history.rows import Gap
from qtctl.settings.model import Settings
from qtctl.simulate.history_maker import HistoryMaker, Wanted, window

HOURS, SYMBOLS, SEED = 4.0, 12, 3
END_MS = 1_769_565_600_000
"""Two hours after a midnight, so that a day is sealed."""
GAP = (600, 720)
"""The passes that the fault `gap` leaves out: 20 min."""
STEP = 700
"""Where most faults begin, or happen."""
_RAMP = (0.85, 0.7, 0.6)
"""Multipliers on the way to a clamp, no step of which is too large."""

Change = Callable[[int, dict[str, str], float], None]
"""Changes a row, by column; the number of its pass and the pass's time in seconds."""


class Result(msgspec.Struct, frozen=True):
    """What became of a fault. expected: the gate that it must fail, "" for none; failed: those that
    it did."""

    fault: str
    expected: str
    failed: list[str]

    @property
    def right(self) -> bool:
        """True where it failed exactly that."""
        return self.failed == ([self.expected] if self.expected else [])


class Planted(History):
    """A history in which one symbol's rows are changed as they are read."""

    def __init__(self, folder: Path, change: Change | None, gap: tuple[int, int] = (0, 0)) -> None:
        super().__init__(folder)
        self._change, self._gap = change, gap
        self._lost: list[Gap] = []

    def passes(
        self, since_ms: int | None = None, until_ms: int | None = None
    ) -> Iterator[PassRead]:
        """The passes with the fault in them."""
        rules, symbol = AllocationRules(), ""
        for number, read in enumerate(super().passes(since_ms, until_ms)):
            symbol = symbol or _smallest(read.value.columns)
            if self._gap[0] <= number < self._gap[1]:
                continue
            changed = self._change
            yield read if changed is None else _changed(read, number, symbol, changed, rules)

    def gaps(self, since_ms: int | None = None, until_ms: int | None = None) -> list[Gap]:
        """The gaps, and the one that was planted."""
        low, high = self._gap
        if low == high:
            return super().gaps(since_ms, until_ms)
        start = END_MS - int(HOURS * 3_600_000)
        begin, end = start + (low - 1) * 10_000, start + high * 10_000
        return [Gap("trimmed", begin, end, "", high - low, "planted", end)]


def _smallest(columns: Columns) -> str:
    """The symbol with the least target, which hardly moves gross exposure."""
    return min(zip(map(float, columns.target_usd), columns.symbol, strict=True))[1]


def _changed(
    read: PassRead, number: int, symbol: str, change: Change, rules: AllocationRules
) -> PassRead:
    columns, now = read.value.columns, read.value.ts_ms / 1000
    values = {name: list(getattr(columns, name)) for name in COLUMNS}
    place = columns.symbol.index(symbol)
    row = {name: values[name][place] for name in COLUMNS}
    change(number, row, now)
    for name in COLUMNS:
        values[name][place] = row[name]
    changed = Columns(**values)
    efficiency = assess(changed.efficiency(place), now, rules.stale_sec, rules.min_conf)
    changed.reason[place] = efficiency.reason.value
    changed.multiplier[place] = numbers.four(multiplier(efficiency, rules))
    value = msgspec.structs.replace(read.value, columns=changed)
    return msgspec.structs.replace(read, value=value, changed=range(len(columns)))


def _score(row: dict[str, str], wanted: float, now: float) -> None:
    """A fresh score that gives this multiplier."""
    row |= {"score": f"{wanted - 0.5:.6f}", "score_ts": str(int(now)), "score_timestamp": ""}


def _flat(number: int, row: dict[str, str], now: float) -> None:
    _score(row, 1.0, now)


def _oscillating(number: int, row: dict[str, str], now: float) -> None:
    _score(row, 1.06 if number // 6 % 2 else 0.94, now)


def _stale(number: int, row: dict[str, str], now: float) -> None:
    if number % 150 < 6:  # 4 % of the time: stale too often, ok often enough.
        row |= {"score_ts": str(int(now - 700)), "score_timestamp": ""}


def _step(number: int, row: dict[str, str], now: float) -> None:
    if STEP <= number < STEP + 12:
        _score(row, 0.85 if number < STEP + 6 else 1.15, now)


def _clamped(number: int, row: dict[str, str], now: float) -> None:
    end = STEP + 300
    ramp = {STEP + at: each for at, each in enumerate(_RAMP)}
    ramp |= {end - 1 - at: each for at, each in enumerate(_RAMP)}
    if STEP <= number < end:
        _score(row, ramp.get(number, 0.5), now)


class _Compounding:
    """Writes what was proposed into the target, five passes long."""

    def __init__(self) -> None:
        self._usd = 0.0

    def __call__(self, number: int, row: dict[str, str], now: float) -> None:
        if not STEP <= number < STEP + 6:
            return
        if number > STEP:
            row["target_usd"] = numbers.usd(self._usd)
        _score(row, 1.03, now)
        self._usd = float(row["target_usd"]) * 1.03


FAULTS: dict[str, tuple[str, Change | None]] = {
    "clean": ("", None),
    "gap": ("gap", None),
    "flat scores": ("span", _flat),
    "oscillation": ("flips", _oscillating),
    "stale share": ("stale", _stale),
    "compounding": ("written_back", _Compounding()),
    "a step too large": ("step", _step),
    "a clamp": ("clamps", _clamped),
    "broken seal": ("chain", None),
}
"""Each fault, the gate that it must fail, and what plants it."""


def run(folder: Path) -> Iterator[Result]:
    """Plants each fault in turn, in an empty folder, and says which gates failed."""
    start_ms, end_ms = window(END_MS, HOURS)
    wanted = Wanted(seed=SEED, symbols=SYMBOLS, start_ms=start_ms, end_ms=end_ms)
    clean = folder / "clean"
    HistoryMaker(wanted, Settings()).write(clean)
    policy = policies.load(None)
    # So short a history moves little; all other limits are those that count.
    limits = {"window": HOURS, "span": 0.005}
    policy = msgspec.structs.replace(policy, gates=policy.gates | limits)
    for fault, (expected, change) in FAULTS.items():
        where = _broken_seal(clean, folder / "broken") if fault == "broken seal" else clean
        history = Planted(where, change, GAP if fault == "gap" else (0, 0))
        found = readiness.assess(history, policy)
        yield Result(fault, expected, [each.gate for each in found.gates if each.passed is False])


def _broken_seal(clean: Path, folder: Path) -> Path:
    """A copy whose sealed day has one word changed."""
    shutil.copytree(clean, folder)
    path = folders.day_path(folder, folders.days_in(folder)[0])
    path.chmod(0o640)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE servers SET detail = 'changed'")
        db.commit()
    return folder
