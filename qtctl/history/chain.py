"""The chain of finished days, `chain.jsonl`: each line has the SHA-256 of a day's file and, in its
link, that of the line before, so that no day can be changed or left out unnoticed by whoever knows
a later link. A day that was pruned on purpose has a line that says so.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from qtctl.errors import ConfigError
from qtctl.history.damage import Damaged
from qtctl.history.folder import CHAIN, open_file

NO_LINK = "0" * 64


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A line. what: `sealed` or `pruned`; sha256 and bytes: of the day's file; rows: by table;
    first_ms, last_ms: the times of its first and last row, 0 where it has none; at_ms: when the
    line was written; why: of a pruning; before: the link of the line before."""

    what: Literal["sealed", "pruned"]
    day: str
    sha256: str
    bytes: int
    rows: dict[str, int]
    first_ms: int
    last_ms: int
    at_ms: int
    why: str
    before: str
    link: str = ""

    def computed(self) -> str:
        """What its link must be."""
        return hashlib.sha256(
            msgspec.json.encode(msgspec.structs.replace(self, link=""))
        ).hexdigest()


def read(folder: Path) -> list[Link]:
    """The lines that are whole, up to the first that is not what was written. Errors:
    ConfigError."""
    return [link for _, link, problem in examined(folder) if link is not None and not problem]


def examined(folder: Path) -> Iterator[tuple[int, Link | None, str]]:
    """Each line with its number, from 1, and what is wrong with it, "" where nothing is. Behind the
    first that is wrong there are no more: nothing vouches for them."""
    try:
        raw = (folder / CHAIN).read_bytes()
    except FileNotFoundError:
        return
    except OSError as fault:
        raise ConfigError(f"can't read {folder / CHAIN}: {fault.strerror}") from fault
    before = NO_LINK
    lines = raw.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line and number == len(lines):
            return
        link, problem = _checked(line, before)
        if number == len(lines):
            problem = "was not written to its end: a recorder that starts here writes it again"
        yield number, link, problem
        if problem or link is None:
            return
        before = link.link


def _checked(line: bytes, before: str) -> tuple[Link | None, str]:
    try:
        link = msgspec.json.decode(line, type=Link)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, "can't be read"
    if link.computed() != link.link:
        return link, "is not what was written"
    if link.before != before:
        return link, "does not follow from the line before"
    return link, ""


def head(folder: Path) -> str:
    """The last link, NO_LINK where there is none."""
    links = read(folder)
    return links[-1].link if links else NO_LINK


def sealed_head(folder: Path) -> str | None:
    """The last link; None while no day is sealed."""
    found = head(folder)
    return None if found == NO_LINK else found


def append(folder: Path, make: Callable[[list[Link], str], Link | None]) -> Link | None:
    """Adds a line, also while another process adds one. make: gets the lines and the last link, and
    gives the new line without its own, or None. A line that a crash cut off is cut away first.

    Errors: Damaged where a line is not what was written: nothing may follow it. OSError.
    """
    file = open_file(folder / CHAIN)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        raw = os.pread(file, os.fstat(file).st_size, 0)
        whole = raw.rfind(b"\n") + 1
        if whole < len(raw):
            os.ftruncate(file, whole)
        links: list[Link] = []
        for number, link, problem in examined(folder):
            if problem or link is None:
                raise Damaged(
                    f"line {number} of {CHAIN} {problem}: move {CHAIN} away, so that a new chain "
                    "begins"
                )
            links.append(link)
        link = make(links, links[-1].link if links else NO_LINK)
        if link is None:
            return None
        link = msgspec.structs.replace(link, link=link.computed())
        _write(file, msgspec.json.encode(link) + b"\n", whole)
        return link
    finally:
        os.close(file)


def _write(file: int, line: bytes, at: int) -> None:
    try:
        done = os.pwrite(file, line, at)
        if done != len(line):
            raise OSError(28, "No space left on device")
        os.fsync(file)
    except OSError:
        os.ftruncate(file, at)
        raise


def digest(path: Path) -> tuple[str, int]:
    """The SHA-256 of a file, and its size in bytes. Errors: OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
