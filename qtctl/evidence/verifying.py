"""Whether a folder of evidence is what was written: every file against the manifest, the manifest
against its digest. Needs nothing but the folder: no history, no settings, no Redis.

Nothing outside the folder is read, whatever its manifest or its links say.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from qtctl.errors import NotFoundError, UsageError
from qtctl.evidence.manifest import (
    BLANK,
    CHAIN,
    FORMAT,
    INDEX,
    MANIFEST,
    About,
    Entry,
    Made,
    Manifest,
)  # fmt: skip
from qtctl.history import chain, sealing
from qtctl.history import folder as folders
from qtctl.history import verify as days
from qtctl.history.chain import Link

_MOST_BYTES = 4 << 20
_HEX, _DIGEST = re.compile(r"[0-9a-f]{64}"), re.compile(rb"[0-9a-f]{64}")
Status = Literal["ok", "differs", "missing", "extra"]
MADE_ANEW = (
    "whether all of it was made anew, its manifest included: the digest that was written down when "
    "it was made (--digest) tells"
)
NO_HISTORY = (
    "whether the figures are those of the history: --history DIR compares the hashes of the days, "
    "and report, replay and readiness on a copy give the same files again"
)
NO_DAYS = "whether this is that history: no day was sealed yet when the evidence was made"
OPEN_DAYS = "what a day held that was not sealed yet when this was made: it has no hash"


class Finding(msgspec.Struct, frozen=True):
    """A file, a line of the chain, or a day of the history, and how it stands."""

    file: str
    status: Status
    detail: str


class Verification(msgspec.Struct, frozen=True):
    """What was found. digest: of the manifest as it is, None where it can't be read, as are made
    and about; cannot_know: what such a folder can't tell by itself."""

    verified: bool
    digest: str | None
    made: Made | None
    about: About | None
    findings: list[Finding]
    cannot_know: list[str]


def digest_of(text: str) -> str:
    """A digest as it was typed. Errors: UsageError."""
    found = text.strip().lower()
    if not _HEX.fullmatch(found):
        raise UsageError(f"--digest {text[:80]!r} is not a SHA-256: 64 hexadecimal digits")
    return found


def check(folder: Path, digest: str | None = None, history: Path | None = None) -> Verification:
    """Checks a folder. digest: what its manifest must have; history: a folder whose days must be
    those that the evidence names.

    Errors: NotFoundError where one of them is no folder; ConfigError where a history can't be read.
    """
    if not folder.is_dir():
        raise NotFoundError(f"no evidence in {folder}: 'qtctl evidence export' writes such folders")
    found = dict(_walked(folder))
    manifest, own, problem = _manifest(folder, found)
    findings: list[Finding] = []
    links: list[Link] = []
    if manifest is not None:
        findings += _files(folder, found, manifest)
        right = {each.file for each in findings if each.status == "ok"}
        if digest is not None and own != digest:
            problem = f"its SHA-256 is {own}, not the digest that was given"
        elif INDEX in right:
            problem = _shown(folder, own)
        if CHAIN in right:
            links, broken = _links(folder, manifest.about.chain)
            findings += [Finding(CHAIN, "differs", broken)] if broken else []
    status: Status = "differs" if problem else "ok"
    if MANIFEST not in found:
        status = "missing"
    findings.insert(0, Finding(MANIFEST, status, problem or f"SHA-256 {own}"))
    if history is not None:
        findings += _compared(links, history)
    unknown = [MADE_ANEW] if digest is None else []
    if history is None:
        unknown.append(NO_HISTORY)
    elif not links:
        unknown.append(NO_DAYS)
    return Verification(
        all(each.status == "ok" for each in findings),
        own or None,
        None if manifest is None else manifest.made,
        None if manifest is None else manifest.about,
        findings,
        [] if manifest is None else [*unknown, OPEN_DAYS],
    )


# The folder ---------------------------------------------------------------------------------------


