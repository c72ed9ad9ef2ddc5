"""What an operator reads before anything is done: the short of it, what is loosened, what the
files of settings leave out."""

import sys
from pathlib import Path

import pytest

from tests.deploy.hosts import Live, Staging

GOVERNOR_ENV = "/etc/quantum/governor.env"
TOML = "/etc/quantum/qtctl.toml"
G = "quantum-governor.service"
DROPIN = f"/etc/systemd/system/{G}.d/x.conf"


def head(out: str) -> list[str]:
    """The lines before the first file's own."""
    lines = out.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("  ---"))
    return lines[: first - 1]


def test_a_dry_run_begins_with_ten_lines_at_most(live: Live, tmp_path: Path) -> None:
    live.put(GOVERNOR_ENV, "GOV_MAX_EXEC_PER_HOUR=2\nGOV_MAX_EXEC_PER_5MIN=1\n")
    live.put(TOML, "[safety]\nstart_halted = true\n")
    live.put("/etc/systemd/system/qtctl.service", "[Service]\n")
    live.is_("qtctl.service", "active")
    etc = tmp_path / "etc"
    etc.mkdir()
    limits = ("MAX_EXEC_PER_HOUR", "MAX_EXEC_PER_5MIN", "SYMBOL_COOLDOWN_SECONDS")
    (etc / "governor.env").write_text("".join(f"GOV_{name}=0 # off\n" for name in limits))
    said = live.ok("deploy", "--dry-run", "--etc", str(etc))
    shown = head(said.out)
    assert 4 <= len(shown) <= 10
    assert shown[0].startswith("Would deploy qtctl ")
    assert shown[1].startswith("RAISES RISK: ")
    text = "\n".join(shown)
    for part in (
        "install ",
        "replace ",
        "keep 1 file: qtctl.toml",
        "stop qtctl.service",
        f"start quantum-allocation-target.service, {G}, ",
    ):
        assert part in text
    # All of it stands below.
    assert said.out.count("RAISES RISK: ") >= 3
    assert "comments behind values ignored" in said.out
    assert head(live.ok("deploy", "--dry-run").out)[-1].endswith("nothing was done.")


def test_many_risks_are_counted_in_the_short_of_it(staging: Staging) -> None:
    names = ("P31_MIN_CONF", "P31_MIN_FACTOR", "P31_DOWNSIZE_THRESHOLD", "P31_EFF_TTL_SEC",
             "P31_MAX_EXTRA_COOLDOWN_SEC")  # fmt: skip
    tight = ("0.1", "0.1", "0.9", "3600", "900")
    lines = [f"{name}={value}" for name, value in zip(names, tight, strict=True)]
    limits = "GOV_MAX_EXEC_PER_HOUR=1\nGOV_MAX_EXEC_PER_5MIN=1\nGOV_SYMBOL_COOLDOWN_SECONDS=900\n"
    staging.put(GOVERNOR_ENV, limits + "\n".join(lines) + "\n")
    said = staging.ok("deploy", "--dry-run", "--replace-config")
    shown = head(said.out)
    assert len(shown) == 10
    (counted,) = (line for line in shown if "more limits, listed below" in line)
    named = sum(line.startswith("RAISES RISK: ") for line in shown) - 1
    whole = said.out.count("RAISES RISK: ") - named - 1
    assert counted == f"RAISES RISK: {whole - named} more limits, listed below"


@pytest.mark.parametrize("option", [(), ("--dry-run",)])
def test_an_unchanged_rerun_says_so_in_a_sentence(live: Live, option: tuple[str, ...]) -> None:
    live.ok("deploy")
    live.forget()
    said = live.ok("deploy", *option)
    (sentence,) = [line for line in said.err.splitlines() if line.startswith("Nothing to do")]
    assert "everything is up to date (qtctl " in sentence
    assert f"{G} and quantum-recorder.service running" in sentence
    assert said.out == ""
    assert live.calls == []


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        (GOVERNOR_ENV, "GOV_MAX_EXEC_PER_HOUR=30\n", "max_exec_per_hour 3 → 30"),
        (GOVERNOR_ENV, "GOV_KILL_SCORE_CRITICAL=0\n", "kill_score_critical 0.8 → 0 (off)"),
        (TOML, "[safety]\nallow_eviction = true\n", "allow_eviction false → true"),
        (DROPIN, "[Service]\nEnvironment=GOV_SYMBOL_COOLDOWN_SECONDS=1\n",
         "symbol_cooldown_sec 60 → 1"),
    ],
)  # fmt: skip
def test_a_limit_loosened_by_hand_is_shown_by_an_otherwise_unchanged_rerun(
    live: Live, path: str, text: str, line: str
) -> None:
    live.ok("deploy")
    live.put(path, text)
    for option in ((), ("--dry-run",)):
        said = live.ok("deploy", *option)
        assert f"RAISES RISK: {line}" in said.out.splitlines()
        assert "loosened by hand since the last deployment" in said.err
    assert live("deploy", "-o", "json").json["loosened"]
    # Taking it needs the same yes as a deployment that loosens it.
    assert live("deploy", "--restart").code == 4
    answer = line.replace(" (off)", "").split()
    live.ok("deploy", "--restart", "--accept-risk", f"{answer[0]}={answer[-1]}")
    assert "RAISES" not in live.ok("deploy").out


