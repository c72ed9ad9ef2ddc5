"""Opens a day's file to read it, also while the recorder writes it, and after it was killed.

SQLite reads a file in WAL mode through its -shm file. A reader who may not write there can use what
the recorder has open, or what a killed one left behind. Where that is not enough, the day is read
as it stands if it has no WAL, else from a copy in a temporary folder.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from qtctl.errors import ConfigError, RefusedError
from qtctl.history import schema
from qtctl.history.damage import Damaged

_BUSY_SEC = 10.0
_MAGIC = b"SQLite format 3\0"


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can't write. Errors: RefusedError where the file is none of ours or of a
    newer version, ConfigError where it may not be read, Damaged where it can't be."""
    _check_magic(path)
    with _connection(path) as db:
        check(db, path)
        db.execute("BEGIN")  # One view of the file, whatever is written meanwhile.
        yield db


def _check_magic(path: Path) -> None:
    try:
        with path.open("rb") as file:
            found = file.read(len(_MAGIC))
    except FileNotFoundError:
        raise Damaged(f"{path.name} is gone") from None
    except OSError as problem:
        raise ConfigError(
            f"can't read {path}: {problem.strerror}; the history is for its owner and the group "
            "of its folder"
        ) from problem
    if found != _MAGIC:
        raise Damaged(f"{path.name} is not a SQLite file, or its beginning is damaged")


def check(db: sqlite3.Connection, path: Path) -> None:
    """Errors: RefusedError where it is a file of another program, or of a newer qtctl."""
    try:
        program = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as problem:
        raise Damaged(f"{path.name} can't be read: {problem}") from problem
    if program != schema.APPLICATION_ID:
        raise RefusedError(
            f"{path} is a SQLite file of another program: move it out of the history's folder"
        )
    if version > schema.FORMAT:
        raise RefusedError(
            f"{path} has format {version}, and this qtctl knows {schema.FORMAT}: read it with the "
            "newer qtctl that wrote it"
        )


@contextmanager
def _connection(path: Path) -> Iterator[sqlite3.Connection]:
    wal = path.with_name(f"{path.name}-wal")
    for options in ("mode=ro", "mode=ro&immutable=1"):
        if "immutable" in options and wal.exists() and wal.stat().st_size:
            break  # What the WAL has would be missing.
        db = _connected(f"{path.absolute().as_uri()}?{options}")
        if db is not None:
            with closing(db):
                yield db
            return
    with tempfile.TemporaryDirectory(prefix="qtctl-history-") as folder:
        copy = Path(folder) / path.name
        for each in (path, wal):
            shutil.copyfile(each, copy.with_name(each.name))
        with closing(sqlite3.connect(copy, timeout=_BUSY_SEC, isolation_level=None)) as db:
            db.execute("PRAGMA query_only = 1")
            yield db


def _connected(uri: str) -> sqlite3.Connection | None:
    """None where it can't be opened so."""
    db = sqlite3.connect(uri, uri=True, timeout=_BUSY_SEC, isolation_level=None)
    try:
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError:
        db.close()
        return None
    except sqlite3.DatabaseError:
        pass  # What is wrong with it shows again where it is read.
    return db