def _walked(folder: Path, below: str = "") -> Iterator[tuple[str, str]]:
    """The path of everything in it, with what is wrong with it as such, "" where nothing is. No
    link is followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as problem:
        yield below.rstrip("/") or ".", f"can't be read: {problem.strerror}"
        return
    for entry in entries:
        name = below + entry.name
        if entry.is_symlink():
            yield name, "is a symbolic link"
        elif entry.is_dir(follow_symlinks=False):
            inside = list(_walked(Path(entry.path), f"{name}/"))
            yield from inside or [(f"{name}/", "is an empty folder")]
        elif entry.is_file(follow_symlinks=False):
            yield name, ""
        else:
            yield name, "is no file"


def _open(path: Path) -> int:
    """A descriptor of a regular file, whatever took its place since. Errors: OSError."""
    # Without O_NONBLOCK a pipe that nobody writes to would hold it for ever.
    found = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(0, "it is no file")
    return found


def _hashed(path: Path) -> tuple[str, int]:
    with os.fdopen(_open(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def _manifest(folder: Path, found: Mapping[str, str]) -> tuple[Manifest | None, str, str]:
    """The manifest, its digest, and what is wrong with it."""
    if MANIFEST not in found:
        return None, "", "without it nothing can be verified"
    if found[MANIFEST]:
        return None, "", found[MANIFEST]
    try:
        with os.fdopen(_open(folder / MANIFEST), "rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as problem:
        return None, "", f"can't be read: {problem.strerror}"
    own = hashlib.sha256(raw).hexdigest()
    if len(raw) > _MOST_BYTES:
        return None, "", f"is over {_MOST_BYTES >> 20} MiB: this is no manifest"
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        return None, own, f"is no manifest of evidence: {problem}"
    if manifest.evidence != FORMAT:
        return None, own, f"has format {manifest.evidence}, and this qtctl knows {FORMAT}"
    names = [each.name for each in manifest.files]
    if len({*names, MANIFEST}) <= len(names) or INDEX not in names:
        return None, own, "names a file twice, or itself, or no index.html"
    return manifest, own, ""


def _files(folder: Path, found: Mapping[str, str], manifest: Manifest) -> Iterator[Finding]:
    """Each file of the manifest, then what is there beside them."""
    listed = {each.name: each for each in manifest.files}
    # By the names that the walk found: a name with .. leads nowhere.
    gone = {name: each for name, each in listed.items() if name not in found}
    beside = [name for name in found if name not in listed and name != MANIFEST]
    renamed = {name: _was(folder / name, gone) for name in beside if not found[name]}
    for name, each in listed.items():
        if name in gone:
            now = next((new for new, old in renamed.items() if old == name), None)
            yield Finding(name, "missing", f"it is there as {now}" if now else "its file is gone")
        elif found[name]:
            yield Finding(name, "differs", found[name])
        else:
            yield _file(folder / name, each)
    for name in beside:
        was = renamed.get(name)
        detail = found[name] or (
            f"it is {was}, renamed" if was else "the manifest has no such file"
        )
        yield Finding(name, "extra", detail)


def _was(path: Path, gone: Mapping[str, Entry]) -> str | None:
    """The missing file whose content this one has."""
    try:
        size = path.lstat().st_size
        alike = {each.sha256: name for name, each in gone.items() if each.bytes == size}
        return alike.get(_hashed(path)[0]) if alike else None
    except OSError:
        return None


def _file(path: Path, entry: Entry) -> Finding:
    try:
        own, size = _index(path, entry) if entry.name == INDEX else _hashed(path)
    except OSError as wrong:
        return Finding(entry.name, "differs", f"can't be read: {wrong.strerror}")
    if own != entry.sha256:
        return Finding(
            entry.name, "differs",
            f"SHA-256 {own[:16]}…, {size:,} bytes instead of {entry.sha256[:16]}…, "
            f"{entry.bytes:,} bytes",
        )  # fmt: skip
    return Finding(entry.name, "ok", f"SHA-256 {own}")


def _index(path: Path, entry: Entry) -> tuple[str, int]:
    """As `_hashed`, of the page as it was before it got a digest."""
    raw = _whole(path)
    for shown in {*_DIGEST.findall(raw)}:
        if raw.count(shown) == 1:
            found = hashlib.sha256(raw.replace(shown, BLANK.encode())).hexdigest()
            if found == entry.sha256:
                return found, len(raw)
    return hashlib.sha256(raw).hexdigest(), len(raw)


def _shown(folder: Path, digest: str) -> str:
    """What is wrong with the digest on the page, which is as it was written otherwise."""
    if digest.encode() in _whole(folder / INDEX):
        return ""
    return f"its SHA-256 is {digest}, and {INDEX} shows another: one of the two was changed"


def _whole(path: Path) -> bytes:
    with os.fdopen(_open(path), "rb") as file:
        return file.read()


# The days -----------------------------------------------------------------------------------------


def _links(folder: Path, head: str | None) -> tuple[list[Link], str]:
    """The chain in the folder, and what is wrong with it. head: what the manifest calls its last
    link."""
    links = []
    for number, link, problem in chain.examined(folder):
        if problem or link is None:
            return [], f"line {number} {problem}"
        links.append(link)
    last = links[-1].link if links else None
    if last != head:
        return [], f"ends with {last or 'nothing'}, and the manifest says {head or 'no head'}"
    return links, ""


def _compared(links: Sequence[Link], history: Path) -> Iterator[Finding]:
    """The days of the evidence beside those of a history."""
    folders.days_in(history)
    theirs = chain.read(history)
    for number, link in enumerate(links):
        there = theirs[number].link if number < len(theirs) else "not there"
        if there != link.link:
            detail = f"line {number + 1} of its chain is {there}, and was {link.link}"
            yield Finding(f"history, {link.day}", "differs", detail)
            return
    named = sealing.kept_days(links)
    for each in days.verify(history):
        if each.what in named:
            status: Status = "differs" if each.status == "differs" else "ok"
            detail = f"pruned since: {each.detail}" if each.status == "pruned" else each.detail
            yield Finding(f"history, {each.what}", status, detail)
