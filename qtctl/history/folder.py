"""The folder of the history: what its files are called, and who may write there."""

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from qtctl.errors import ConfigError, NotFoundError, RefusedError

LOCK = "recorder.lock"
CHAIN = "chain.jsonl"
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})\.sqlite")
FOR_WHOM = "the history is for its owner and the group of its folder"
_MODE, _FILE_MODE = 0o750, 0o640
"""For the owner and the group, whatever the umask of the process."""


def day_path(folder: Path, day: str) -> Path:
    """The file of a day."""
    return folder / f"{day}.sqlite"


def days_in(folder: Path) -> list[str]:
    """The days that have a file, the oldest first. Errors: NotFoundError where it is no folder,
    ConfigError where it can't be read."""
    try:
        names = [each.name for each in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(
            f"no history in {folder}: 'qtctl serve recorder' writes one; [history] dir or --dir "
            "says where it is"
        ) from None
    except OSError as problem:
        raise ConfigError(
            f"can't read the history in {folder}: {problem.strerror}; {FOR_WHOM}"
        ) from problem
    return sorted(found[1] for name in names if (found := _DAY.fullmatch(name)))


def size_of(folder: Path) -> int:
    """Bytes of all files in it. Errors: OSError."""
    return sum(map(file_size, folder.iterdir()))


def file_size(path: Path) -> int:
    """Bytes of a file; 0 for what is none, or goes away meanwhile, as what SQLite keeps beside a
    day that is read does. Errors: OSError."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def prepare(folder: Path) -> None:
    """Makes the folder (0750) where it is missing; one that is there stays as it is. Errors:
    ConfigError."""
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            folder.chmod(_MODE)
    except OSError as problem:
        raise ConfigError(
            f"can't make the folder of the history, {folder}: {problem.strerror}; set [history] dir"
        ) from problem


def open_file(path: Path) -> int:
    """A descriptor of a file to read and write, made (0640) where it is missing. Errors:
    OSError."""
    flags = os.O_RDWR | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    file = os.open(path, flags | os.O_CREAT, 0o600)
    os.fchmod(file, _FILE_MODE)
    return file


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Where to write a file, with the mode of a history's, which has its name once it is whole."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        os.close(open_file(new))
        yield new
        new.rename(path)
    finally:
        for end in ("", "-wal", "-journal"):
            new.with_name(new.name + end).unlink(missing_ok=True)


class Lock:
    """Only one recorder writes in a folder; the lock goes with its process, however that ends."""

    def __init__(self, folder: Path) -> None:
        try:
            self._file = open_file(folder / LOCK)
        except OSError as problem:
            raise ConfigError(
                f"can't write the history in {folder}: {problem.strerror}; give the folder to the "
                "recorder's user, or set [history] dir"
            ) from problem
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 100, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            raise RefusedError(
                f"another recorder ({holder or 'unknown'}) writes the history in {folder}: stop "
                "it, or set [history] dir to another folder"
            ) from None
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"pid {os.getpid()} on {os.uname().nodename}".encode(), 0)

    def release(self) -> None:
        os.close(self._file)
