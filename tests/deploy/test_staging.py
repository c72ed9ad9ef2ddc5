"""Deploy and rollback in a staging folder, byte for byte."""

import os
import subprocess
from pathlib import Path

import pexpect
import pytest

from qtctl.deploy.host import Host
from tests.deploy.hosts import ETC, KEPT, UNITS, Staging, Tree, tree
from tests.support.processes import QTCTL

GOVERNOR_ENV = "/etc/quantum/governor.env"
GOVERNOR_UNIT = "/etc/systemd/system/quantum-governor.service"
WANTS = "/etc/systemd/system/multi-user.target.wants"
OLD_UNIT = """\
[Unit]
Description=Governor, as it was
[Service]
ExecStart=/usr/bin/python3 /home/qt/quantum_trader/microservices/governor/main.py
EnvironmentFile=-/etc/quantum/governor.env
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def old(staging: Staging) -> Staging:
    """A host with a governor of before, its settings not ours in content, mode or line ends."""
    staging.put(GOVERNOR_UNIT, OLD_UNIT)
    staging.put(GOVERNOR_ENV, b"GOV_MAX_EXEC_PER_HOUR=2 # ours\r\nX=\xff\r\n", 0o600)
    staging.file("/usr/local/bin").mkdir(parents=True)
    staging.file("/usr/local/bin/qtctl").symlink_to("/opt/older/bin/qtctl")
    return staging


def test_what_is_installed_is_what_is_packaged(staging: Staging) -> None:
    said = staging.ok("deploy")
    for name in ("qtctl.toml", "allocation-target.env", "governor.env"):
        assert staging.file(f"/etc/quantum/{name}").read_bytes() == (ETC / name).read_bytes()
        assert staging.file(f"/etc/quantum/{name}").stat().st_mode & 0o777 == 0o640
    for unit in UNITS.iterdir():
        installed = staging.file(f"/etc/systemd/system/{unit.name}")
        assert installed.read_bytes() == unit.read_bytes()
        assert installed.stat().st_mode & 0o777 == 0o644
    assert staging.names(WANTS) == [
        "quantum-allocation-target.service",
        "quantum-governor.service",
        "quantum-recorder.service",
    ]
    # Where qtctl is on the host that the folder is for, not on this one.
    assert str(staging.file("/usr/local/bin/qtctl").readlink()) == "/opt/qtctl/bin/qtctl"
    assert "no service was touched" in said.err


def test_every_file_is_shown_before_and_reported_after(staging: Staging) -> None:
    said = staging.ok("deploy")
    kept = said.out.index("saved the current files in ")
    for name in tree(staging.root):
        if tree(staging.root)[name][0] == "folder":
            continue
        assert f"install /{name}" in said.out[:kept]
        assert f"+++ /{name}" in said.out[:kept]
        assert f" install /{name}\n" in said.out[kept:]
    numbers = [line.split("/")[0] for line in said.out[kept:].splitlines()[1:]]
    assert numbers == [str(n) for n in range(1, len(numbers) + 1)]


def test_a_second_deploy_has_nothing_to_do(staging: Staging) -> None:
    staging.ok("deploy")
    before = tree(staging.root)
    said = staging.ok("deploy")
    assert "Nothing to do" in said.err
    assert said.out == ""
    assert len(staging.ids()) == 1
    assert tree(staging.root) == before


def test_a_rollback_restores_every_byte_mode_and_link(old: Staging) -> None:
    before = tree(old.root)
    times = old.file(GOVERNOR_ENV).stat().st_mtime_ns
    old.ok("deploy", "--replace-config", "--accept-risk", "max_exec_per_hour=3")
    assert old.file(GOVERNOR_ENV).read_bytes() == (ETC / "governor.env").read_bytes()
    assert old.file(GOVERNOR_UNIT).read_bytes() == (UNITS / "quantum-governor.service").read_bytes()
    old.ok("rollback")
    assert tree(old.root) == before
    assert old.file(GOVERNOR_ENV).stat().st_mtime_ns == times


def test_an_empty_host_is_empty_again(staging: Staging) -> None:
    staging.ok("deploy")
    staging.ok("rollback")
    assert tree(staging.root) == {}


def test_settings_of_the_operator_are_kept(old: Staging) -> None:
    before = old.file(GOVERNOR_ENV).read_bytes()
    said = old.ok("deploy")
    assert f"keep {GOVERNOR_ENV}: it differs from the packaged one" in said.out
    assert old.file(GOVERNOR_ENV).read_bytes() == before
    assert old.file(GOVERNOR_ENV).stat().st_mode & 0o777 == 0o600


def test_settings_that_are_a_link_are_kept_as_a_link(staging: Staging) -> None:
    staging.put("/srv/governor.env", "GOV_MAX_EXEC_PER_HOUR=1\n")
    staging.put("/etc/quantum/allocation-target.env", "")
    staging.file(GOVERNOR_ENV).symlink_to("/srv/governor.env")
    said = staging.ok("deploy")
    assert f"keep {GOVERNOR_ENV}" in said.out
    assert staging.file(GOVERNOR_ENV).is_symlink()
    # And it is read where it leads to, on that host.
    assert "max_exec_per_hour 1 → 3" in staging("deploy", "--replace-config").out


def test_a_replaced_file_of_settings_is_shown_line_by_line_and_kept(old: Staging) -> None:
    before = old.file(GOVERNOR_ENV).read_bytes()
    said = old.ok("deploy", "--replace-config", "--accept-risk", "max_exec_per_hour=3")
    assert f"replace {GOVERNOR_ENV} (mode 0600 → 0640)" in said.out
    assert "  -GOV_MAX_EXEC_PER_HOUR=2 # ours\\x0d\n" in said.out
    kept = (old.root / KEPT / old.ids()[0] / "objects").iterdir()
    assert before in [path.read_bytes() for path in kept]


def test_edits_after_a_deploy_survive_a_rollback_that_does_not_concern_them(old: Staging) -> None:
    old.ok("deploy")
    old.put(GOVERNOR_ENV, "GOV_MAX_EXEC_PER_HOUR=2\n", 0o600)
    old.ok("rollback")
    assert old.file(GOVERNOR_ENV).read_text() == "GOV_MAX_EXEC_PER_HOUR=2\n"
    assert old.file(GOVERNOR_UNIT).read_text() == OLD_UNIT


def test_rollbacks_go_back_one_by_one_and_can_be_undone(old: Staging, tmp_path: Path) -> None:
    states: list[Tree] = [tree(old.root)]
    etc = tmp_path / "etc"
    etc.mkdir()
    for limit in (2, 1):
        (etc / "governor.env").write_text(f"GOV_MAX_EXEC_PER_HOUR={limit}\n")
        old.ok("deploy", "--etc", str(etc))
        states.append(tree(old.root))
    old.ok("rollback", "--accept-risk", "max_exec_per_hour=2")
    assert tree(old.root) == states[1]
    old.ok("rollback")
    assert tree(old.root) == states[0]
    assert "there is no deployment to undo" in old("rollback").err
    # By its id, all after it is undone with it.
    first_rollback, second_rollback = old.ids()[2:]
    old.ok("rollback", second_rollback)
    assert tree(old.root) == states[1]
    old.ok("rollback", first_rollback)
    assert tree(old.root) == states[2]
    old.ok("rollback", old.ids()[0], "--accept-risk", "max_exec_per_hour=2")
    assert tree(old.root) == states[0]


def test_the_list_shows_what_was_done(staging: Staging) -> None:
    assert "Nothing was deployed" in staging.ok("rollback", "--list").err
    staging.ok("deploy")
    staging.ok("rollback")
    rows = Staging.__call__(staging, "rollback", "--list", "-o", "json").json
    assert [(row["kind"], row["state"]) for row in rows] == [
        ("rollback", "done"),
        ("deploy", "done, undone"),
    ]
    assert rows[0]["undoes"] == [rows[1]["id"]]


def test_either_layout_can_be_chosen(staging: Staging) -> None:
    staging.ok("deploy", "--together")
    assert staging.names(WANTS) == ["qtctl.service"]
    assert "Nothing to do" in staging.ok("deploy").err
    staging.ok("deploy", "--separate")
    assert len(staging.names(WANTS)) == 3
    staging.ok("rollback")
    assert staging.names(WANTS) == ["qtctl.service"]


def test_links_of_other_targets_are_seen(staging: Staging) -> None:
    staging.put(GOVERNOR_UNIT, OLD_UNIT)
    link = staging.file("/etc/systemd/system/quantum.target.wants/quantum-governor.service")
    link.parent.mkdir()
    link.symlink_to("../quantum-governor.service")
    before = tree(staging.root)
    staging.ok("deploy", "--together")
    assert not link.is_symlink()
    staging.ok("rollback")
    assert tree(staging.root) == before


def test_dry_run_changes_nothing_at_all(old: Staging) -> None:
    before = sorted(old.root.rglob("*"))
    said = old.ok("deploy", "--dry-run")
    assert f"replace {GOVERNOR_UNIT}" in said.out
    assert sorted(old.root.rglob("*")) == before


def test_nothing_happens_without_confirmation(old: Staging) -> None:
    before = tree(old.root)
    said = old("deploy", "--no-input")
    assert said.code == 4
    assert tree(old.root) == before
    assert old.ids() == []


def test_json_is_one_document_and_the_plan_is_on_stderr(staging: Staging) -> None:
    said = staging.ok("deploy", "-o", "json")
    assert said.json["ok"] is True
    assert said.json["id"] == staging.ids()[0]
    assert {"path": GOVERNOR_ENV, "change": "new"} in said.json["changes"]
    assert said.json["steps"][-1]["number"] == len(said.json["steps"])
    assert f"+++ {GOVERNOR_ENV}" in said.err


@pytest.mark.parametrize("option", ["--config", "--redis-url", "--set"])
def test_options_that_do_not_apply_are_refused(staging: Staging, option: str) -> None:
    value = {"--set": "governor.max_exec_per_hour=1", "--config": "x", "--redis-url": "redis://x"}
    said = staging("deploy", option, value[option])
    assert said.code == 2
    assert not staging.root.exists()


def test_the_root_must_be_another_folder(staging: Staging, tmp_path: Path) -> None:
    staging.root = Path("/")
    assert "leave it out" in staging("deploy").err
    staging.root = tmp_path / "a" / "b"
    assert staging("deploy").code == 2
    assert not (tmp_path / "a").exists()
    assert staging("deploy", "--etc", str(tmp_path)).code == 2


@pytest.mark.parametrize("link", ["etc", "etc/quantum", "var/lib", "etc/systemd/system"])
def test_no_link_leads_out_of_a_staging_folder(staging: Staging, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (staging.root / link).parent.mkdir(parents=True)
    (staging.root / link).symlink_to(outside)
    said = staging("deploy")
    assert said.code == 4
    assert "leads out of" in said.err
    assert list(outside.iterdir()) == []


def test_a_link_at_the_place_of_a_file_is_replaced_not_followed(
    staging: Staging, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    staging.put("/etc/systemd/system/x", "")
    staging.file(GOVERNOR_UNIT).symlink_to(victim)
    before = tree(staging.root)
    staging.ok("deploy")
    assert victim.read_text() == "precious"
    assert not staging.file(GOVERNOR_UNIT).is_symlink()
    staging.ok("rollback")
    assert tree(staging.root) == before


def test_anything_but_a_file_is_left_alone(staging: Staging) -> None:
    staging.file(GOVERNOR_UNIT).mkdir(parents=True)
    said = staging("deploy")
    assert said.code == 4
    assert "move it away" in said.err
    assert staging.ids() == []


def test_a_masked_unit_stays_masked_in_a_staging_folder(staging: Staging) -> None:
    staging.put("/etc/systemd/system/x", "")
    staging.file(GOVERNOR_UNIT).symlink_to("/dev/null")
    said = staging("deploy")
    assert said.code == 4
    assert "systemctl unmask quantum-governor.service" in said.err


def test_two_deployments_exclude_each_other(staging: Staging) -> None:
    staging.ok("deploy")
    from qtctl.deploy.records import Records

    with Records(Host(staging.root, live=False)).locked():
        said = staging("rollback")
    assert said.code == 4
    assert f"pid {os.getpid()}" in said.err
    staging.ok("rollback")


def test_saved_files_that_were_changed_are_not_restored(old: Staging) -> None:
    old.ok("deploy")
    objects = old.root / KEPT / old.ids()[0] / "objects"
    for each in objects.iterdir():
        if each.read_text() == OLD_UNIT:
            each.write_text(OLD_UNIT + "ExecStartPre=/tmp/evil\n")
    said = old("rollback")
    assert said.code == 1
    assert "has been changed" in said.err
    assert old.file(GOVERNOR_UNIT).read_bytes() == (UNITS / "quantum-governor.service").read_bytes()


def test_saved_files_are_private(staging: Staging) -> None:
    before = os.umask(0)
    try:
        staging.ok("deploy")
    finally:
        os.umask(before)
    for path in [staging.root / KEPT, *(staging.root / KEPT).rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_ids_grow_even_if_the_clock_is_set_back(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [2_000_000_000.0]
    monkeypatch.setattr("qtctl.clock.now", lambda: now[0])
    staging.ok("deploy")
    now[0] -= 86_400
    staging.ok("rollback")
    staging.ok("deploy")
    assert staging.ids() == ["20330518T033320Z", "20330518T033321Z", "20330518T033322Z"]


def test_nothing_secret_is_shown(staging: Staging) -> None:
    staging.put(
        GOVERNOR_ENV,
        "QTCTL_REDIS_PASSWORD=hunter2\nAPI_KEY='hunter2\nhunter2'\n"
        "QTCTL_REDIS_URL=redis://u:hunter2@prod-1/0\n#OLD_TOKEN=hunter2\nB_SECRET=a\\\nhunter2\n",
    )
    staging.put(GOVERNOR_UNIT, OLD_UNIT + '[Service]\nEnvironment="X_PASSWORD=hunter2" A=1\n')
    for words in (("--dry-run",), ("-o", "json"), ("--replace-config",)):
        said = staging("deploy", *words)
        assert "hunter2" not in said.out + said.err
        assert "redis://u:***@prod-1/0" in said.out + said.err or words != ("--replace-config",)
    assert "hunter2" not in str(staging("rollback"))


def test_a_person_is_asked_and_may_agree(staging: Staging) -> None:
    command = [*QTCTL, "deploy", "--root", str(staging.root)]
    for answer, code in (("no", 4), ("y", 0)):
        child = pexpect.spawn(command[0], command[1:], encoding="utf-8", timeout=30)
        child.expect(r"Deploy this\? \[y/N\]")
        child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == code


def test_a_pipe_cannot_confirm(staging: Staging) -> None:
    command = [*QTCTL, "deploy", "--root", str(staging.root)]
    done = subprocess.run(command, input="y\n", capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "no terminal to confirm on" in done.stderr
