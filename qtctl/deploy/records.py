"""What was done to a host, kept so that it can be undone: one folder per deployment.

::

    /var/lib/qtctl-deployments/            root only: what is restored from here becomes units
      lock                                 held by whoever deploys or rolls back
      20260128T101500Z/
        manifest.json                      before and after, for each path; the progress
        objects/SHA256                     the contents of both
        reserve                            room to undo it on a full disk

A record is complete before anything else is touched: it is built under another name first. It is
not in the services' own state directory, which systemd gives to their user.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from qtctl.deploy.host import Host, State, sync
from qtctl.errors import QtctlError, RefusedError

FOLDER = "/var/lib/qtctl-deployments"
APPLYING, APPLIED, DONE = "applying", "applied", "done"
"""Files are being changed; all files are in place; so are the services."""
_FORMAT = 1
_BLOCK = 4096
_RESERVE = ".qtctl-reserve-"
_STAMP = "%Y%m%dT%H%M%SZ"
_private = partial(os.open, mode=0o600)


@dataclass(frozen=True)
class Change:
    """One path: before and after."""

    path: str
    before: State
    after: State


@dataclass(frozen=True)
class Record:
    """One deployment or rollback (kind). undoes: the ids that a rollback undoes. folders: those
    that were made. running_before and running: the units before and after, None in a staging
    folder. state: its progress; failure: what stopped it."""

    id: str
    kind: str
    version: str
    began_at: float
    changes: tuple[Change, ...]
    folders: Sequence[str] = ()
    undoes: Sequence[str] = ()
    running_before: Sequence[str] | None = None
    running: Sequence[str] | None = None
    state: str = APPLYING
    failure: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def undo(self) -> str:
        """The command that undoes it."""
        return "qtctl rollback" if self.kind == "deploy" else f"qtctl rollback {self.id}"


class Records:
    """All records of a host, the oldest first."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.folder = host.place(f"{FOLDER}/x").parent

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Excludes other deployments and rollbacks. Errors: RefusedError."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            lock = os.open(self.folder / "lock", flags, 0o600)
        except OSError as problem:
            why = f"{self.folder} can't be written: {problem.strerror}"
            raise RefusedError(f"{why}; nothing was done") from problem
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
                why = f"another deploy or rollback is running (pid {pid})"
                raise RefusedError(f"{why}; nothing was done") from None
            with contextlib.suppress(OSError):  # in place, so that it needs no room after the first
                os.pwrite(lock, f"{os.getpid():<19}\n".encode(), 0)
            for left in self.folder.glob(".*.new"):  # of one that was killed before it began
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            os.close(lock)

    def all(self) -> list[Record]:
        """Every record, the oldest first. Errors: QtctlError for one that can't be read."""
        if not self.folder.is_dir():
            return []
        try:
            names = sorted(path.parent.name for path in self.folder.glob("[0-9]*/manifest.json"))
        except OSError as problem:
            raise QtctlError(f"{self.folder} can't be read: {problem.strerror}") from problem
        return [self._read(name) for name in names]

    def new_id(self, now: float) -> str:
        """The time as an id, later than all others even if the clock was set back."""
        at = datetime.fromtimestamp(int(now), UTC)
        last = max((record.id for record in self.all()), default="")
        while (stamp := at.strftime(_STAMP)) <= last:
            at = max(at, datetime.strptime(last, _STAMP).replace(tzinfo=UTC)) + timedelta(seconds=1)
        return stamp

    def add(self, record: Record) -> Path:
        """Keep a new record, contents and all, on disk; its folder. A deployment reserves the room
        that undoing it needs. Errors: OSError; nothing is left then."""
        folder, new = self.folder / record.id, self.folder / f".{record.id}.new"
        objects = new / "objects"
        try:
            new.mkdir(mode=0o700)
            objects.mkdir(mode=0o700)
            for change in record.changes:
                for state in (change.before, change.after):
                    if state.kind == "file":
                        _write(objects / _digest(state.content), state.content)
            _write(new / "manifest.json", _manifest(record))
            sync(objects)
            sync(new)
            new.rename(folder)
            sync(self.folder)
            if record.kind == "deploy":
                self._reserve(record)
        except BaseException:
            with contextlib.suppress(OSError):
                self.free(record)
                folder.rename(new)  # never half a record
            shutil.rmtree(new, ignore_errors=True)
            raise
        return folder

    def _reserve(self, record: Record) -> None:
        """Files that hold the room for undoing a record: for its record and, on each file system,
        for what is restored there."""
        own = self.folder.stat().st_dev
        places, sizes = {own: self.folder / record.id / "reserve"}, {own: 16 * _BLOCK}
        for change in record.changes:
            above = self._host.place(change.path).parents
            folder = next(folder for folder in above if folder.is_dir())
            device = folder.stat().st_dev
            places.setdefault(device, folder / f"{_RESERVE}{record.id}")
            sizes[device] = sizes.get(device, 4 * _BLOCK) + _room(change.before)
            sizes[own] += _room(change.before) + _room(change.after)
        for device, place in places.items():
            _write(place, os.urandom(sizes[device]))  # what nothing compresses takes its room

    def free(self, record: Record) -> None:
        """Give back the room that was reserved for undoing a record. Errors: OSError."""
        places = {self.folder / record.id / "reserve"}
        for change in record.changes:
            for folder in self._host.place(change.path).parents:
                places.add(folder / f"{_RESERVE}{record.id}")
        for place in places:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                place.unlink()
                sync(place.parent)  # some file systems give it back only then

    def tidy(self, records: Sequence[Record]) -> None:
        """Remove the half-written files that a killed deployment or rollback left. Errors:
        RefusedError."""
        try:
            for record in records:
                (self.folder / record.id / "manifest.new").unlink(missing_ok=True)
            for path in {change.path for record in records for change in record.changes}:
                self._host.drop_half(path)
        except OSError as problem:
            why = f"{problem.filename} can't be removed: {problem.strerror}"
            raise RefusedError(f"{why}; nothing was done") from problem

    def update(self, record: Record, state: str, failure: str = "") -> Record:
        """Keep its progress. Errors: OSError."""
        changed = replace(record, state=state, failure=failure)
        path = self.folder / record.id / "manifest.json"
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        _write(new, _manifest(changed))
        new.replace(path)
        sync(path.parent)
        return changed

    def _read(self, id: str) -> Record:
        folder = self.folder / id
        try:
            content = json.loads((folder / "manifest.json").read_bytes())
            if content["format"] != _FORMAT:
                raise QtctlError(f"{folder} was made by another version of qtctl")
            for change in content["changes"]:
                for side in ("before", "after"):
                    change[side] = _restored(folder, change[side])
            return msgspec.convert(content, Record)
        except (OSError, ValueError, KeyError, TypeError, msgspec.MsgspecError) as problem:
            why = f"{folder} can't be read ({type(problem).__name__}: {problem})"
            raise QtctlError(f"{why}; the saved files are in its objects/") from problem


