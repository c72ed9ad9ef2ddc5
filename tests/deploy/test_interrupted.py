"""Killed in the middle, or failed in the middle: told, finished, or undone."""

import os
from pathlib import Path

import pytest

from qtctl.deploy.host import Host, State
from tests.deploy.hosts import Staging, tree

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
