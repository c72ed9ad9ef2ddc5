"""Writes a folder of evidence: whole, or not at all."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from qtctl.errors import UsageError
from qtctl.evidence.manifest import (
    BLANK,
    FORMAT,
    INDEX,
    MANIFEST,
    About,
    Entry,
    LeftOut,
    Made,
    Manifest,
    encode,
    sha256,
)  # fmt: skip
from qtctl.history.damage import CannotWrite


class Part(NamedTuple):
    """A file: its path in the folder, what it is, and its content."""

    name: str
    what: str
    content: bytes


Page = Callable[[Manifest, str], str]
"""index.html, from the manifest without the page's own entry, and a digest, shown exactly once."""


def refuse(target: Path) -> None:
    """Errors: UsageError where the target is anything but a new or empty folder."""
    try:
        if target.is_dir():
            if not any(target.iterdir()):
                return
            problem = f"{target} is not empty"
        else:
            there = (each for each in (target, *target.absolute().parents) if os.path.lexists(each))
            nearest = next(there)
            if nearest != target and nearest.is_dir():
                return
            problem = f"{nearest} is no folder"
    except OSError as wrong:
        raise UsageError(f"--out {target} can't be read: {wrong.strerror}") from wrong
    raise UsageError(f"--out: {problem}: name a new or empty folder; nothing is replaced")


def write(
    target: Path, made: Made, about: About, left_out: Sequence[LeftOut], parts: Sequence[Part],
    page: Page,
) -> str:  # fmt: skip
    """Writes the folder; its digest. It appears under its name once it is whole.

    Errors: UsageError as `refuse`, CannotWrite.
    """
    entries = [Entry(p.name, p.what, len(p.content), sha256(p.content)) for p in parts]
    manifest = Manifest(FORMAT, made, about, list(left_out), entries)
    blank = page(manifest, BLANK)
    assert blank.count(BLANK) == 1, "the page shows the digest once"
    content = blank.encode()
    entries.insert(0, Entry(INDEX, "where to begin", len(content), sha256(content)))
    raw = encode(manifest)
    digest = sha256(raw)
    # The manifest last: without it nothing verifies.
    files = [
        Part(INDEX, "", content.replace(BLANK.encode(), digest.encode())),
        *parts,
        Part(MANIFEST, "", raw),
    ]
    target = target.resolve()
    refuse(target)
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(new, files)
            new.rename(target)
            _sync(target.parent)
        finally:
            with contextlib.suppress(OSError):
                shutil.rmtree(new)
    except OSError as problem:
        if problem.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            refuse(target)  # filled by somebody else meanwhile
        raise CannotWrite(f"can't write {target}: {problem.strerror}") from problem
    return digest


def _write(folder: Path, files: Sequence[Part]) -> None:
    folder.mkdir()
    folders = {folder}
    for each in files:
        path = folder / each.name
        path.parent.mkdir(exist_ok=True)
        folders.add(path.parent)
        with path.open("xb") as file:
            file.write(each.content)
            file.flush()
            os.fsync(file.fileno())
    for each_folder in folders:
        _sync(each_folder)


def _sync(folder: Path) -> None:
    """What is in a folder survives a crash of the host."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
