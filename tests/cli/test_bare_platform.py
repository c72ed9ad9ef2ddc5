"""Without a user, a home or a folder to write in: one line that names the variable to set."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from qtctl.cli.main import run
from tests.support.processes import QTCTL

NOBODY = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]
READ_ONLY = [
    "unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
    # Whatever lies on a mount of its own below it becomes read-only too.
    'mount --bind "$STATE" "$STATE"; mount -o remount,ro,bind / && '
    'for at in /tmp /var/tmp /dev/shm; do '
    'mountpoint -q "$at" && mount -o remount,ro,bind "$at"; done; exec "$@"',
    "sh",
]  # fmt: skip


def ended(prefix: list[str], *args: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*prefix, *QTCTL, *args],
        env={"PATH": os.environ["PATH"], "QTCTL_CONFIG": os.devnull, **environ},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def needed(prefix: list[str], **environ: str) -> None:
    there = subprocess.run(
        [*prefix, "true"], env={**os.environ, **environ}, capture_output=True, check=False
    )
    if there.returncode:
        pytest.skip("no namespaces here")


@pytest.mark.parametrize(
    "args", [("serve", "all", "--embedded", "--once"), ("status", "--redis-url", "embedded:")]
)
def test_a_user_id_without_a_user_or_a_home(args: tuple[str, ...]) -> None:
    needed(NOBODY)
    without = ended(NOBODY, *args)
    assert without.returncode == 5
    assert without.stderr.startswith("qtctl: no HOME, and this user id has no home directory: set")
    assert "STATE_DIRECTORY" in without.stderr
    assert without.stderr.count("\n") == 1


def test_a_read_only_root_works_with_a_state_directory(tmp_path: Path) -> None:
    needed(READ_ONLY, STATE=str(tmp_path))
    served = ended(
        READ_ONLY,
        *("serve", "all", "--embedded", "--once"),
        STATE=str(tmp_path),
        STATE_DIRECTORY=str(tmp_path),
    )
    assert served.returncode == 0, served.stderr
    without = ended(
        READ_ONLY, "serve", "all", "--embedded", "--once", STATE=str(tmp_path), HOME="/"
    )
    assert without.returncode == 5
    assert "set STATE_DIRECTORY" in without.stderr


def test_no_folder_for_temporary_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    assert run(["demo"], {"QTCTL_CONFIG": os.devnull}) == 5
    assert capsys.readouterr().err.splitlines()[-1] == (
        "qtctl: no folder for temporary files can be written: set TMPDIR to one that can"
    )


def test_a_folder_for_temporary_files_that_takes_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    assert run(["demo"], {"QTCTL_CONFIG": os.devnull}) == 5
    assert "no temporary folder can be made in /proc" in capsys.readouterr().err
