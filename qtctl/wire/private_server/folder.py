"""The folder of a private server: ours alone, with nothing in it that another user has planted.

Root may start the server in a folder that somebody else made: what lies there is then followed by
none of its files. Once the way to the folder is root's and ours, nobody can change that meanwhile.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from qtctl.errors import ConfigError, RefusedError

SOCKET = "server.sock"
SERVER_LOCK = "server.lock"

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the last one a NUL.
MAX_SOCKET_BYTES = 103

_APPEND_ONLY = "appendonlydir"
_INSTEAD = "set STATE_DIRECTORY to a directory of its own (TMPDIR for a temporary server)"


def prepare(directory: Path) -> None:
    """Create `directory` (0700) if it is missing. Raises ConfigError where its path is too long for
    a socket or it can't be made, RefusedError where another user could have put something into it
    or on the way to it."""
    length = len(os.fsencode(directory / SOCKET))
    if length > MAX_SOCKET_BYTES:
        raise ConfigError(
            f"the path of the embedded server's socket has {length} bytes, and the system allows "
            f"{MAX_SOCKET_BYTES}: {directory / SOCKET}; set STATE_DIRECTORY to a shorter path"
        )
    try:
        with contextlib.suppress(FileNotFoundError):
            directory.stat()  # fails where links go round in a circle
        _check_way(directory)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_way(directory)  # somebody else may have been faster
        _check_entries(directory)
    except OSError as exc:
        raise ConfigError(
            f"can't make the embedded server's directory {directory}: {exc.strerror}; set "
            "STATE_DIRECTORY to one that you may write"
        ) from exc


def _check_way(directory: Path) -> None:
    for place in _way(directory):
        found = place.lstat()
        _check_owner(place, found)
        if stat.S_ISLNK(found.st_mode) or found.st_mode & stat.S_ISVTX:
            continue  # a link's mode says nothing; in a sticky folder, owners are what counts
        by_group = found.st_mode & 0o020 and found.st_gid not in (0, os.getegid())
        if found.st_mode & 0o002 or by_group:
            raise RefusedError(
                f"others may write in {place}, and could replace what is below it, so no server "
                f"starts in {directory}; chmod go-w it (+t where it is for all), or {_INSTEAD}"
            )


def _way(directory: Path) -> Iterator[Path]:
    """What exists of the way to `directory`, from the root on: folders, and links before what they
    lead to."""
    for place in (*reversed(directory.parents), directory):
        if not os.path.lexists(place):
            return
        yield place
        if place.is_symlink():
            yield from _way(place.parent / place.readlink())


def _check_entries(directory: Path) -> None:
    """What the server would open in it; then nobody else gets to see even the names."""
    mode = directory.stat().st_mode
    if mode & 0o022:
        raise RefusedError(
            f"others may write in {directory}, so no server starts there; chmod go-w it, or "
            f"{_INSTEAD}"
        )
    inner = directory / _APPEND_ONLY
    entries = list(directory.iterdir())
    if inner in entries:
        _check_entry(inner)
        entries += inner.iterdir()
    for entry in entries:
        _check_entry(entry)
    if mode & 0o077:
        if entries and directory / SERVER_LOCK not in entries:
            raise RefusedError(
                f"{directory} is not a directory of the embedded server, and others may read it; "
                f"chmod 700 it, or {_INSTEAD}"
            )
        directory.chmod(0o700)


def _check_entry(entry: Path) -> None:
    try:
        found = entry.lstat()
    except FileNotFoundError:
        return  # a server that runs there has temporary files
    _check_owner(entry, found)
    kind = stat.S_IFMT(found.st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFSOCK):
        what = "a link" if kind == stat.S_IFLNK else "no regular file"
    elif kind == stat.S_IFREG and found.st_nlink > 1:
        what = "a file with a second name elsewhere"
    else:
        return
    raise RefusedError(f"{entry} is {what}, so no server starts there; remove it, or {_INSTEAD}")


def _check_owner(place: Path, found: os.stat_result) -> None:
    # In a user namespace even / may belong to an id that stands for all unknown ones.
    if found.st_uid not in (0, os.geteuid(), Path("/").stat().st_uid):
        raise RefusedError(
            f"{place} belongs to another user (uid {found.st_uid}), so no server of uid "
            f"{os.geteuid()} starts there; start it as that user, or {_INSTEAD}"
        )
