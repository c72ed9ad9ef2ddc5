"""What becomes of a finished day: its file is closed, hashed and chained, and some day pruned."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from qtctl.history import chain
from qtctl.history.chain import Link
from qtctl.history.day_reader import STREAMS
from qtctl.history.folder import day_path, days_in, file_size
from qtctl.history.ids import DAY_MS, SEQ_BITS, day_of
from qtctl.history.schema import PLAN_INDEX

_MODE = 0o440


def seal(folder: Path, day: str, at_ms: int) -> Link | None:
    """Chains a day whose file is closed and complete; None where it is in the chain already.

    Errors: sqlite3.Error, OSError, Damaged.
    """
    path = day_path(folder, day)
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        rows = {
            table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in (*STREAMS, "gaps")
        }
        ends = [db.execute(f"SELECT min(id), max(id) FROM {table}").fetchone() for table in STREAMS]
    path.chmod(_MODE)
    sha256, size = chain.digest(path)

    def line(links: Sequence[Link], before: str) -> Link | None:
        if day in sealed_days(links):
            return None
        return Link(
            what="sealed", day=day, sha256=sha256, bytes=size, rows=rows,
            first_ms=min([low >> SEQ_BITS for low, _ in ends if low is not None], default=0),
            last_ms=max([high >> SEQ_BITS for _, high in ends if high is not None], default=0),
            at_ms=at_ms, why="", before=before,
        )  # fmt: skip

    return chain.append(folder, line)


def was_sealed(db: sqlite3.Connection, path: Path) -> bool:
    """True for a file that bears the marks of a sealed day, whatever the chain says: its index of
    plans, and that nobody may write it. A finished day has the first before it is sealed, and an
    open one in an archive the second."""
    if path.stat().st_mode & 0o222:
        return False
    found = db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (PLAN_INDEX,))
    return found.fetchone() is not None


def sealed_days(links: Sequence[Link]) -> dict[str, Link]:
    """The days that were sealed, pruned since or not."""
    return {link.day: link for link in links if link.what == "sealed"}


def kept_days(links: Sequence[Link]) -> dict[str, Link]:
    """The sealed days that should have their file."""
    pruned = {link.day for link in links if link.what == "pruned"}
    return {day: link for day, link in sealed_days(links).items() if day not in pruned}


class Pruning(msgspec.Struct, frozen=True):
    """A day to prune, its bytes, and why: `keep_days 30` or `max_bytes 1000000`."""

    day: str
    bytes: int
    why: str


def prunable(folder: Path, now_ms: int, keep_days: int, max_bytes: int) -> list[Pruning]:
    """The sealed days that the settings no longer keep, the oldest first; 0 is no limit. Days that
    are not sealed are never pruned."""
    kept = kept_days(chain.read(folder))
    sizes = {day: size(folder, day) for day in days_in(folder)}
    first = day_of(max(0, now_ms - keep_days * DAY_MS)) if keep_days else ""
    total = sum(sizes.values())
    found = []
    for day in sorted(day for day in kept if day in sizes):
        if day < first:
            why = f"keep_days {keep_days}"
        elif max_bytes and total > max_bytes:
            why = f"max_bytes {max_bytes}"
        else:
            break
        found.append(Pruning(day, sizes[day], why))
        total -= sizes[day]
    return found


def prune(folder: Path, prunings: Sequence[Pruning], at_ms: int) -> list[Link]:
    """Removes days; the chain says so before their files go. Errors: OSError, Damaged."""
    done = []
    for pruning in prunings:

        def line(links: Sequence[Link], before: str, pruning: Pruning = pruning) -> Link | None:
            sealed = kept_days(links).get(pruning.day)
            if sealed is None:
                return None
            return msgspec.structs.replace(
                sealed, what="pruned", at_ms=at_ms, why=pruning.why, before=before, link=""
            )

        link = chain.append(folder, line)
        day_path(folder, pruning.day).unlink(missing_ok=True)
        if link is not None:
            done.append(link)
    return done


def size(folder: Path, day: str) -> int:
    """The bytes of a day's files."""
    path = day_path(folder, day)
    files = (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm")))
    return sum(map(file_size, files))
