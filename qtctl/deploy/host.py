"""The files of a host, live or in a staging folder: read, written atomically, restored.

Paths are those on the host (`/etc/quantum/governor.env`), wherever its root is.
"""

import contextlib
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from qtctl.errors import QtctlError, RefusedError

MAX_BYTES = 4 << 20
_NEW_SUFFIX = ".qtctl-new"


@dataclass(frozen=True)
class State:
    """What is at a path: `absent`, `file` (with content) or `link` (with target). owner is (uid,
    gid), None where that is to be whoever writes; mtime_ns None where it is to be now."""

    kind: str = "absent"
    content: bytes = b""
    target: str = ""
    mode: int = 0
    owner: tuple[int, int] | None = None
    mtime_ns: int | None = None

    def fits(self, wanted: "State") -> bool:
        """True if this is what `wanted` asks for, except times and owners that it leaves open."""
        owner = None if wanted.owner is None else self.owner
        return replace(self, owner=owner, mtime_ns=wanted.mtime_ns) == wanted


ABSENT = State()


@dataclass(frozen=True)
class Host:
    """A root folder; `live` is the running system, whose files have their owners."""

    root: Path
    live: bool

    def place(self, path: str) -> Path:
        """Where a path of the host is. Its folders may be links, also to somewhere else on the
        host; what it names itself is never followed.

        Errors: RefusedError where a link leads out of a staging folder.
        """
        pure = PurePosixPath(path)
        if not pure.is_absolute() or ".." in pure.parts:
            raise QtctlError(f"{path!r} is not a path on a host")
        root = self.root.resolve()
        named = root.joinpath(*pure.parts[1:-1])
        folder = named.resolve()
        if not folder.is_relative_to(root):
            raise RefusedError(f"{named} leads out of {root} through a link")
        return folder / pure.name

    def read(self, path: str) -> State:
        """What is there now. Errors: QtctlError where it is neither file nor link, or too large."""
        place = self.place(path)
        try:
            found = place.lstat()
            owner = (found.st_uid, found.st_gid)
            if stat.S_ISLNK(found.st_mode):
                return State("link", target=str(place.readlink()), owner=owner)
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
                raise RefusedError(f"{place} is not a regular settings file: move it away")
            descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                content = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return ABSENT
        except OSError as problem:
            raise QtctlError(f"{place} can't be read: {problem.strerror}") from problem
        mode = stat.S_IMODE(found.st_mode)
        return State("file", content, mode=mode, owner=owner, mtime_ns=found.st_mtime_ns)

    def write(self, path: str, wanted: State) -> None:
        """Replace what is there, atomically and on disk. Errors: OSError."""
        place, new = self.place(path), self.drop_half(path)
        if wanted.kind == "absent":
            place.unlink(missing_ok=True)
        else:
            try:
                self._make(new, wanted)
                new.replace(place)
            finally:
                new.unlink(missing_ok=True)
        sync(place.parent)

    def drop_half(self, path: str) -> Path:
        """Remove what a write that was killed left beside a path; its place. Errors: OSError."""
        place = self.place(path)
        new = place.with_name(f".{place.name}{_NEW_SUFFIX}")
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            new.unlink()
        return new

    def missing_folders(self, path: str) -> list[str]:
        """The missing folders above a path, the outermost first."""
        pure = PurePosixPath(path)
        folders = (str(folder) for folder in reversed(pure.parents) if str(folder) != "/")
        return [folder for folder in folders if not self.place(folder).is_dir()]

    def make_folder(self, path: str) -> None:
        """A world-readable folder, owned by us. Errors: OSError."""
        place = self.place(path)
        umask = os.umask(0o022)
        try:
            with contextlib.suppress(FileExistsError):
                place.mkdir(0o755)
                sync(place.parent)
        finally:
            os.umask(umask)

    def drop_folder(self, path: str) -> bool:
        """Remove a folder if it is empty; True if it was."""
        try:
            self.place(path).rmdir()
        except OSError:
            return False
        return True

    def _make(self, new: Path, wanted: State) -> None:
        if wanted.kind == "link":
            new.symlink_to(wanted.target)
            if wanted.owner is not None and os.geteuid() == 0:
                os.lchown(new, *wanted.owner)
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
            file.write(wanted.content)
            file.flush()
            # Only root gives files away; in a staging folder of another user they are its own.
            if wanted.owner is not None and os.geteuid() == 0:
                os.fchown(file.fileno(), *wanted.owner)
            os.fchmod(file.fileno(), wanted.mode)
            if wanted.mtime_ns is not None:
                os.utime(file.fileno(), ns=(wanted.mtime_ns, wanted.mtime_ns))
            os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Flush the folder's entries to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
