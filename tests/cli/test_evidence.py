"""`qtctl evidence export`: a folder that holds what the commands print, whole or not at all."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qtctl.evidence import policy as policies
from tests.cli.evidence import FILES, MIDNIGHT_MS, digest, exported, market, names
from tests.support.cli import NO_FILE, Cli

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


def test_synthetic_and_the_policy_stand_beside_the_verdict(cli: Cli, folder: Path) -> None:
    said = cli.ok("evidence", "verify", str(folder))
    assert "NOT READY (SYNTHETIC)" in said.out
    assert f"{policies.load(None).digest}, the default" in said.out


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
