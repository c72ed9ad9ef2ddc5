#!/usr/bin/env python3
"""Makes a release, up to the tag: `make release VERSION=x.y.z`. It never pushes.

Refuses unless the tree is clean, the version is new and greater than the current one, and
CHANGELOG.md has something under "Unreleased". Then: CHANGELOG and version, `make check` and
`make test`, wheel and sdist into dist/, a look into both, a commit and an annotated tag. If a step
fails, both files are put back and nothing is committed. RELEASE_SKIP="test" (or "check test")
leaves those out, where they have just passed.
"""

import email
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG = ROOT / "CHANGELOG.md"
INIT = ROOT / "qtctl" / "__init__.py"
DIST = ROOT / "dist"
UNRELEASED = "## Unreleased\n"
_VERSION_LINE = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


class Refused(Exception):  # noqa: N818 - the word that the output has
    """A release that can't be made: the message says why and what to do."""


def main(args: list[str]) -> int:
    """0 done; 1 refused or failed; 2 usage."""
    if len(args) != 1 or not args[0]:
        print("usage: make release VERSION=x.y.z", file=sys.stderr)
        return 2
    try:
        release(args[0])
    except Refused as why:
        print(f"release refused: {why}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as failed:
        command = " ".join(map(str, failed.cmd))
        print(
            f"release failed, nothing committed: {command} exited {failed.returncode}",
            file=sys.stderr,
        )
        return 1
    return 0


def release(version: str) -> None:
    """All steps. Either there is a commit and a tag in the end, or nothing has changed."""
    changes = check(version)
    before = {path: path.read_text("utf-8") for path in (CHANGELOG, INIT)}
    try:
        today = datetime.now(UTC).date().isoformat()
        heading = f"## {version} ({today})\n"
        CHANGELOG.write_text(
            before[CHANGELOG].replace(UNRELEASED, f"{UNRELEASED}\n{heading}", 1), "utf-8"
        )
        INIT.write_text(_VERSION_LINE.sub(f'__version__ = "{version}"', before[INIT]), "utf-8")
        skipped = os.environ.get("RELEASE_SKIP", "").split()
        for target in ("check", "test"):
            if target not in skipped:
                run("make", target)
        wheel, sdist = build(version)
        verify_wheel(wheel, version)
        verify_sdist(sdist, version)
        git("add", "--", *map(str, before))
        git("commit", "--quiet", "-m", f"Release {version}\n\n{changes}")
    except BaseException:
        git("reset", "--quiet", "--", *map(str, before))
        for path, text in before.items():
            path.write_text(text, "utf-8")
        raise
    git("tag", "--annotate", f"v{version}", "-m", f"qtctl {version}")
    print(f"{wheel.relative_to(ROOT)}\n{sdist.relative_to(ROOT)}")
    print(f"tagged v{version}; publish with: git push --follow-tags", file=sys.stderr)


def check(version: str) -> str:
    """What the release contains, from CHANGELOG.md. Raises Refused where it can't be made."""
    wanted = parsed(version)
    if git("status", "--porcelain"):
        raise Refused("the working tree is not clean: commit or stash first (git status)")
    if git("tag", "--list", f"v{version}"):
        raise Refused(f"the tag v{version} exists")
    changelog = CHANGELOG.read_text("utf-8")
    if re.search(rf"^## {re.escape(version)}\b", changelog, re.MULTILINE):
        raise Refused(f"CHANGELOG.md has a section {version}")
    current = _VERSION_LINE.search(INIT.read_text("utf-8"))
    if current is None:
        raise Refused("qtctl/__init__.py has no line __version__ = …")
    if wanted <= parsed(current[1]):
        raise Refused(f"{version} is not greater than the current version {current[1]}")
    _, mark, rest = changelog.partition(UNRELEASED)
    if not mark:
        raise Refused('CHANGELOG.md has no section "Unreleased"')
    changes = rest.split("\n## ", 1)[0].strip()
    if not changes:
        raise Refused('CHANGELOG.md has nothing under "Unreleased": say what changed')
    return changes


def parsed(version: str) -> tuple[int, ...]:
    """x.y.z as numbers. Raises Refused for anything else."""
    match = re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", version)
    if match is None:
        raise Refused(f"{version!r} is not of the form x.y.z")
    return tuple(map(int, match.groups()))


def build(version: str) -> tuple[Path, Path]:
    """Wheel and sdist in dist/; those of other versions stay."""
    run(sys.executable, "-m", "hatchling", "build", "-d", str(DIST), "-t", "sdist", "-t", "wheel")
    return DIST / f"qtctl-{version}-py3-none-any.whl", DIST / f"qtctl-{version}.tar.gz"


def verify_wheel(wheel: Path, version: str) -> None:
    """The wheel has every file of the package, what `deploy` installs, and true metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"qtctl-{version}.dist-info"
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    wanted = set(tracked("qtctl"))
    wanted |= {f"qtctl/packaged/{name}" for name in tracked("units", "etc")}
    found = {name for name in names if not name.startswith(f"{info}/")}
    if found != wanted:
        raise Refused(f"the wheel differs from the repository: {', '.join(sorted(found ^ wanted))}")
    if (metadata["Name"], metadata["Version"]) != ("qtctl", version):
        raise Refused(f"the wheel says it is {metadata['Name']} {metadata['Version']}")
    if "qtctl = qtctl.__main__:main" not in entry_points:
        raise Refused("the wheel has no command `qtctl`")
    if f"{info}/licenses/LICENSE" not in names:
        raise Refused("the wheel has no licence")


def verify_sdist(sdist: Path, version: str) -> None:
    """The sdist has every tracked file, so that it can be tested and built from."""
    with tarfile.open(sdist) as archive:
        names = {name.removeprefix(f"qtctl-{version}/") for name in archive.getnames()}
    lacking = set(tracked("qtctl", "tests", "docs", "etc", "units")) - names
    lacking |= {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"} - names
    if lacking:
        raise Refused(f"the sdist lacks {', '.join(sorted(lacking))}")


def tracked(*folders: str) -> list[str]:
    """The files below these folders that git knows."""
    return git("ls-files", "--", *folders).splitlines()


def git(*args: str) -> str:
    """What git prints."""
    return subprocess.run(
        ["git", "-C", str(ROOT), *args], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def run(*command: str) -> None:
    """A step, its output on stderr: stdout has the files alone."""
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
