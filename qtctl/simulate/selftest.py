"""The selftest of readiness: a clean synthetic history passes every gate, and each fault that is
planted in a copy of it fails exactly its own.

A fault is planted in the rows, what follows from it (reason, multiplier) is made by the domain's
own code, and the copy is written and sealed anew; a broken seal is planted behind the seal.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from qtctl.domain import numbers
from qtctl.domain.passes import COLUMNS, Columns
from qtctl.domain.reasons import Reason
from qtctl.evidence import policy as policies
from qtctl.evidence import readiness
from qtctl.evidence.readiness import Verdict
from qtctl.history import folder as folders
from qtctl.history.reader import History
from qtctl.history.rows import Document, Gap
from qtctl.settings.model import Settings
from qtctl.simulate import planting
from qtctl.simulate.history_maker import SETTLE_MS, HistoryMaker, Wanted, window
from qtctl.simulate.planting import Change, Rows

HOURS, SYMBOLS, PER_MINUTE, SEED = 4.0, 6, 3.0, 3
END_MS = 1_769_565_600_000
"""Two hours after a midnight, so that a day is sealed."""
GAP = (600, 720)
"""The passes that the fault `gap` leaves out: 20 min."""
STEP = 700
"""Where most faults begin, or happen."""
LONG_AGO_MS = 31 * 86_400_000
_RAMP = (0.85, 0.7, 0.6)
"""Multipliers on the way to a clamp, no step of which is too large."""


class Result(msgspec.Struct, frozen=True):
    """What became of a fault. expected: the gate that it must fail or, where the verdict is to be
    CAN'T TELL, leave unknown; "" for none. failed, unknown: the gates that it did."""

    fault: str
    expected: str
    verdict: Verdict
    failed: list[str]
    unknown: list[str]

    @property
    def right(self) -> bool:
        """True if it failed exactly that. What fails may leave other gates unknown: passes in a
        gap may have been made."""
        own = [self.expected] if self.expected else []
        if self.verdict == "NOT READY":
            return self.failed == own
        return not self.failed and self.unknown == own


class Fault(NamedTuple):
    """A fault. gate: the one that it must fail, or leave unknown; plant: changes the rows; damage:
    changes what was written and sealed; limits: other gates' limits for it."""

    gate: str
    plant: Callable[[Rows], None] = lambda rows: None
    verdict: Literal["READY", "NOT READY", "CAN'T TELL"] = "NOT READY"
    damage: Callable[[Path], None] = lambda folder: None
    limits: Mapping[str, float] = {}


# What a symbol's score is -------------------------------------------------------------------------


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


def _unsure(number: int, row: dict[str, str], now: float) -> None:
    if number % 50 < 6:  # 12 % of the time.
        row["confidence"] = "0.5"


def _step(number: int, row: dict[str, str], now: float) -> None:
    if STEP <= number < STEP + 12:
        _score(row, 0.85 if number < STEP + 6 else 1.15, now)


def _clamped(number: int, row: dict[str, str], now: float) -> None:
    end = STEP + 300
    ramp = {STEP + at: each for at, each in enumerate(_RAMP)}
    ramp |= {end - 1 - at: each for at, each in enumerate(_RAMP)}
    if STEP <= number < end:
        _score(row, ramp.get(number, 0.5), now)


def _compounding() -> Change:
    """Writes what was proposed into the target, five passes long."""
    usd = 0.0

    def change(number: int, row: dict[str, str], now: float) -> None:
        nonlocal usd
        if not STEP <= number < STEP + 6:
            return
        if number > STEP:
            row["target_usd"] = numbers.usd(usd)
        _score(row, 1.03, now)
        usd = float(row["target_usd"]) * 1.03

    return change


def _all_up(number: int, row: dict[str, str], now: float) -> None:
    if number >= 2 * STEP:
        _score(row, 1.06 if number == 2 * STEP else 1.12, now)


def _one(change: Callable[[], Change]) -> Callable[[Rows], None]:
    return lambda rows: planting.change_rows(rows, change(), planting.smallest(rows))


# What passes and decisions are --------------------------------------------------------------------


def _gap(rows: Rows) -> None:
    low, high = GAP
    begin, end = rows.passes[low - 1].value.ts_ms, rows.passes[high].value.ts_ms
    del rows.passes[low:high]
    rows.gaps.append(Gap("trimmed", begin, end, "", high - low, "planted", end))


def _not_made(rows: Rows) -> None:
    del rows.passes[20::40]
    for place, entry in enumerate(rows.passes):
        rows.passes[place] = replace(entry, value=replace(entry.value, number=place + 1))


def _absent(rows: Rows) -> None:
    symbol = planting.smallest(rows)
    for place in range(STEP, STEP + 60):
        entry = rows.passes[place]
        columns = entry.value.columns
        out = columns.symbol.index(symbol)
        kept = [[*getattr(columns, name)] for name in COLUMNS]
        for values in kept:
            del values[out]
        rows.passes[place] = planting.replace_columns(entry, Columns(*kept))


