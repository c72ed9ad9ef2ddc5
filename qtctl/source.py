"""Which source this program was made from, for reports."""

from pathlib import Path

UNKNOWN = "an installed package"


def commit(root: Path = Path(__file__).parents[1]) -> str:
    """`commit 0123456789ab`: of the checkout that this runs from; UNKNOWN without one."""
    git = root / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        ref = head.removeprefix("ref: ")
        found = head if ref == head else _resolved(git, ref)
    except OSError:
        return UNKNOWN
    return f"commit {found[:12]}" if found else UNKNOWN


def _resolved(git: Path, ref: str) -> str:
    loose = git / ref
    if loose.is_file():
        return loose.read_text().strip()
    for line in (git / "packed-refs").read_text().splitlines():
        digest, _, name = line.partition(" ")
        if name == ref:
            return digest
    return ""
