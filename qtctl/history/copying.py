"""A whole copy of a history, also while a recorder writes it."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from qtctl.errors import RefusedError
from qtctl.history import chain, opening
from qtctl.history import folder as folders
from qtctl.history.damage import CannotWrite, Damaged
from qtctl.history.sealing import kept_days

_PAGES = 1_000


def copy(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    """Copies the chain and each day; yields each day with what is wrong with it, "" where nothing
    is. Each file is there whole or not at all. Sealed days are copied as they are, others as SQLite
    reads them at one moment, with what their WAL has. A damaged day is copied byte by byte, so that
    nothing of it is lost.

    Errors: RefusedError where the target has something in it, CannotWrite, and those of History.
    """
    days = folders.days_in(source)
    try:
        target.mkdir(mode=0o750, parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise RefusedError(f"{target} is not empty: copy into a new folder")
        sealed = kept_days(chain.read(source))
        for day in days:
            problem = _copy_day(source, target, day, is_sealed=day in sealed)
            yield day, problem
        if (source / folders.CHAIN).exists():
            _copy_file(source / folders.CHAIN, target / folders.CHAIN)
    except (OSError, sqlite3.OperationalError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise CannotWrite(f"can't copy {source} to {target}: {reason}") from problem


def _copy_day(source: Path, target: Path, day: str, *, is_sealed: bool) -> str:
    path, new = folders.day_path(source, day), folders.day_path(target, day)
    if is_sealed:
        _copy_file(path, new)
        return ""
    try:
        # Within one transaction of the reader, or the copy would begin anew whenever the recorder
        # writes.
        with (
            opening.reading(path) as db, folders.appearing(new) as made,
            closing(sqlite3.connect(made)) as copied,
        ):  # fmt: skip
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            db.backup(copied, pages=_PAGES, sleep=0.0)
            copied.execute("PRAGMA journal_mode = DELETE")
    except Damaged as problem:
        _copy_whole(path, new)
        return str(problem)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as problem:
        _copy_whole(path, new)
        return f"{path.name} is damaged: {problem}"
    return ""


def _copy_whole(path: Path, new: Path) -> None:
    for end in ("-wal", ""):
        each = path.with_name(path.name + end)
        if each.exists():
            _copy_file(each, new.with_name(new.name + end))


def _copy_file(path: Path, new: Path) -> None:
    with folders.appearing(new) as made:
        shutil.copyfile(path, made)
        with made.open("rb+") as file:
            os.fsync(file.fileno())
