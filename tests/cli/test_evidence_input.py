"""What report, replay, readiness and evidence make of input that can't be: one line, the exit code
of docs/cli.md, never a number from nothing. And of a copy: the same, to the byte, without Redis."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from qtctl.history.rows import Batch, Gap
from qtctl.history.store import Store
from tests.cli.evidence import MIDNIGHT_MS, market
from tests.support.cli import Cli

COMMANDS = {
    "report": ("report",),
    "replay": ("replay",),
    "readiness": ("readiness",),
    "evidence": ("evidence", "export", "--no-proofs", "--out", "OUT"),
}


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """No Redis anywhere."""
    return Cli("redis://127.0.0.1:1/0", capsys)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return market(tmp_path_factory.mktemp("market") / "h")


def refused(cli: Cli, tmp_path: Path, command: str, code: int, words: str, *args: str) -> None:
    out = tmp_path / "out"
    said = cli(*(str(out) if word == "OUT" else word for word in COMMANDS[command]), *args)
    assert (said.code, said.out) == (code, ""), said
    assert words in said.err
    assert len(said.err.splitlines()) == 1, said.err
    assert not out.exists()


def _of_format(version: int) -> Callable[[Path, Path], object]:
    def make(past: Path, folder: Path) -> None:
        shutil.copytree(past, folder)
        for day in folder.glob("*.sqlite"):
            day.chmod(0o600)
            with sqlite3.connect(day) as db:
                db.execute(f"PRAGMA user_version = {version}")
            db.close()

    return make


def _gaps(past: Path, folder: Path) -> None:
    with Store(folder) as store:
        store.write(
            Batch(gaps=[Gap("trimmed", MIDNIGHT_MS, MIDNIGHT_MS + 9, "s", 3, "", MIDNIGHT_MS)])
        )


FOLDERS: dict[str, tuple[Callable[[Path, Path], object], int, str]] = {
    "nowhere": (lambda past, folder: None, 1, "no history in"),
    "a file": (lambda past, folder: folder.touch(), 1, "no history in"),
    "empty": (lambda past, folder: folder.mkdir(), 1, "nothing is recorded in"),
    "gaps": (_gaps, 1, "nothing is recorded in"),
    "newer": (_of_format(99), 4, "newer qtctl"),
    "older": (_of_format(0), 4, "older qtctl"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_that_is_no_history(cli: Cli, history: Path, tmp_path: Path, kind: str) -> None:
    make, code, words = FOLDERS[kind]
    folder = tmp_path / "h"
    make(history, folder)
    for command in COMMANDS:
        refused(cli, tmp_path, command, code, words, "--dir", str(folder))


@pytest.mark.parametrize(
    ("commands", "args", "code", "words"),
    [
        ("report replay evidence", ("--since", "1h", "--until", "2h"), 2, "later than --until"),
        ("report replay evidence", ("--since", "2030-01-01"), 1, "nothing was recorded"),
        ("report replay evidence", ("--since", "nan"), 2, "not a time"),
        ("report replay evidence", ("--until", "2001-01-01"), 2, "and 2001-01-01 00:00:00Z"),
        ("readiness", ("--until", "2001-01-01"), 1, "nothing was recorded"),
        ("report readiness evidence", ("--symbols", "NOSUCH"), 1, "symbol NOSUCH is in no pass"),
        ("report readiness evidence", ("--symbols", "a b"), 2, "whitespace"),
        ("replay", ("--sweep", "allocation.scale=1:2:nan"), 2, "KEY=FROM:TO:STEP"),
        ("replay", ("--sweep", "allocation.scale=1:2:-1"), 2, "STEP over 0"),
        ("replay", ("--sweep", "allocation.min_mult=1:2:0.5"), 2, "over allocation.max_mult 1.5"),
        ("evidence", ("--proofs", "/nowhere"), 2, "exclude each other"),
    ],
)
def test_windows_symbols_and_values(
    cli: Cli, history: Path, tmp_path: Path, commands: str, args: tuple[str, ...], code: int,
    words: str,
) -> None:  # fmt: skip
    for command in commands.split():
        refused(cli, tmp_path, command, code, words, *args, "--dir", str(history))


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("[gates]\nnosuch = 3", "unknown gate 'nosuch': known are window"),
        ("[gates\n", "is not TOML"),
        ("[gates]\nok = '0.9'", "gates.ok = '0.9': allowed are 0 to 1"),
        ("[gates]\nok = -1", "allowed are 0 to 1"),
        ("[gates]\nok = nan", "allowed are 0 to 1"),
        ("[gates]\nok = true", "allowed are 0 to 1"),
        ("[gates]\nwindow = 0", "allowed are 0.01 to"),
        ("[follow]\nstep_limit = 0", "allowed are 0.0001 to"),
        ("gates = 3", "must be a table"),
        ("[nope]\n", "unknown table [nope]"),
    ],
)
def test_policies(cli: Cli, history: Path, tmp_path: Path, policy: str, words: str) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(policy)
    for command in ("readiness", "evidence"):
        refused(cli, tmp_path, command, 5, words, "--policy", str(file), "--dir", str(history))


def test_a_policy_that_is_a_folder(cli: Cli, history: Path, tmp_path: Path) -> None:
    args = ("--policy", str(tmp_path), "--dir", str(history))
    refused(cli, tmp_path, "readiness", 5, "Is a directory", *args)


def test_a_symbol_in_lower_case_is_the_same_symbol(cli: Cli, history: Path) -> None:
    for command in ("report", "readiness"):
        upper, lower = (
            cli(command, "--dir", str(history), "--symbols", symbol, "-o", "json").json
            for symbol in ("BTCUSDT", "btcusdt")
        )
        assert upper == lower
        assert [each["symbol"] for each in upper["symbols"]] == ["BTCUSDT"]


def test_the_last_of_two_values_counts(cli: Cli, history: Path) -> None:
    key = "governor.max_exec_per_hour"
    twice = ("--set", f"{key}=5", "--set", f"{key}=6")
    found = cli.ok("replay", "--dir", str(history), *twice, "-o", "json").json
    assert found["settings"] == {key: {"recorded": 3, "replayed": 6}}


def test_a_copy_on_another_machine_gives_the_same_to_the_byte(
    cli: Cli, history: Path, tmp_path: Path
) -> None:
    """There: another home, no settings, no Redis; here by the settings, as on the host itself."""
    copy = tmp_path / "copy"
    cli.ok("history", "copy", "--dir", str(history), str(copy))
    settings = tmp_path / "qtctl.toml"
    settings.write_text("[governor]\nmax_exec_per_hour = 7\n[allocation]\nscale = 2.0\n")
    here = {"QTCTL_HISTORY_DIR": str(history), "QTCTL_CONFIG": str(settings)}
    there = {"HOME": str(tmp_path / "nobody"), "QTCTL_HISTORY_DIR": ""}
    for args in (
        ("readiness",),
        ("readiness", "--symbols", "BTCUSDT"),
        ("report",),
        ("report", "--since", "30m"),
        ("replay",),
        ("replay", "--set", "governor.max_exec_per_hour=9", "--sweep", "allocation.scale=1:2:1"),
    ):
        ours = cli(*args, "-o", "json", environ=here)
        theirs = cli(*args, "-o", "json", "--dir", str(copy), environ=there)
        assert ours.out.startswith("{")
        assert (theirs.code, theirs.out) == (ours.code, ours.out), args
