"""Whether the history is what was written: the chain, and every day against it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from qtctl.history import chain, opening, sealing
from qtctl.history import folder as folders
from qtctl.history.chain import Link
from qtctl.history.damage import Damaged
from qtctl.history.sealing import kept_days


class Finding(msgspec.Struct, frozen=True):
    """What was checked. what: `line 3 of chain.jsonl`, or a day; status: `ok`, `pruned`, `open`
    (not sealed yet: nothing to compare with) or `differs`; detail: what is wrong, or what was
    found."""

    what: str
    status: str
    detail: str


def verify(folder: Path) -> Iterator[Finding]:
    """Checks the chain first, then each day in order. Errors: NotFoundError, ConfigError."""
    present = folders.days_in(folder)
    links: list[Link] = []
    for number, link, problem in chain.examined(folder):
        if problem or link is None:
            yield Finding(f"line {number} of {folders.CHAIN}", "differs", problem)
        else:
            links.append(link)
    kept = kept_days(links)
    pruned = {link.day: link for link in links if link.what == "pruned"}
    for day in sorted({*present, *kept, *pruned}):
        if day in kept:
            yield _sealed(folder, kept[day])
        elif day in present:
            yield _open(folder, day, pruned.get(day))
        else:
            yield Finding(day, "pruned", pruned[day].why)


def _sealed(folder: Path, link: Link) -> Finding:
    path = folders.day_path(folder, link.day)
    try:
        found, size = chain.digest(path)
    except FileNotFoundError:
        return Finding(link.day, "differs", "its file is gone")
    except OSError as problem:
        return Finding(link.day, "differs", f"it can't be read: {problem.strerror}")
    if found != link.sha256:
        return Finding(
            link.day, "differs",
            f"its file is not the one that was sealed: SHA-256 {found[:16]}…, {size:,} bytes "
            f"instead of {link.sha256[:16]}…, {link.bytes:,} bytes",
        )  # fmt: skip
    return Finding(link.day, "ok", f"SHA-256 {found}")


def _open(folder: Path, day: str, pruned: Link | None) -> Finding:
    if pruned is not None:
        return Finding(day, "differs", "it was pruned, and its file is there again")
    path = folders.day_path(folder, day)
    try:
        with (
            opening.located(path) as uri,
            closing(sqlite3.connect(uri, uri=True)) as db,
        ):
            (result,) = db.execute("PRAGMA quick_check(1)").fetchone()
            sealed = sealing.was_sealed(db, path)
    except (Damaged, sqlite3.DatabaseError) as problem:
        return Finding(day, "differs", str(problem))
    if result != "ok":
        return Finding(day, "differs", f"a page is damaged: {result}")
    if sealed:
        return Finding(
            day, "differs", f"it was sealed, and {folders.CHAIN} has no line for it: take that "
            "from a copy",
        )  # fmt: skip
    return Finding(day, "open", "not sealed yet; SQLite finds nothing wrong with it")
