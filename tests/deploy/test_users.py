"""The user and group of the services: made by systemd-sysusers from a packaged file, before any
file is touched, and only after the yes."""

import os
import subprocess
from pathlib import Path

import pytest

from qtctl.deploy import planning, users
from tests.deploy.hosts import ETC, Live, Staging
from tests.support.debian import needed

FILE = ETC / "sysusers.d" / "qtctl.conf"
_SYSUSERS = """\
#!/bin/sh
echo "$*" >> "{state}/sysusers"
[ -e "{state}/fail-sysusers" ] && {{ echo "no room in /etc/passwd" >&2; exit 1; }}
[ -e "{state}/idle-sysusers" ] || touch "{state}/user-is-there"
"""


@pytest.fixture
def bare(live: Live, monkeypatch: pytest.MonkeyPatch) -> Live:
    """A host without the user, and with a systemd-sysusers that makes it (whom the tests run as
    stands for it)."""
    there = live.state / "user-is-there"
    monkeypatch.setattr(users, "creates", lambda user: True)
    monkeypatch.setattr(planning, "_user_exists", there.exists)
    script = live._bin / "systemd-sysusers"
    script.write_text(_SYSUSERS.format(state=live.state))
    script.chmod(0o755)
    return live


def asked(host: Live) -> list[str]:
    file = host.state / "sysusers"
    return file.read_text().splitlines() if file.exists() else []


def test_it_is_made_before_the_first_file_and_its_files_are_its_own(bare: Live) -> None:
    said = bare.ok("deploy")
    assert "create user and group " in said.out
    assert asked(bare) == [str(FILE)]
    place = bare.file("/etc/quantum/governor.env")
    assert place.stat().st_gid == os.getgid()
    assert bare.file(users.PATH).read_bytes() == FILE.read_bytes()
    # Once: with the user there, nothing is made and nothing is to do.
    assert "Nothing to do" in bare.ok("deploy").err
    assert len(asked(bare)) == 1


@pytest.mark.parametrize("option", ["--dry-run", "--no-input"])
def test_without_a_yes_nobody_is_made(bare: Live, option: str) -> None:
    said = bare("deploy", option)
    assert said.code == (0 if option == "--dry-run" else 4)
    assert "create user and group" in said.out
    assert asked(bare) == []
    assert bare.ids() == []


@pytest.mark.parametrize("how", ["fail", "idle", "gone"])
def test_where_it_can_not_be_made_nothing_is_done(bare: Live, how: str) -> None:
    if how == "gone":
        (bare._bin / "systemd-sysusers").unlink()
        bare.environ = lambda: {"PATH": str(bare._bin), "QTCTL_CONFIG": os.devnull}  # type: ignore[method-assign]
    else:
        (bare.state / f"{how}-sysusers").touch()
    said = bare("deploy")
    assert said.code == 4
    assert "useradd --system" in said.err
    assert {"fail": "no room in /etc/passwd", "idle": "", "gone": "is not installed"}[
        how
    ] in said.err
    assert bare.ids() == []
    assert not bare.file("/etc").exists()


def test_a_folder_gets_the_file_and_no_user(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a user of the stager's own host")

    monkeypatch.setattr(users, "create", never)
    staging.ok("deploy")
    assert staging.file(users.PATH).read_bytes() == FILE.read_bytes()
    staging.ok("rollback")
    assert not staging.file(users.PATH).exists()


def test_systemd_makes_of_the_file_a_user_without_a_shell(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    program = needed("systemd-sysusers")
    for _ in range(2):  # the second time it changes nothing
        subprocess.run([program, f"--root={tmp_path}", str(FILE)], check=True, capture_output=True)
        (user,) = (tmp_path / "etc" / "passwd").read_text().splitlines()
        name, _, uid, gid, _, home, shell = user.split(":")
        assert (name, home, shell) == ("qt", "/", "/usr/sbin/nologin")
        assert 0 < int(uid) < 1000
        assert f"qt:x:{gid}:" in (tmp_path / "etc" / "group").read_text()
