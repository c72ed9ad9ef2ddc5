"""`qtctl evidence verify`: what is not as it was written is named, on any machine, to the byte."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.evidence import FILES, copied, digest, exported, market
from tests.support.cli import Cli


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """No Redis anywhere."""
    return Cli("redis://127.0.0.1:1/0", capsys)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return market(tmp_path_factory.mktemp("market") / "h")


@pytest.fixture(scope="module")
def folder(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(history, tmp_path_factory.mktemp("evidence") / "e")


def test_what_is_unchanged_verifies_anywhere(
    cli: Cli, folder: Path, history: Path, tmp_path: Path
) -> None:
    there = shutil.copytree(folder, tmp_path / "there")
    bare = {"HOME": "/nonexistent", "QTCTL_CONFIG": "/dev/null"}
    said = cli.ok("evidence", "verify", str(there), environ=bare)
    assert "verified: 16 checks, nothing differs" in said.out
    assert digest(folder) in said.out
    assert "made anew" in said.err
    assert "--history" in said.err
    said = cli.ok("evidence", "verify", str(there), "--digest", digest(folder).upper(),
                  "--history", str(history), environ=bare)  # fmt: skip
    assert "made anew" not in said.err
    assert "no hash" in said.err


@pytest.mark.parametrize("name", sorted(FILES))
def test_one_changed_byte_is_found_in_every_file(
    cli: Cli, folder: Path, tmp_path: Path, name: str
) -> None:
    def flip(there: Path) -> None:
        raw = bytearray((there / name).read_bytes())
        raw[len(raw) // 2] ^= 1
        (there / name).write_bytes(raw)

    there = copied(folder, tmp_path / "e", flip)
    found = cli("evidence", "verify", str(there), "-o", "json")
    assert found.code == 1
    assert found.json["verified"] is False
    wrong = {each["file"] for each in found.json["findings"] if each["status"] != "ok"}
    assert wrong == {name} or (name == "manifest.json" and name in wrong)


def _anew(there: Path, digest_too: bool = False) -> None:
    """The report and its hash are changed; with digest_too the page as well."""
    before = digest(there)
    report = there / "report.json"
    old = hashlib.sha256(report.read_bytes()).hexdigest()
    report.write_bytes(report.read_bytes().replace(b'"synthetic": true', b'"synthetic": null'))
    new = hashlib.sha256(report.read_bytes()).hexdigest()
    assert new != old
    manifest = there / "manifest.json"
    manifest.write_text(manifest.read_text().replace(old, new))
    if digest_too:
        page = there / "index.html"
        page.write_text(page.read_text().replace(before, digest(there)))


def _pipe(there: Path) -> None:
    """It would hold whoever opens it for ever."""
    (there / "report.json").unlink()
    os.mkfifo(there / "report.json")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda e: (e / "gaps.json").unlink(), {"gaps.json": "missing"}),
        (lambda e: (e / "manifest.json").unlink(), {"manifest.json": "missing"}),
        (lambda e: (e / "more.txt").touch(), {"more.txt": "extra"}),
        (lambda e: (e / ".hidden").touch(), {".hidden": "extra"}),
        (lambda e: (e / "proof").mkdir(), {"proof/": "extra"}),
        (lambda e: os.mkfifo(e / "pipe"), {"pipe": "extra"}),
        (
            lambda e: (e / "report.json").rename(e / "old.json"),
            {"report.json": "missing", "old.json": "extra"},
        ),
        (
            lambda e: (
                (e / "report.json").rename(e.parent / "r")
                and (e / "report.json").symlink_to(e.parent / "r")
            ),
            {"report.json": "differs"},
        ),
        (_pipe, {"report.json": "differs"}),
        (
            lambda e: (
                (e / "manifest.json").rename(e.parent / "m")
                and (e / "manifest.json").symlink_to(e.parent / "m")
            ),
            {"manifest.json": "differs"},
        ),
        (_anew, {"manifest.json": "differs"}),
    ],
)
def test_what_is_not_as_it_was_written_is_named(
    cli: Cli, folder: Path, tmp_path: Path, change: Callable[[Path], object], wrong: dict[str, str]
) -> None:
    there = copied(folder, tmp_path / "e", change)
    found = cli("evidence", "verify", str(there), "-o", "json")
    assert found.code == 1
    bad = {e["file"]: e["status"] for e in found.json["findings"] if e["status"] != "ok"}
    assert bad == wrong
    said = cli("evidence", "verify", str(there))
    assert all(name in said.out for name in wrong)


def test_a_file_that_was_renamed_is_called_so(cli: Cli, folder: Path, tmp_path: Path) -> None:
    there = copied(folder, tmp_path / "e", lambda e: (e / "report.json").rename(e / "old.json"))
    said = cli("evidence", "verify", str(there))
    assert "it is there as old.json" in said.out
    assert "it is report.json, renamed" in said.out


def test_only_the_digest_tells_what_was_made_anew(cli: Cli, folder: Path, tmp_path: Path) -> None:
    """The page's own hash is of the page without the digest: all of it is consistent again."""
    there = copied(folder, tmp_path / "e", lambda e: _anew(e, digest_too=True))
    said = cli.ok("evidence", "verify", str(there))
    assert "made anew" in said.err
    said = cli("evidence", "verify", str(there), "--digest", digest(folder))
    assert said.code == 1
    assert "not the digest that was given" in said.out


def test_a_manifest_leads_nowhere_else(cli: Cli, folder: Path, tmp_path: Path) -> None:
    def lead(there: Path) -> None:
        manifest = json.loads((there / "manifest.json").read_text())
        (there.parent / "x").write_text("x")
        manifest["files"].append({
            "name": "../x", "what": "", "bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest(),
        })  # fmt: skip
        (there / "manifest.json").write_text(json.dumps(manifest))

    there = copied(folder, tmp_path / "e", lead)
    found = cli("evidence", "verify", str(there), "-o", "json").json
    assert {"file": "../x", "status": "missing", "detail": "its file is gone"} in found["findings"]


def test_the_days_are_those_of_the_history(
    cli: Cli, folder: Path, history: Path, tmp_path: Path
) -> None:
    def verified(past: Path) -> tuple[int, str]:
        said = cli("evidence", "verify", str(folder), "--history", str(past))
        return said.code, said.out

    assert verified(history)[0] == 0
    code, out = verified(market(tmp_path / "other", seed=2))
    assert code == 1
    assert "history, 2026-01-27" in out

    def touch(there: Path) -> None:
        day = there / "2026-01-27.sqlite"
        day.chmod(0o600)
        day.write_bytes(day.read_bytes()[:-1] + b"!")

    code, out = verified(copied(history, tmp_path / "changed", touch))
    assert code == 1
    assert "not the one that was sealed" in out

    pruned = shutil.copytree(history, tmp_path / "pruned")
    cli.ok("history", "prune", "--dir", str(pruned), "--set", "history.keep_days=1")
    assert not (pruned / "2026-01-27.sqlite").exists()
    assert verified(pruned)[0] == 0
