"""`qtctl evidence`: a folder that holds what the commands print, whole or not at all, and that
verifies anywhere, to the byte."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qtctl.evidence import policy as policies
from tests.cli.evidence import MIDNIGHT_MS, copied, exported, market
from tests.support.cli import NO_FILE, Cli

FILES = {
    "chain.jsonl", "gaps.json", "halts.json", "index.html", "manifest.json", "policy.toml",
    "readiness.html", "readiness.json", "replay.html", "replay.json", "report.html", "report.json",
    "servers.json", "services.json", "settings.json", "versions.json",
}  # fmt: skip
PROOFS = {"proof/junit.xml", "proof/proof.json", "proof/report.html"}


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


def names(folder: Path) -> set[str]:
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


# Export -------------------------------------------------------------------------------------------


def test_it_holds_everything_and_says_what_it_lacks(folder: Path) -> None:
    assert names(folder) == FILES
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {each["name"] for each in manifest["files"]} == FILES - {"manifest.json"}
    assert [each["what"] for each in manifest["left_out"]] == [
        "proofs", "hashes of days that are not sealed yet",
    ]  # fmt: skip
    settings = json.loads((folder / "settings.json").read_text())
    assert {each["service"] for each in settings["in_force"]} == {"allocation", "governor"}
    assert {each["settings"] for each in settings["in_force"]} <= set(settings["settings"])
    assert settings["rules"]
    assert settings["limits"]
    assert [each["what"] for each in json.loads((folder / "halts.json").read_text())] == [
        "halted", "resumed",
    ]  # fmt: skip
    written = policies.load(folder / "policy.toml").digest
    assert written == manifest["about"]["policy"] == policies.load(None).digest


def test_a_person_begins_at_a_page_that_needs_nothing(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    assert page.count(digest(folder)) == 1
    links = set(re.findall(r"href='([^'#]+)'", page))
    assert links == FILES - {"index.html"}
    assert not re.search(r"<script|https?:|<link|<img|\son\w+=|url\(", page)
    for words in ("NOT READY", "SYNTHETIC", "drill over", "2026-01-27", "not sealed", "by policy"):
        assert words in page


def test_the_commands_on_the_page_give_the_same_files(
    cli: Cli, folder: Path, history: Path
) -> None:
    lines = re.findall(r"qtctl (re\w+) (--dir HISTORY .*) \| cmp - (\w+\.json)",
                       (folder / "index.html").read_text())  # fmt: skip
    assert [name for *_, name in lines] == ["report.json", "replay.json", "readiness.json"]
    for command, args, name in lines:
        words = args.replace("HISTORY", str(history)).replace(
            "policy.toml", str(folder / "policy.toml")
        )
        said = cli(command, *words.split())
        assert said.out == (folder / name).read_text(), name


def test_the_same_history_gives_the_same_files(folder: Path, history: Path, tmp_path: Path) -> None:
    again = exported(history, tmp_path / "e")
    for name in names(again) - {"index.html", "manifest.json"}:
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name


def test_settings_that_changed_stand_there_one_by_one(cli: Cli, tmp_path: Path) -> None:
    from qtctl.history.rows import Batch, Document, ServiceRow
    from qtctl.history.store import Store

    past = market(tmp_path / "h")
    at = MIDNIGHT_MS + 600_000
    with Store(past, synthetic=True) as store:
        row = ServiceRow(at, "changed", "governor", "sim-governor", "0.2", "h", 1, at, "other")
        store.write(Batch(services=[row], documents=[Document(
            "settings", "other", b'{"max_exec_per_hour":9}')]))  # fmt: skip
    found = exported(past, tmp_path / "e")
    (change,) = json.loads((found / "settings.json").read_text())["changes"]
    assert (change["at_ms"], change["version"]) == (at, "0.2")
    assert {"setting": "max_exec_per_hour", "before": 3, "after": 9} in change["changed"]
    assert "max_exec_per_hour 3 → 9" in (found / "index.html").read_text()


def test_no_password_is_in_it(cli: Cli, tmp_path: Path) -> None:
    from qtctl.history.rows import Batch, HaltRow
    from qtctl.history.store import Store

    past = market(tmp_path / "h")
    with Store(past, synthetic=True) as store:
        why = "redis://op:hunter2hunter2@prod/0 is down, and so is pa&ss'word"
        store.write(Batch(halts=[HaltRow(MIDNIGHT_MS, "halted", "all", "k", "1", "op", why)]))
    out = tmp_path / "e"
    cli.ok("evidence", "export", "--no-proofs", "--dir", str(past), "--out", str(out),
           environ={"QTCTL_REDIS_PASSWORD": "pa&ss'word"})  # fmt: skip
    for name in names(out):
        for secret in (b"hunter2", b"pa&ss", b"pa&amp;ss"):
            assert secret not in (out / name).read_bytes(), name
    assert b"is down" in (out / "index.html").read_bytes()
    cli.ok("evidence", "verify", str(out))


def test_the_proofs_run_or_come_from_a_folder(cli: Cli, history: Path, tmp_path: Path) -> None:
    words = ("evidence", "export", "--dir", str(history), "-o", "json")
    first = cli.ok(*words, "--out", str(tmp_path / "a")).json
    assert first["about"]["proofs"] == "12 passed, 0 failed"
    assert names(tmp_path / "a") == FILES | PROOFS
    proof = tmp_path / "a/proof"
    cli.ok(*words, "--out", str(tmp_path / "b"), "--proofs", str(proof))
    for name in PROOFS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    cli.ok("evidence", "verify", str(tmp_path / "b"))
    (proof / "proof.json").write_text("{}")
    said = cli(*words, "--out", str(tmp_path / "c"), "--proofs", str(proof))
    assert (said.code, said.out) == (1, "")
    assert not (tmp_path / "c").exists()


def test_modes_are_those_of_the_umask(history: Path, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        out = exported(history, tmp_path / "e")
    finally:
        os.umask(before)
    assert out.stat().st_mode & 0o777 == 0o750
    assert {each.stat().st_mode & 0o777 for each in out.iterdir()} == {0o640}


def test_nothing_is_replaced(cli: Cli, history: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    for out in ("full", "full/x", "full/x/y"):
        said = cli("evidence", "export", "--no-proofs", "--dir", str(history),
                   "--out", str(tmp_path / out))  # fmt: skip
        assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert names(tmp_path) == {"full/x"}


def test_a_full_disk_is_one_line_and_leaves_nothing(
    cli: Cli, history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = cli("evidence", "export", "--no-proofs", "--dir", str(history),
               "--out", str(tmp_path / "e"))  # fmt: skip
    assert (said.code, said.out, len(said.err.splitlines())) == (1, "", 1)
    assert "No space left on device" in said.err
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from qtctl.cli.main import run
sync, left = os.fsync, [9]
def dying(file):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(file)
os.fsync = dying
run(sys.argv[1:])
"""


def test_a_kill_leaves_nothing_that_verifies(cli: Cli, history: Path, tmp_path: Path) -> None:
    out = tmp_path / "e"
    words = ["evidence", "export", "--no-proofs", "--dir", str(history), "--out", str(out)]
    ended = subprocess.run([sys.executable, "-c", KILLED, *words], env={**os.environ, **NO_FILE})
    assert ended.returncode == -signal.SIGKILL
    assert not out.exists()
    (left,) = tmp_path.iterdir()
    assert cli("evidence", "verify", str(left)).code == 1
    cli.ok(*words)
    cli.ok("evidence", "verify", str(out))


# Verify -------------------------------------------------------------------------------------------


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