def unfinished(records: Sequence[Record]) -> Record | None:
    """The last record, if it was interrupted while changing files."""
    return records[-1] if records and records[-1].state == APPLYING else None


def undone(records: Sequence[Record]) -> set[str]:
    """The ids that a later rollback has undone."""
    return {id for record in records if record.state != APPLYING for id in record.undoes}


def _manifest(record: Record) -> bytes:
    content = {"format": _FORMAT, **asdict(record)}
    for change in content["changes"]:
        for side in ("before", "after"):
            change[side]["sha256"] = _digest(change[side].pop("content"))
    return json.dumps(content, indent=1).encode() + b"\n"


def _restored(folder: Path, kept: Mapping[str, Any]) -> State:
    """A state of a manifest with its content, which must be the one that was saved."""
    state = msgspec.convert(kept, State)
    if state.kind != "file":
        return state
    content = (folder / "objects" / kept["sha256"]).read_bytes()
    if _digest(content) != kept["sha256"]:
        raise QtctlError(f"{folder}/objects/{kept['sha256']} has been changed")
    return replace(state, content=content)


def _room(state: State) -> int:
    """What a file takes on a disk at most, its entry in a folder included."""
    return (2 + len(state.content) // _BLOCK) * _BLOCK


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """A private file, on disk; the same content may exist already."""
    with contextlib.suppress(FileExistsError), open(path, "xb", opener=_private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