def test_a_limit_tightened_by_hand_is_no_news(live: Live) -> None:
    live.ok("deploy")
    live.put(GOVERNOR_ENV, "GOV_MAX_EXEC_PER_HOUR=1\n")
    said = live.ok("deploy")
    assert "RAISES" not in said.out
    assert "loosened" not in said.err


def test_etc_says_what_its_files_leave_out(staging: Staging, tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "governor.env").write_text(
        "GOV_MAX_EXEC_PER_HOUR=3 # as ever\nGOV_MAX_DAILY_LOSS=5\nPYTHONUNBUFFERED=1\n"
        "export GOV_MAX_EXEC_PER_5MIN=1\n"
    )
    said = staging.ok("deploy", "--etc", str(etc))
    assert "LIMITS DROPPED, no setting has these names: 'export GOV_MAX_EXEC_PER_5MIN'" in said.out
    assert "GOV_MAX_DAILY_LOSS" in said.out
    assert "skipped, no settings: PYTHONUNBUFFERED" in said.out
    assert "comments behind values ignored, leaving: GOV_MAX_EXEC_PER_HOUR=3" in said.out
    about = said.out.partition("warning: ")[2].partition("saved the current")[0]
    assert max(map(len, about.splitlines())) < 100


def test_a_folder_is_staged_for_its_own_host(
    staging: Staging, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing of the stager is in it, wherever that one is installed."""
    monkeypatch.setattr(sys, "prefix", "/home/me/venv")
    monkeypatch.setattr("qtctl.deploy.packaged.program", lambda *, staged=False: 1 / 0)
    staging.ok("deploy")
    link = staging.file("/usr/local/bin/qtctl")
    assert str(link.readlink()) == "/opt/qtctl/bin/qtctl"
    assert not list(staging.root.glob("etc/systemd/system/*.d"))
    staging.ok("deploy", "--prefix", "/home/qt/qtctl")
    assert str(link.readlink()) == "/home/qt/qtctl/bin/qtctl"
    dropin = staging.file(f"/etc/systemd/system/{G}.d/qtctl-home.conf").read_text()
    assert dropin.endswith("ProtectHome=tmpfs\nBindReadOnlyPaths=/home/qt/qtctl\n")
    monkeypatch.setattr(sys, "prefix", str(staging.root / "srv" / "qtctl"))
    staging.ok("deploy")
    assert str(link.readlink()) == "/srv/qtctl/bin/qtctl"
    assert "home/me" not in "".join(
        path.read_text()
        for path in staging.root.glob("etc/**/*")
        if path.is_file() and not path.is_symlink()
    )


def test_a_prefix_is_for_another_host(live: Live, staging: Staging) -> None:
    assert "needs --root" in live("deploy", "--prefix", "/opt/q").err
    assert staging("deploy", "--prefix", "opt/q").code == 2


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (GOVERNOR_ENV, "QTCTL_CONTEXT=prod\n"),
        (DROPIN, "[Service]\nExecStart=\nExecStart=qtctl serve governor --context prod\n"),
    ],
)
def test_a_service_that_was_given_a_context_is_not_deployed(
    staging: Staging, path: str, text: str
) -> None:
    staging.put(TOML, '[contexts.prod]\nurl = "redis://prod-1/0"\n')
    staging.put(path, text)
    said = staging("deploy")
    assert said.code == 5
    assert f"{G} would not start: serve takes no context" in said.err
    assert staging.ids() == []