def _other_multiplier(rows: Rows) -> None:
    entry = rows.passes[STEP]
    columns = entry.value.columns
    place = columns.symbol.index(planting.smallest(rows))
    changed = [*columns.multiplier]
    changed[place] = numbers.four(float(changed[place]) + 0.0001)
    rows.passes[STEP] = planting.replace_columns(entry, replace(columns, multiplier=changed))


def _other_verdict(rows: Rows) -> None:
    held = next(each for each in rows.decisions if each.fields["reason"] == Reason.COOLDOWN)
    fields = {**held.fields, "verdict": "permitted", "reason": "ok"}
    rows.decisions[rows.decisions.index(held)] = replace(held, fields=fields)


# What was in force --------------------------------------------------------------------------------


def _other_settings(rows: Rows) -> None:
    row, at_ms = rows.services[0], rows.passes[STEP].value.ts_ms
    rows.services.append(replace(row, at_ms=at_ms, what="changed", settings="planted"))
    rows.documents.append(Document("settings", "planted", b"{}"))


def _other_version(rows: Rows) -> None:
    for place in range(STEP, len(rows.passes)):
        entry = rows.passes[place]
        rows.passes[place] = replace(entry, value=replace(entry.value, version="0.0.planted"))


def _other_limits(rows: Rows) -> None:
    """A limit that is never reached, so that every verdict still follows."""
    (limits,) = [each for each in rows.documents if each.kind == "limits"]
    found = msgspec.json.decode(limits.body) | {"max_opens_per_5min_total": 1_000_000}
    rows.documents.append(Document("limits", "planted", msgspec.json.encode(found)))
    for place in range(len(rows.decisions) // 2, len(rows.decisions)):
        entry = rows.decisions[place]
        rows.decisions[place] = replace(entry, fields={**entry.fields, "limits": "planted"})


def _limits_lost(rows: Rows) -> None:
    rows.documents = [each for each in rows.documents if each.kind != "limits"]


def _drill_long_ago(rows: Rows) -> None:
    rows.halts = [replace(each, at_ms=each.at_ms - LONG_AGO_MS) for each in rows.halts]


def _never_resumed(rows: Rows) -> None:
    rows.halts = [each for each in rows.halts if each.what == "halted"]


def _break_seal(folder: Path) -> None:
    """One number of a sealed day is changed."""
    path = folders.day_path(folder, folders.days_in(folder)[0])
    path.chmod(0o640)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE passes SET number = 0 WHERE id = (SELECT min(id) FROM passes)")
        db.commit()


FAULTS: dict[str, Fault] = {
    "clean": Fault("", verdict="READY"),
    "other settings": Fault("window", _other_settings),
    "another version": Fault("window", _other_version),
    "other limits": Fault("window", _other_limits),
    "passes not made": Fault("passes", _not_made),
    "a symbol that is missing": Fault("passes", _absent),
    "gap": Fault("gap", _gap),
    "low confidence": Fault("ok", _one(lambda: _unsure)),
    "stale share": Fault("stale", _one(lambda: _stale)),
    "oscillation": Fault("flips", _one(lambda: _oscillating)),
    "flat scores": Fault("span", _one(lambda: _flat)),
    "a clamp": Fault("clamps", _one(lambda: _clamped)),
    "gross exposure moved": Fault("gross", lambda rows: planting.change_rows(rows, _all_up)),
    "a step too large": Fault("step", _one(lambda: _step)),
    "compounding": Fault("written_back", _one(_compounding)),
    "another multiplier": Fault("parity", _other_multiplier),
    "another verdict": Fault("parity", _other_verdict),
    "broken seal": Fault("chain", damage=_break_seal),
    "a drill long ago": Fault("drill", _drill_long_ago),
    "too short a history": Fault("window", verdict="CAN'T TELL", limits={"window": 2 * HOURS}),
    "limits lost": Fault("parity", _limits_lost, verdict="CAN'T TELL"),
    "a halt never resumed": Fault("drill", _never_resumed, verdict="CAN'T TELL"),
}
"""Each fault with its gate."""


def run(folder: Path) -> Iterator[Result]:
    """Plants each fault in a copy of its own, in an empty folder, and says which gates failed."""
    start_ms, end_ms = window(END_MS, HOURS)
    wanted = Wanted(
        seed=SEED, symbols=SYMBOLS, start_ms=start_ms, end_ms=end_ms, per_minute=PER_MINUTE
    )
    made = planting.gathered(batch for _, batch in HistoryMaker(wanted, Settings()).batches())
    policy = policies.load(None)
    # So short a history moves little; all other limits are those that count.
    limits = {"window": HOURS, "span": 0.005}
    for number, (name, fault) in enumerate(FAULTS.items()):
        copy, where = made.copy(), folder / str(number)
        fault.plant(copy)
        planting.write(copy, where, end_ms - SETTLE_MS)
        fault.damage(where)
        own = replace(policy, gates={**policy.gates, **limits, **fault.limits})
        gates = readiness.assess(History(where), own).gates
        failed, unknown = (
            [each.gate for each in gates if each.passed is passed] for passed in (False, None)
        )
        yield Result(name, fault.gate, fault.verdict, failed, unknown)
