"""The manifest of a folder of evidence: what it is about, and the SHA-256 of every file in it.

Its own SHA-256 is the digest of the whole. index.html shows that digest, so that its hash in the
manifest is the one of the page with BLANK in the digest's place.
"""

import hashlib

import msgspec

FORMAT = 1
MANIFEST, INDEX, CHAIN = "manifest.json", "index.html", "chain.jsonl"
BLANK = "0" * 64


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file. name: its path in the folder, with `/`; what: what it is, for people."""

    name: str
    what: str
    bytes: int
    sha256: str


class LeftOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not in it, and why."""

    what: str
    why: str


class Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When (epoch ms, by the clock of the host), by whom (`user@host`), by which qtctl."""

    at_ms: int
    by: str
    version: str
    commit: str


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the evidence is about. since_ms, until_ms: the window of report and replay; symbols: of
    report and readiness, none for all; verdict: that of readiness; parity: True where everything
    came out again, None where nothing could be judged; policy: its digest; chain: the head of the
    history's chain, None while no day was sealed; proofs: `12 passed, 0 failed`, None without."""

    since_ms: int
    until_ms: int
    symbols: list[str]
    synthetic: bool
    verdict: str
    parity: bool | None
    policy: str
    chain: str | None
    proofs: str | None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole."""

    evidence: int
    made: Made
    about: About
    left_out: list[LeftOut]
    files: list[Entry]


def encode(manifest: Manifest) -> bytes:
    """The content of manifest.json."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()
