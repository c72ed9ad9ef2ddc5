"""The proofs in their sandbox: twelve pass, from outside, and nothing stays."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proof.conftest import Prove
from tests.support.cli import interruptible
from tests.support.processes import qtctl, until

LONG = os.environ.get("TESTS_LONG") == "1"
IDS = [
    "high_efficiency", "low_efficiency", "missing_efficiency", "low_confidence",
    "stale_efficiency", "service_health", "low_efficiency_downsizes", "high_efficiency",
    "missing_efficiency", "low_confidence", "metrics_registered", "service_health",
]  # fmt: skip


def test_twelve_pass_and_the_document_has_its_documented_form(prove: Prove) -> None:
    proven = prove("all", "-o", "json")
    assert proven.code == 0
    document = proven.document
    assert list(document) == ["passed", "failed", "duration_s", "steps"]
    assert (document["passed"], document["failed"]) == (12, 0)
    assert document["duration_s"] < 60
    assert [step["step"] for step in document["steps"]] == ["step1", "step2"]
    scenarios = [scenario for step in document["steps"] for scenario in step["scenarios"]]
    assert [scenario["id"] for scenario in scenarios] == IDS
    for scenario in scenarios:
        assert list(scenario) == ["id", "title", "status", "duration_s", "checks"]
        assert scenario["checks"], "a scenario that checks nothing proves nothing"
        for check in scenario["checks"]:
            assert list(check) == ["what", "expected", "actual", "ok"]


@pytest.mark.parametrize("step", ["step1", "step2"])
def test_a_single_step_ends_with_the_summary_line(prove: Prove, step: str) -> None:
    proven = prove(step)
    assert proven.code == 0
    assert proven.out.splitlines()[-1] == "✅ SUMMARY: PASS (all tests passed)"
    assert proven.err.count("✅") == 6


def test_a_private_server_that_is_empty_at_first_halts_nothing(prove: Prove) -> None:
    assert prove("step2", "--set", "safety.start_halted=true").code == 0


def test_a_failure_prints_its_checks_and_the_summary_line(prove: Prove) -> None:
    proven = prove("step1", "--set", "allocation.min_conf=0")
    assert proven.code == 1
    assert proven.out.splitlines()[-1] == "❌ SUMMARY: FAIL (1 test(s) failed)"
    assert "quantum:allocation:target:proposed:QTPROOF" in proven.out, "the key involved"
    assert "setting allocation.min_conf" in proven.out


def test_an_unknown_step_is_a_usage_error_that_names_the_three(prove: Prove) -> None:
    proven = prove("step3")
    assert proven.code == 2
    assert proven.err == "qtctl: STEP 'step3' must be one of step1, step2, all\n"


def test_the_settings_in_force_are_proven_and_a_metrics_port_does_no_harm(
    prove: Prove, tmp_path: Path
) -> None:
    config = tmp_path / "qtctl.toml"
    config.write_text('[redis]\nprefix = "other:"\n[governor]\npermit_encoding = "hash"\n')
    proven = prove("all", "--config", str(config), "-o", "json", environ={"METRICS_PORT": "8065"})
    assert proven.code == 0
    assert "other:permit:" in proven.out
    assert "quantum:" not in proven.out


def test_a_private_url_of_the_user_is_not_touched(prove: Prove) -> None:
    """Whatever Redis is configured (here none answers), the sandbox has its own."""
    environ = {"QTCTL_REDIS_URL": "redis://127.0.0.1:1/0"}
    assert prove("step1", environ=environ).code == 0


@pytest.fixture
def loaded() -> Iterator[None]:
    """Every core busy."""
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 2)
    ]
    yield
    for process in busy:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("loaded")
@pytest.mark.timeout(300)
def test_no_false_alarm_on_a_busy_machine(prove: Prove) -> None:
    for _ in range(20 if LONG else 1):
        proven = prove("all", "-o", "json")
        assert proven.code == 0, proven.out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupted_proof_leaves_nothing(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "QTCTL_CONFIG": os.devnull}
    # The first pass is far away for step 1 only in its second round: halt where nothing comes.
    env["PYTHONPATH"] = str(tmp_path / "hook")
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(
        "import sys\nif 'serve' in sys.orig_argv:\n"
        "    from qtctl.wire.allocation import passes\n"
        "    passes._Pass._write = lambda *args: None\n"
    )
    marker = str(tmp_path)
    with interruptible(), qtctl("proof", "step1", env=env) as child:
        until(lambda: _commands(marker, "serve"), what="the sandbox's services")
        child.signal(number)
        assert child.wait() == code
        until(lambda: not _commands(marker), what="the end of all its processes")
    assert [path.name for path in tmp_path.iterdir()] == ["hook"]


def _commands(marker: str, part: str = "") -> list[str]:
    """Command lines of processes that belong to this proof, by their temporary directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environ = (path.parent / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        ours = f"TMPDIR={marker}" in environ and " proof " not in line
        if ours and "qtctl" in line and part in line:
            found.append(line)
    return found
