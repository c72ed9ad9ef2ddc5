"""Every file that a page or a docstring names is there."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUFFIX = r"\.(?:py|lua|md|toml|json|conf|yml|service|env)\b"
PATH = re.compile(r"(?<![\w./{-])((?:[\w.-]+/)+[\w-]+" + SUFFIX + ")")
BARE = re.compile(r"(?<![\w./{*-])(\w+\.(?:py|lua))\b(?!/)")
BASES = ("", "qtctl", "docs", "qtctl/cli", "qtctl/wire")
ELSEWHERE = re.compile(r"^(etc/quantum|run|var|opt|proof|out|tmp|home|usr|prod)/|^\.|site-packages")
"""Paths on a host, or of what a command writes."""


def named(text: str) -> set[str]:
    """The paths that a text names, those on a host aside."""
    paths = {path for path in PATH.findall(text) if not ELSEWHERE.search(path)}
    return paths | (set(BARE.findall(text)) - {"wire.lua"})  # that one is a room


@cache
def tracked(*patterns: str) -> list[Path]:
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run([*command, "--", *patterns], check=True, capture_output=True, text=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def there(path: str, where: Path) -> bool:
    if "/" not in path:
        return path in {file.name for file in tracked("*")}
    return any((base / path).exists() for base in (where.parent, *(ROOT / base for base in BASES)))


@pytest.mark.parametrize("kind", ["*.md", "qtctl/*.py", "qtctl/*.lua", "docs/*.py"])
def test_every_file_that_is_named_exists(kind: str) -> None:
    files = tracked(kind)
    assert files
    gone = {
        f"{file.relative_to(ROOT)}: {path}"
        for file in files
        if file.name not in ("CHANGELOG.md", "test_paths.py")
        for path in named(file.read_text("utf-8"))
        if not there(path, file)
    }
    assert not gone, "\n".join(sorted(gone))


def test_a_module_that_moved_would_be_noticed() -> None:
    assert named("as `wire/symbols.py` says (docs/rules.md#names)") == {
        "wire/symbols.py",
        "docs/rules.md",
    }
    assert not there("wire/symbols.py", ROOT / "README.md")


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = set()
    for file in tracked("*.md"):
        for link in re.findall(r"\]\(([^)\s]+)\)", file.read_text("utf-8")):
            target, _, anchor = link.partition("#")
            if "://" in link:
                continue
            page = file.parent / target if target else file
            if not page.exists() or (anchor and anchor not in anchors(page)):
                broken.add(f"{file.relative_to(ROOT)}: {link}")
    for file in tracked("qtctl/*.py", "qtctl/*.lua", "docs/*.py"):
        for target, anchor in re.findall(r"(docs/[\w-]+\.md)#([\w-]*\w)", file.read_text("utf-8")):
            if anchor not in anchors(ROOT / target):
                broken.add(f"{file.relative_to(ROOT)}: {target}#{anchor}")
    assert not broken, "\n".join(sorted(broken))


def anchors(page: Path) -> set[str]:
    """What can follow `#`: the headings as GitHub makes ids of them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE):
        found.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return found


def test_nothing_refers_to_a_document_that_is_not_here() -> None:
    outside = re.compile(r"\b(sections? [1-8]|(the|of the) (specification|seed)\b)", re.IGNORECASE)
    found = {
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in tracked("qtctl", "docs", "tests", "etc", "units", "*.md")
        if file.suffix != ".svg" and file.name != "test_paths.py"
        for match in outside.finditer(file.read_text("utf-8"))
    }
    assert not found, "\n".join(sorted(found))
