"""Data as the files of one archive, for whoever looks into it later on another machine.

What could not be had stands in its manifest with the reason. Names and their order are the same in
every archive; nothing in it tells a password.
"""

import contextlib
import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from qtctl.cli.output.masking import Mask, mask_logins
from qtctl.cli.output.render import to_json
from qtctl.errors import QtctlError, RefusedError, UsageError

FOLDER = "qtctl-bundle"
MANIFEST = "manifest.json"
MOST_BYTES = 16 << 20
"""Of one file, uncompressed: lines beyond are left out, and the manifest says so."""


@dataclass(frozen=True)
class File:
    """One file. rows: of a list; cut: older lines were left out, for want of room."""

    name: str
    what: str
    content: bytes
    rows: int | None = None
    cut: bool = False


@dataclass
class Archive:
    """What is gathered. mask: leaves out what must not be in it."""

    about: dict[str, Any]
    mask: Mask = mask_logins
    files: list[File] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)

    def add(self, name: str, what: str, value: Any) -> None:
        """A document as JSON."""
        content = self._safe(f"{to_json(value, indent=True)}\n")
        rows = len(value) if isinstance(value, list) else None
        if len(content) > MOST_BYTES:
            self.lack(name, what, f"it is larger than {MOST_BYTES >> 20} MiB")
        else:
            self.files.append(File(name, what, content, rows))

    def add_lines(self, name: str, what: str, newest_first: Iterable[Any]) -> None:
        """A list as a JSON object a line, the oldest first."""
        lines: list[bytes] = []
        size, cut = 0, False
        for row in newest_first:
            line = self._safe(f"{to_json(row)}\n")
            if size + len(line) > MOST_BYTES:
                cut = True
                break
            lines.append(line)
            size += len(line)
        self.files.append(File(name, what, b"".join(reversed(lines)), len(lines), cut))

    def lack(self, name: str, what: str, why: str) -> None:
        """Note what could not be had."""
        self.missing.append({"name": name, "what": what, "why": mask_logins(why)})

    @property
    def manifest(self) -> dict[str, Any]:
        """What each file is, and what is missing."""
        files = [
            {
                "name": each.name,
                "what": each.what,
                "bytes": len(each.content),
                "rows": each.rows,
                "cut": each.cut,
                "sha256": hashlib.sha256(each.content).hexdigest(),
            }
            for each in self.files
        ]
        return {**self.about, "files": files, "missing": self.missing}

    def write(self, path: Path, at: float, *, force: bool) -> int:
        """Write it, for its owner alone; how many bytes it has. at: the time of its files. Errors:
        RefusedError where there is a file already, without force; QtctlError."""
        manifest = self._safe(f"{to_json(self.manifest, indent=True)}\n")
        files = [File(MANIFEST, "", manifest), *self.files]
        with _file(path, force=force) as out:
            with gzip.GzipFile("", "wb", fileobj=out, mtime=int(at)) as packed:
                _tar(packed, files, int(at))
            return out.tell()

    def _safe(self, text: str) -> bytes:
        return self.mask(text).encode("utf-8", "backslashreplace")


def refuse_existing(path: Path, *, force: bool) -> None:
    """Errors: RefusedError for a file that is there; UsageError for a folder that is not."""
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise UsageError(f"--out {path} is a folder: name a file in it")
    if path.exists() and not path.is_file():  # --force must not replace /dev/null
        raise UsageError(f"--out {path} is a device or a pipe: name a file")
    if os.path.lexists(path) and not force:
        raise RefusedError(f"{path} exists: --force overwrites it")


@contextlib.contextmanager
def _file(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """A new file of the owner's alone, which appears under its name once it is whole."""
    refuse_existing(path, force=force)
    new = path.with_name(f".{path.name}.new")
    try:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()  # of one that was killed
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                yield out
            if force:
                new.replace(path)
            else:
                _appear(new, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                new.unlink()
    except FileExistsError:
        raise RefusedError(f"{path} exists: --force overwrites it") from None
    except OSError as problem:
        raise QtctlError(f"{path} can't be written: {problem.strerror}") from problem


def _appear(new: Path, path: Path) -> None:
    """Under its name, unless there is a file by now. Errors: OSError."""
    try:
        os.link(new, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        new.replace(path)


def _tar(out: Any, files: Iterable[File], at: int) -> None:
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for each in files:
            info = tarfile.TarInfo(f"{FOLDER}/{each.name}")
            info.size, info.mtime, info.mode = len(each.content), at, 0o600
            tar.addfile(info, io.BytesIO(each.content))
