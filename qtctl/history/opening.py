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
from qtctl.history.folder import FOR_WHOM, file_size

_BUSY_SEC = 10.0
_MAGIC = b"SQLite format 3\0"


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can't write, with one view of the file whatever is written meanwhile.
    Errors: those of `located`."""
    with located(path) as uri, closing(_connect(uri)) as db:
        db.execute("BEGIN")
        yield db


@contextmanager
def located(path: Path) -> Iterator[str]:
    """A URI by which SQLite can open a day's file to read it, for as long as the context lasts.
    Errors: RefusedError where the file is none of ours or of a newer version, ConfigError where it
    may not be read, Damaged where it can't be."""
    _check_magic(path)
    with _readable(path) as uri:
        with closing(_connect(uri)) as db:
            check(db, path)
        yield uri


def _check_magic(path: Path) -> None:
    try:
        with path.open("rb") as file:
            found = file.read(len(_MAGIC))
    except FileNotFoundError:
        raise Damaged(f"{path.name} is gone") from None
    except IsADirectoryError:
        raise RefusedError(
            f"{path} is a folder, not the file of a day: move it out of the history's folder"
        ) from None
    except OSError as problem:
        raise ConfigError(f"can't read {path}: {problem.strerror}; {FOR_WHOM}") from problem
    if found != _MAGIC:
        raise Damaged(f"{path.name} is not a SQLite file, or its beginning is damaged")


def check(db: sqlite3.Connection, path: Path) -> None:
    """Errors: RefusedError where it is a file of another program, or of a qtctl that is newer, or
    too old."""
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
    if version < schema.OLDEST:
        raise RefusedError(
            f"{path} has format {version}, and this qtctl reads {schema.OLDEST} and later: read it "
            "with the older qtctl that wrote it"
        )


@contextmanager
def _readable(path: Path) -> Iterator[str]:
    wal = path.with_name(f"{path.name}-wal")
    uri = path.absolute().as_uri()
    if _opens(f"{uri}?mode=ro"):
        yield f"{uri}?mode=ro"
    elif not file_size(wal):
        yield f"{uri}?mode=ro&immutable=1"
    else:
        with tempfile.TemporaryDirectory(prefix="qtctl-history-") as folder:
            copy = Path(folder) / path.name
            for each in (path, wal):
                shutil.copyfile(each, copy.with_name(each.name))
            yield copy.as_uri()


def _connect(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, uri=True, timeout=_BUSY_SEC, isolation_level=None)
    db.execute("PRAGMA query_only = 1")
    return db


def _opens(uri: str) -> bool:
    with closing(_connect(uri)) as db:
        try:
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            return False
        except sqlite3.DatabaseError:
            pass  # What is wrong with it shows again where it is read.
    return True
