"""What is recorded, day by day."""

import sqlite3

import msgspec

from qtctl.history import chain, opening
from qtctl.history import folder as folders
from qtctl.history.chain import Link
from qtctl.history.damage import Damaged
from qtctl.history.day_reader import Damage, DayReader
from qtctl.history.missing import day_gap
from qtctl.history.reader import History
from qtctl.history.sealing import kept_days, size


class Day(msgspec.Struct, frozen=True):
    """A day. state: `open` (a recorder may write it), `sealed`, `missing` (its file is gone) or
    `damaged`; problem: what is wrong with it; counts of rows, None where unknown; first_ms and
    last_ms: of its rows, None where it has none; sha256: of a sealed one."""

    day: str
    state: str
    first_ms: int | None
    last_ms: int | None
    passes: int | None
    decisions: int | None
    events: int | None
    rejected: int | None
    gaps: int | None
    bytes: int
    sha256: str
    problem: str


def days(history: History) -> list[Day]:
    """Every day that is there or should be, the oldest first."""
    sealed = kept_days(chain.read(history.folder))
    present = history.days()
    found = [_of(history, day, sealed.get(day)) for day in present]
    found += [_missing(link) for day, link in sealed.items() if day not in present]
    return sorted(found, key=lambda day: day.day)


def _of(history: History, day: str, link: Link | None) -> Day:
    path, size_bytes = folders.day_path(history.folder, day), size(history.folder, day)
    if link is not None:
        return _sealed(link, "sealed", size_bytes, "")
    damage: list[Damage] = []
    try:
        with opening.reading(path) as db:
            reader = DayReader(db, day, damage)
            counts, times = reader.counts(), reader.span()
    except (Damaged, sqlite3.DatabaseError) as problem:
        return Day(
            day, "damaged", None, None, None, None, None, None, None, size_bytes, "", str(problem)
        )  # fmt: skip
    return Day(
        day, "damaged" if damage else "open", min(times, default=None), max(times, default=None),
        counts["passes"], counts["decisions"], counts["events"], counts["rejected"], counts["gaps"],
        size_bytes, "", "; ".join(each.problem for each in damage),
    )  # fmt: skip


def _sealed(link: Link, state: str, size_bytes: int, problem: str) -> Day:
    rows = link.rows
    return Day(
        link.day, state, link.first_ms or None, link.last_ms or None, rows.get("passes"),
        rows.get("decisions"), rows.get("events"), rows.get("rejected"), rows.get("gaps"),
        size_bytes, link.sha256, problem,
    )  # fmt: skip


def _missing(link: Link) -> Day:
    return _sealed(link, "missing", 0, day_gap(link).detail)
