"""The units, by systemd's own judgement and by what must stand in them."""

import re
import subprocess
from pathlib import Path

import pytest

from qtctl.deploy import units
from qtctl.settings.model import History
from qtctl.settings.places import UNITS_HISTORY, history_folder
from tests.deploy.hosts import UNITS
from tests.support.debian import needed

BOTH = (units.ALLOCATION, units.GOVERNOR)


def lines(unit: str) -> list[str]:
    return (UNITS / unit).read_text().splitlines()


def test_every_unit_is_there() -> None:
    assert sorted(path.name for path in UNITS.iterdir()) == sorted(units.UNITS)


@pytest.mark.parametrize("unit", units.UNITS)
def test_systemd_accepts_the_unit(unit: str) -> None:
    done = subprocess.run(
        [needed("systemd-analyze"), "verify", str(UNITS / unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("dropin", [False, True], ids=["plain", "below-home"])
@pytest.mark.parametrize("unit", units.UNITS)
def test_its_exposure_is_at_most_one_and_a_half(unit: str, dropin: bool, tmp_path: Path) -> None:
    """Also with what is added where qtctl is installed below /home."""
    text = (UNITS / unit).read_text()
    if dropin:
        text += "[Service]\nProtectHome=tmpfs\nBindReadOnlyPaths=/home/qt/qtctl\n"
    (tmp_path / unit).write_text(text)
    command = [needed("systemd-analyze"), "security", "--offline=true", "--no-pager"]
    done = subprocess.run(
        [*command, str(tmp_path / unit)], capture_output=True, text=True, check=True
    )
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert score is not None
    assert float(score[1]) <= 1.5


@pytest.mark.parametrize("unit", units.UNITS)
def test_the_unit_notifies_readiness_and_has_a_watchdog(unit: str) -> None:
    wanted = {
        "Type=notify",
        "NotifyAccess=main",
        "Restart=always",
        "User=qt",
        "Group=qt",
        "Environment=QTCTL_CONFIG=/etc/quantum/qtctl.toml",
        f"ExecStart=/usr/bin/env qtctl serve {units.SERVICE[unit]}",
    }
    assert wanted <= set(lines(unit))
    assert any(line.startswith("WatchdogSec=") for line in lines(unit))
    # A name and no path: a password that is not there is no error.
    assert f"LoadCredential=redis-password:{unit.removesuffix('.service')}.redis-password" in lines(
        unit
    )


@pytest.mark.parametrize("unit", BOTH)
def test_each_loop_alone_has_its_environment_file_and_leaves_the_other_way(unit: str) -> None:
    name = unit.removeprefix("quantum-").removesuffix(".service")
    # Without a dash: no file, no start, rather than other limits.
    assert f"EnvironmentFile=/etc/quantum/{name}.env" in lines(unit)
    assert "Conflicts=qtctl.service" in lines(unit)


def test_all_in_one_has_no_environment_file_and_conflicts_with_the_others() -> None:
    assert not any(line.startswith("EnvironmentFile") for line in lines(units.SINGLE))
    others = units.LAYOUTS["separate"]
    assert f"Conflicts={' '.join(others)}" in lines(units.SINGLE)
    assert all("Conflicts=qtctl.service" in lines(unit) for unit in others)


@pytest.mark.parametrize("unit", [units.RECORDER, units.SINGLE])
def test_the_history_has_a_folder_that_the_group_may_read(unit: str) -> None:
    """What qtctl makes of $STATE_DIRECTORY, and where a reader without it looks."""
    (named,) = [it.partition("=")[2] for it in lines(unit) if it.startswith("StateDirectory=")]
    assert "StateDirectoryMode=0750" in lines(unit)
    environ = {"STATE_DIRECTORY": ":".join(f"/var/lib/{each}" for each in named.split())}
    assert history_folder(History(), environ) == UNITS_HISTORY
    (umask,) = [it.partition("=")[2] for it in lines(unit) if it.startswith("UMask=")]
    assert int(umask, 8) & 0o007 == 0o007


def test_the_recorder_may_do_nothing_that_the_governor_may_not() -> None:
    """But for its folder and its own password, which the governor has as well."""
    own = {"ExecStart", "LoadCredential", "SyslogIdentifier", "StateDirectory",
           "StateDirectoryMode", "UMask", "Description", "EnvironmentFile"}  # fmt: skip
    both = [
        {line for line in lines(unit) if "=" in line and not line.startswith("#")
         and line.partition("=")[0] not in own}
        for unit in (units.RECORDER, units.GOVERNOR)
    ]  # fmt: skip
    assert both[0] == both[1]


def test_a_unit_is_read_as_systemd_reads_it() -> None:
    text = """
    [Unit]
    Environment=NOT=HERE
    [Service]
    Environment="A=1 2" B=3
    EnvironmentFile=/gone
    EnvironmentFile=
    EnvironmentFile=-/etc/quantum/p32.env
    # Environment=C=4
    ExecStart=/usr/bin/qtctl serve governor \\
      # a comment between
      --set governor.min_conf=0.7 --config=/x.toml
    """
    dropin = "[Service]\nEnvironment=B=4\n"
    found = units.sources([text, dropin])
    assert found.variables == {"A": "1 2", "B": "4"}
    assert found.files == [("/etc/quantum/p32.env", True)]
    assert found.config == "/x.toml"
    assert found.sets == ("governor.min_conf=0.7",)
    assert units.sources([text, "[Service]\nEnvironment=\n"]).variables == {}
