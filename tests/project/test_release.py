"""`make release` in a clone of its own: up to the tag and no further, or nothing at all."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ME = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")


def git(where: Path, *args: str) -> str:
    command = ["git", *ME, "-C", str(where), *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """This tree as a repository of its own, clean, with one commit."""
    where = tmp_path / "clone"
    where.mkdir()
    listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, where / name)
    changelog = where / "CHANGELOG.md"
    _, _, older = changelog.read_text("utf-8").partition("\n## Unreleased\n")
    older = "\n## " + older.split("\n## ", 1)[1] if "\n## " in older else ""
    changelog.write_text(f"# Changelog\n\n## Unreleased\n- **Something** new.\n{older}", "utf-8")
    git(where, "init", "--quiet", "--initial-branch", "main")
    for key, value in (("user.name", "tests"), ("user.email", "tests@localhost")):
        git(where, "config", key, value)
    git(where, "add", "--all")
    git(where, "commit", "--quiet", "-m", "all")
    return where


def make(where: Path, version: str, skip: str = "check test") -> subprocess.CompletedProcess[str]:
    """`make release` with this environment's tools, as no .venv is in the clone."""
    bin_ = Path(sys.executable).parent
    command = ["make", "--silent", "release", f"VERSION={version}", f"RELEASE_SKIP={skip}"]
    return subprocess.run(
        [*command, f"BIN={bin_}", "STAMP="], cwd=where, capture_output=True, text=True
    )


def state(where: Path) -> tuple[str, str, str]:
    return git(where, "rev-parse", "HEAD"), git(where, "tag"), git(where, "status", "--porcelain")


def test_it_writes_builds_commits_and_tags(clone: Path) -> None:
    done = make(clone, "99.0.0")
    assert done.returncode == 0, done.stderr
    wheel, sdist = done.stdout.split()
    assert (clone / wheel).is_file()
    assert (clone / sdist).is_file()
    assert git(clone, "describe", "--exact-match") == "v99.0.0"
    assert git(clone, "cat-file", "-t", "v99.0.0") == "tag"
    assert git(clone, "status", "--porcelain") == ""
    assert sorted(git(clone, "show", "--name-only", "--format=").split()) == [
        "CHANGELOG.md",
        "qtctl/__init__.py",
    ]
    changelog = (clone / "CHANGELOG.md").read_text("utf-8")
    section = r"## Unreleased\n\n## 99\.0\.0 \(\d{4}-\d\d-\d\d\)\n- \*\*Something\*\* new\.\n"
    assert re.search(section, changelog), changelog[:200]
    assert '__version__ = "99.0.0"' in (clone / "qtctl" / "__init__.py").read_text("utf-8")
    # A second one right after it has nothing to say.
    again = make(clone, "99.0.1")
    assert again.returncode != 0
    assert 'nothing under "Unreleased"' in again.stderr


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("", "usage"),
        ("1.2", "not of the form x.y.z"),
        ("1.2.3rc1", "not of the form x.y.z"),
        ("0.0.1", "not greater than the current version"),
        ("98.0.0", "the tag v98.0.0 exists"),
    ],
)
def test_a_version_that_can_not_be_is_refused(clone: Path, version: str, why: str) -> None:
    git(clone, "tag", "v98.0.0")
    before = state(clone)
    refused = make(clone, version)
    assert refused.returncode != 0
    assert why in refused.stderr
    assert state(clone) == before


def test_a_version_that_the_changelog_has_is_refused(clone: Path) -> None:
    with (clone / "CHANGELOG.md").open("a", encoding="utf-8") as changelog:
        changelog.write("\n## 97.0.0 (2026-01-01)\n- Old.\n")
    git(clone, "commit", "--quiet", "-am", "old")
    assert "has a section 97.0.0" in make(clone, "97.0.0").stderr


def test_a_tree_with_changes_is_refused(clone: Path) -> None:
    (clone / "left-over").write_text("x", "utf-8")
    before = state(clone)
    refused = make(clone, "99.0.0")
    assert refused.returncode != 0
    assert "not clean" in refused.stderr
    assert state(clone) == before


def test_a_check_that_fails_leaves_everything_as_it_was(clone: Path) -> None:
    with (clone / "Makefile").open("a", encoding="utf-8") as makefile:
        makefile.write("\ncheck:\n\tfalse\n")
    git(clone, "commit", "--quiet", "-am", "a check that fails")
    before = state(clone)
    failed = make(clone, "99.0.0", skip="test")
    assert failed.returncode != 0
    assert "nothing committed: make check exited" in failed.stderr
    assert state(clone) == before


def test_a_wheel_that_lacks_a_file_is_refused(clone: Path) -> None:
    project = clone / "pyproject.toml"
    text = project.read_text("utf-8")
    project.write_text(
        text.replace(
            'packages = ["qtctl"]\n', 'packages = ["qtctl"]\nexclude = ["qtctl/wire/lua/*.lua"]\n'
        ),
        "utf-8",
    )
    git(clone, "commit", "--quiet", "-am", "a wheel without scripts")
    before = state(clone)
    refused = make(clone, "99.0.0")
    assert refused.returncode != 0
    assert "commit_permit.lua" in refused.stderr
    assert state(clone) == before
