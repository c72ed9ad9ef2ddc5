"""Killed in the middle, or failed in the middle: told, finished, or undone."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qtctl.deploy.host import Host, State
from qtctl.deploy.records import Record, Records
from tests.deploy.hosts import KEPT, Staging, tree

OLD = {
    "/etc/quantum/governor.env": "GOV_MAX_EXEC_PER_HOUR=3\n",
    "/etc/systemd/system/quantum-governor.service": "[Service]\nExecStart=/bin/old\n",
    "/etc/systemd/system/quantum-governor.service.d/local.conf": "[Service]\nNice=1\n",
}
LAST = 8
"""Files that a deployment below always changes: settings, units, the link to qtctl, two links."""


def dies(staging: Staging, at: int, *args: str) -> None:
    """Run a command in a process that dies without a word as it writes its at-th file."""
    real = Host.write
    count = 0

    def write(host: Host, path: str, wanted: State) -> None:
        nonlocal count
        count += 1
        if count == at:
            os._exit(9)
        real(host, path, wanted)

    child = os.fork()
    if child == 0:
        Host.write = write  # type: ignore[assignment, method-assign]
        try:
            staging(*args)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.fixture
def old(staging: Staging) -> Staging:
    for path, text in OLD.items():
        staging.put(path, text)
    return staging


@pytest.mark.parametrize("at", range(1, LAST + 1))
def test_a_deployment_that_was_killed_is_finished_or_undone(
    old: Staging, tmp_path: Path, at: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(old.root)
    straight = Staging(tmp_path / "straight", capsys)
    for path, text in OLD.items():
        straight.put(path, text)
    straight.ok("deploy", "--replace-config")

    dies(old, at, "deploy", "--replace-config")
    said = old("deploy")
    assert said.code == 4
    assert "is not finished (it was interrupted)" in said.err
    assert "'qtctl deploy --finish' finishes it, 'qtctl rollback' restores" in said.err
    assert old("deploy", "--finish", "--dry-run").code == 2
    old.ok("deploy", "--finish")
    assert tree(old.root) == tree(straight.root)
    old.ok("rollback")
    assert tree(old.root) == before

    dies(old, at, "deploy", "--replace-config")
    old.ok("rollback")
    assert tree(old.root) == before


@pytest.mark.parametrize("at", [1, 4, LAST])
def test_a_rollback_that_was_killed_is_finished_or_undone(old: Staging, at: int) -> None:
    before = tree(old.root)
    old.ok("deploy", "--replace-config")
    deployed = tree(old.root)
    dies(old, at, "rollback")
    said = old("deploy")
    assert said.code == 4
    assert "'qtctl rollback --finish' finishes it" in said.err
    old.ok("rollback", old.ids()[-1])
    assert tree(old.root) == deployed
    for again in (("rollback", "--finish"), ("rollback",)):
        dies(old, at, "rollback")
        old.ok(*again)
        assert tree(old.root) == before
        assert old("rollback", "--finish").code == 4
        old.ok("deploy", "--replace-config")


def test_a_file_that_somebody_changed_meanwhile_is_not_overwritten(old: Staging) -> None:
    dies(old, 3, "deploy", "--replace-config")
    old.put("/etc/systemd/system/quantum-governor.service", "[Service]\nExecStart=/bin/newer\n")
    said = old("deploy", "--finish")
    assert said.code == 1
    assert "somebody else has changed /etc/systemd/system/quantum-governor.service" in said.err
    old.ok("rollback")
    for path, text in OLD.items():
        assert old.file(path).read_text() == text


@pytest.mark.parametrize("at", [1, 3, LAST])
def test_a_file_that_cannot_be_written_stops_it_with_the_state_named(
    old: Staging, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    before = tree(old.root)
    real, count = Host.write, 0

    def write(host: Host, path: str, wanted: State) -> None:
        nonlocal count
        count += 1
        if count == at:
            raise OSError(28, "No space left on device")
        real(host, path, wanted)

    with monkeypatch.context() as patch:
        patch.setattr(Host, "write", write)
        said = old("deploy", "--replace-config")
    assert said.code == 1
    assert f"step {at} of " in said.err
    assert "No space left on device" in said.err
    assert ("no file was changed" if at == 1 else f"steps 1 to {at - 1} are done") in said.err
    old.ok("rollback")
    assert tree(old.root) == before


def test_nothing_is_changed_when_the_files_cannot_be_saved(
    old: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(old.root)

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qtctl.deploy.records._write", full)
    said = old("deploy", "--replace-config")
    assert said.code == 1
    assert "nothing was changed" in said.err
    assert tree(old.root) == before
    monkeypatch.undo()
    old.ok("deploy", "--replace-config")
    old.ok("rollback")
    assert tree(old.root) == before


def test_a_file_is_never_half_written(old: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written goes to another name first; what is left of that does no harm."""
    unit = old.file("/etc/systemd/system/quantum-governor.service")
    left = unit.with_name(f".{unit.name}.qtctl-new")
    left.write_text("half")

    def fails(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("qtctl.deploy.host.os.fsync", fails)
        assert old("deploy").code == 1
    assert unit.read_text() == OLD["/etc/systemd/system/quantum-governor.service"]
    old("rollback")
    old.ok("deploy")
    assert not left.exists()


OLD_SECRET, NEW_SECRET = "0ld-s3cret", "n3w-s3cret"
STEPS = {
    "open", "os.chmod", "os.chown", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink",
    "os.truncate", "os.utime", "shutil.rmtree",
}  # fmt: skip
"""What Python announces (sys.addaudithook) of all that can change a file."""


def killed(staging: Staging, at: int, *args: str) -> bool:
    """Run a command in a process that ends, as by SIGKILL, before its at-th step on a file below
    the root; False where it has fewer steps."""
    count = 0

    def step(event: str, given: tuple[object, ...]) -> None:
        nonlocal count
        if event not in STEPS:
            return
        there = any(str(staging.root) in str(each) for each in given[:2])
        by_descriptor = isinstance(given[0], int)  # os.fchmod and the like
        reading = event == "open" and not int(str(given[2] or 0)) & (os.O_WRONLY | os.O_RDWR)
        if (there or by_descriptor) and not reading:
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        sys.addaudithook(step)
        code = 99
        try:
            code = staging(*args).code
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def with_secrets(root: Path, capsys: pytest.CaptureFixture[str], etc: Path) -> Staging:
    """A host with a password in its settings, and a folder of settings with another."""
    staging = Staging(root, capsys)
    for path, text in OLD.items():
        staging.put(path, text)
    toml = '[redis]\nurl = "redis://u:{}@127.0.0.1/0"\n'
    staging.put("/etc/quantum/qtctl.toml", toml.format(OLD_SECRET), 0o640)
    etc.mkdir(exist_ok=True)
    (etc / "qtctl.toml").write_text(toml.format(NEW_SECRET))
    return staging


def holders(staging: Staging, secret: str) -> set[str]:
    """Where the text is below the root, but for the private objects of records."""
    found = set()
    for path in staging.root.rglob("*"):
        if path.is_file() and not path.is_symlink() and secret.encode() in path.read_bytes():
            name = str(path.relative_to(staging.root))
            if not re.match(rf"{KEPT}/2[^/]*/objects/", name):
                found.add(name)
    return found


EVERY = 1 if os.environ.get("TESTS_LONG") == "1" else 5
"""Every fifth step; all of them in the long form."""


def test_a_deployment_killed_at_any_step_leaves_nothing_after_the_rollback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # a kill loses nothing: be quick
    etc = tmp_path / "given"
    for at in range(1, 1000, EVERY):
        staging = with_secrets(tmp_path / f"host{at}", capsys, etc)
        before = tree(staging.root)
        if not killed(staging, at, "deploy", "--etc", str(etc)):
            break
        began = staging.ids()
        said = staging("rollback")
        assert said.code == (0 if began else 1), (at, said)
        assert tree(staging.root) == before, at
        assert holders(staging, NEW_SECRET) == set(), at
        assert holders(staging, OLD_SECRET) == {"etc/quantum/qtctl.toml"}, at
        kept = {"lock", *staging.ids()}
        assert set(staging.names(f"/{KEPT}")) == kept, at
        for id in staging.ids():
            assert staging.names(f"/{KEPT}/{id}") == ["manifest.json", "objects"], at
        if at % 10 < EVERY:
            staging.ok("deploy")  # and nothing is in the way
        shutil.rmtree(staging.root)
    assert at > 80, at


def test_a_rollback_killed_at_any_step_leaves_nothing_after_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # a kill loses nothing: be quick
    deployed = with_secrets(tmp_path / "host", capsys, tmp_path / "given")
    before = tree(deployed.root)
    deployed.ok("deploy", "--etc", str(tmp_path / "given"))
    for at in range(1, 1000, EVERY):
        staging = Staging(tmp_path / f"host{at}", capsys)
        shutil.copytree(deployed.root, staging.root, symlinks=True)
        if not killed(staging, at, "rollback"):
            break
        said = staging("rollback")
        if said.code != 0:  # it was killed with nothing left to do
            assert "there is no deployment to undo" in said.err, (at, said)
        assert tree(staging.root) == before, at
        assert holders(staging, NEW_SECRET) == set(), at
        assert holders(staging, OLD_SECRET) == {"etc/quantum/qtctl.toml"}, at
        for id in staging.ids():
            assert staging.names(f"/{KEPT}/{id}") == ["manifest.json", "objects"], at
        shutil.rmtree(staging.root)
    assert at > 60, at


def test_a_killed_write_is_tidied_up_by_the_next_deployment_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    staging = with_secrets(tmp_path / "host", capsys, tmp_path / "given")
    left = staging.put("/etc/quantum/.qtctl.toml.qtctl-new", NEW_SECRET)
    dies(staging, 2, "deploy", "--etc", str(tmp_path / "given"))
    assert staging("deploy").code == 4  # not finished, and yet tidy
    assert not left.exists()


FULL = """
set -e
mkdir -p "$1"
mount -t tmpfs -o size=3m none "$1"
mkdir -p "$1/etc" "$1/var"
[ "$2" = one ] || mount -t tmpfs -o size=1m none "$1/etc"
mkdir -p "$1/etc/quantum"
echo GOV_MAX_EXEC_PER_HOUR=3 > "$1/etc/quantum/governor.env"
fill() {
    for folder in "$1" "$1/etc"; do
        cat /dev/zero > "$folder/filler" 2>/dev/null || true
        if echo x > "$folder/more" 2>/dev/null; then echo "not full" >&2; exit 1; fi
        rm -f "$folder/more"
    done
}
deploy() { "$3" -m qtctl deploy --root "$1" --yes --replace-config; }
if [ "$4" = full ]; then
    fill "$1"
    deploy "$@" || echo "deploy exits $?"
    find "$1" -name '.*' -o -name '2*Z'
    exit
fi
deploy "$@" > /dev/null
fill "$1"
"$3" -m qtctl rollback --root "$1" --yes > /dev/null
cat "$1/etc/quantum/governor.env"
find "$1" -type f | sed "s#^$1##" | sort
"""


def on_a_full_disk(root: Path, disks: str, *more: str) -> str:
    """Run the script above on file systems of its own."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("only root may mount a small file system")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", FULL, "sh", str(root), disks, sys.executable, *more],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("disks", ["one", "two"])
def test_a_rollback_needs_no_room_on_a_full_disk(tmp_path: Path, disks: str) -> None:
    said = on_a_full_disk(tmp_path / "host", disks)
    lines = said.splitlines()
    assert lines[0] == "GOV_MAX_EXEC_PER_HOUR=3"
    left = [line for line in lines if line.startswith("/") and f"/{KEPT}/" not in line]
    assert left == ["/etc/filler", "/etc/quantum/governor.env", "/filler"]
    assert not [line for line in lines if "reserve" in line]


def test_a_deployment_to_a_full_disk_changes_and_leaves_nothing(tmp_path: Path) -> None:
    said = on_a_full_disk(tmp_path / "host", "two", "full")
    assert "deploy exits" in said
    assert "nothing was changed" in said or "nothing was done" in said
    assert not [line for line in said.splitlines() if line.startswith(str(tmp_path))]


@pytest.mark.parametrize(("state", "finish"), [("applied", True), ("done", False)])
def test_a_disk_that_fills_before_the_progress_is_kept_is_told(
    old: Staging, monkeypatch: pytest.MonkeyPatch, state: str, finish: bool
) -> None:
    before = tree(old.root)
    real = Records.update

    def update(records: Records, record: Record, now: str, failure: str = "") -> Record:
        if now == state:
            raise OSError(28, "No space left on device")
        return real(records, record, now, failure)

    with monkeypatch.context() as patch:
        patch.setattr(Records, "update", update)
        said = old("deploy", "--replace-config")
    assert said.code == 1
    assert "can't be written: No space left on device. State: all files are in place" in said.err
    assert ("to continue: qtctl deploy --finish" in said.err) == finish
    old.ok("rollback")
    assert tree(old.root) == before
