"""The way on a running system, with a systemctl that records what it is told."""

import os
from pathlib import Path

import pytest

from qtctl.deploy import planning, systemctl
from tests.deploy.hosts import Live, tree

A, G, R, S = (
    "quantum-allocation-target.service", "quantum-governor.service", "quantum-recorder.service",
    "qtctl.service",
)  # fmt: skip
OLD = "[Service]\nExecStart=/usr/bin/python3 main.py\n[Install]\nWantedBy=multi-user.target\n"


def test_files_then_reload_then_each_service_until_it_is_ready(live: Live) -> None:
    said = live.ok("deploy")
    assert live.calls == ["daemon-reload", *(f"restart --no-block {it}" for it in (A, G, R))]
    assert said.out.splitlines()[-1].endswith(
        f"start {R} and wait until it is ready: active (sub); it reports: working"
    )
    assert live.active() == [A, G, R]


def test_a_second_deploy_does_nothing_unless_a_service_is_down(live: Live) -> None:
    live.ok("deploy")
    live.forget()
    assert "Nothing to do" in live.ok("deploy").err
    assert live.calls == []
    live.is_(G, "failed")
    live.ok("deploy")
    assert live.calls == [f"restart --no-block {G}"]
    live.forget()
    live.ok("deploy", "--restart")
    assert live.calls == [f"restart --no-block {it}" for it in (A, G, R)]


def test_another_version_in_the_same_place_restarts_the_services(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.ok("deploy")
    live.forget()
    monkeypatch.setattr(planning, "__version__", "99.0")
    said = live.ok("deploy")
    assert f"start {G}: it may still run qtctl " in said.out
    assert live.calls == [f"restart --no-block {it}" for it in (A, G, R)]


def test_switching_to_one_process_stops_the_others_and_back(live: Live) -> None:
    live.ok("deploy")
    live.forget()
    live.ok("deploy", "--together")
    stops = [f"stop {it}" for it in (A, G, R)]
    assert live.calls == ["daemon-reload", *stops, f"restart --no-block {S}"]
    assert live.active() == [S]
    live.forget()
    live.ok("rollback")
    assert live.active() == [A, G, R]


def test_a_rollback_to_nothing_stops_before_it_removes(live: Live) -> None:
    before = tree(live.root)
    live.ok("deploy")
    live.forget()
    said = live.ok("rollback")
    assert live.calls == [*(f"stop {it}" for it in (A, G, R)), "daemon-reload"]
    assert said.out.index(f"stop {G}\n") < said.out.rindex(f"remove /etc/systemd/system/{G}")
    assert tree(live.root) == before
    assert live.active() == []


def test_a_service_that_ran_before_runs_again(live: Live) -> None:
    live.put(f"/etc/systemd/system/{G}", OLD)
    live.is_(G, "active")
    before = tree(live.root)
    live.ok("deploy")
    live.forget()
    live.ok("rollback")
    assert live.calls == [f"stop {A}", f"stop {R}", "daemon-reload", f"restart --no-block {G}"]
    assert tree(live.root) == before
    assert live.active() == [G]


def test_a_recorder_that_does_not_get_ready_leaves_the_loops_running(live: Live) -> None:
    live.becomes(R, "failed")
    said = live("deploy", "--wait", "1")
    assert said.code == 1
    assert f"start {R} and wait until it is ready, failed" in said.err
    assert live.active() == [A, G]


def test_the_recorder_goes_and_comes_with_the_setting(live: Live) -> None:
    off = "[history]\nenabled = false\n"
    toml = live.put("/etc/quantum/qtctl.toml", off, 0o640)
    live.ok("deploy")
    assert live.active() == [A, G]
    assert live.names("/etc/systemd/system/multi-user.target.wants") == [A, G]
    toml.write_text("")
    live.ok("deploy")
    assert live.active() == [A, G, R]
    toml.write_text(off)
    live.forget()
    live.ok("deploy")
    assert f"stop {R}" in live.calls
    assert live.active() == [A, G]


@pytest.mark.parametrize("state", ["failed", "flapping", "activating"])
def test_a_service_that_does_not_get_ready_is_named_with_its_state(live: Live, state: str) -> None:
    live.becomes(A, state)
    said = live("deploy", "--wait", "1")
    assert said.code == 1
    assert f"start {A} and wait until it is ready, failed" in said.err
    assert f"journalctl -u {A}" in said.err
    assert "State: all files are in place" in said.err
    assert f"systemctl restart {A} {G} {R}" in said.err
    assert f"restart --no-block {G}" not in live.calls
    assert (
        live("rollback", "--list", "-o", "json").json[0]["state"] == "files in place, services not"
    )
    # It stays possible to go on, and to go back.
    live.becomes(A, "active")
    assert f"start {G}: it is not running" in live.ok("deploy").out
    live.ok("rollback")
    assert tree(live.root) == {}


def test_a_reload_that_systemd_refuses_stops_there(live: Live) -> None:
    (live.state / "fail-daemon-reload").write_text("Connection timed out\n")
    said = live("deploy")
    assert said.code == 1
    assert "systemctl daemon-reload exited 1: Connection timed out" in said.err
    assert not any(call.startswith("restart") for call in live.calls)


def test_without_root_nothing_is_touched(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for command in ("deploy", "rollback"):
        said = live(command)
        assert said.code == 4
        assert "only root" in said.err
        assert "--root" in said.err
    assert list(live.root.iterdir()) == []
    assert live.calls == []


def test_without_systemd_a_folder_is_offered(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemctl, "BOOTED", tmp_path / "nowhere")
    said = live("deploy")
    assert said.code == 4
    assert "no systemd runs here" in said.err
    assert "--root DIR" in said.err
    monkeypatch.setattr(live, "environ", lambda: {"PATH": "/nowhere", "QTCTL_CONFIG": "/dev/null"})
    assert "systemctl is not installed" in live("deploy").err
    assert list(live.root.iterdir()) == []


def test_without_the_services_user_nothing_is_done(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "USER", "nobody-of-this-name")
    said = live("deploy")
    assert said.code == 4
    assert "useradd --system" in said.err
    assert live.ids() == []


def test_a_unit_that_is_masked_stays_masked(live: Live) -> None:
    (live.state / f"masked-{G}").touch()
    said = live("deploy")
    assert said.code == 4
    assert f"systemctl unmask {G}" in said.err
    assert live.ids() == []
