"""Proof of the proofs: for each of the twelve a sabotage under which exactly it fails."""

from collections.abc import Callable

import pytest

from qtctl.proof import environment
from tests.proof.conftest import Prove

SETTINGS = [
    ("step1", "high_efficiency", "allocation.max_mult=1.3", "1.5 (assumed)", "1.3 (--set)"),
    ("step1", "low_efficiency", "allocation.min_mult=0.9", "0.5 (assumed)", "0.9 (--set)"),
    ("step1", "low_confidence", "allocation.min_conf=0", "0.65 (assumed)", "0 (--set)"),
    ("step1", "stale_efficiency", "allocation.stale_sec=9999", "600 (assumed)", "9999 (--set)"),
    ("step2", "low_efficiency_downsizes", "governor.min_factor=0.5", "0.25 (assumed)",
     "0.5 (--set)"),
    ("step2", "low_confidence", "governor.min_conf=0", "0.65 (assumed)", "0 (--set)"),
]  # fmt: skip


@pytest.mark.parametrize(("step", "id_", "setting", "seeds", "seen"), SETTINGS)
def test_a_wrong_setting_fails_its_scenario_alone_and_is_named(
    prove: Prove, step: str, id_: str, setting: str, seeds: str, seen: str
) -> None:
    proven = prove("all", "--set", setting, "-o", "json")
    assert proven.code == 1
    assert proven.failing == {(step, id_)}
    name = setting.partition("=")[0]
    assert f"setting {name}: expected {seeds}, seen {seen}" in proven.wrong(step, id_)


def test_a_setting_from_the_environment_is_named_by_its_variable(prove: Prove) -> None:
    proven = prove("step1", "-o", "json", environ={"P31_STALE_SEC": "9999"})
    assert proven.failing == {("step1", "stale_efficiency")}
    assert "9999 (environment P31_STALE_SEC)" in proven.wrong("step1", "stale_efficiency")


PATCHES = [
    pytest.param("step1", "missing_efficiency", "multiplier: expected 1.0000, seen 1.4000", """
from qtctl.domain.readings import Efficiency
from qtctl.domain.reasons import EffReason
from qtctl.services import pass_decisions
honest = pass_decisions.assess_by
pass_decisions.assess_by = lambda raw, *rest: (
    Efficiency(EffReason.OK, 0.9, 0.9) if raw is None else honest(raw, *rest)
)
""", id="a missing score is made up"),
    pytest.param("step1", "service_health", "seen 503 not ready: sabotaged", """
from qtctl.services.allocation import AllocationLoop
AllocationLoop.not_ready = lambda self: 'sabotaged'
""", id="the allocation loop is not ready"),
    pytest.param("step2", "high_efficiency", "eff_action: expected NONE, seen DOWNSIZE", """
from qtctl.wire.client import scripts
honest, good = scripts.source, 'score < rules.downsize_threshold'
assert good in honest('score')
scripts.source = lambda name: honest(name).replace(good, '(' + good + ' or score == 0.8)')
scripts.digest.cache_clear()
""", id="a high score downsizes"),
    pytest.param("step2", "missing_efficiency", "eff_factor: expected 1.0000, seen 0.5000", """
from qtctl.wire.client import scripts
honest, good = scripts.source, "'1.0000', 'NONE', 'missing_eff'"
assert good in honest('score')
scripts.source = lambda name: honest(name).replace(good, good.replace('1.0000', '0.5000'))
scripts.digest.cache_clear()
""", id="a missing score changes a factor"),
    pytest.param("step2", "metrics_registered", "p32_eff_apply_total: expected registered", """
from qtctl.services.metrics import GovernorMetrics
honest = GovernorMetrics.__init__
def without(self, max_symbols):
    honest(self, max_symbols)
    self.registry.unregister(self.eff_apply)
GovernorMetrics.__init__ = without
""", id="a metric is not registered"),
    pytest.param("step2", "service_health", "p32_errors_total: expected none meanwhile", """
from qtctl.services.metrics import GovernorMetrics
honest = GovernorMetrics.__init__
def troubled(self, max_symbols):
    honest(self, max_symbols)
    self.errors.labels('exception').inc()
GovernorMetrics.__init__ = troubled
""", id="the governor counted an error"),
]  # fmt: skip


@pytest.mark.parametrize(("step", "id_", "cause", "code"), PATCHES)
def test_a_wrong_service_fails_its_scenario_alone(
    prove: Prove,
    sabotage: Callable[[str], dict[str, str]],
    step: str,
    id_: str,
    cause: str,
    code: str,
) -> None:
    proven = prove("all", "-o", "json", environ=sabotage(code))
    assert proven.code == 1
    assert proven.failing == {(step, id_)}
    assert cause in proven.wrong(step, id_)


def test_a_service_that_exits_at_once_fails_everything_with_its_last_words(
    prove: Prove, sabotage: Callable[[str], dict[str, str]]
) -> None:
    proven = prove("all", "-o", "json", environ=sabotage("sys.exit('out of order')"))
    assert len(proven.failing) == 12
    for step, id_ in (("step1", "high_efficiency"), ("step2", "missing_efficiency")):
        cause = proven.wrong(step, id_)
        assert "'qtctl serve' exited 1: " in cause
        assert "out of order" in cause


def test_a_loop_that_writes_nothing_times_out_and_says_so(
    prove: Prove, sabotage: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "SANDBOX_SEC", 3.0)
    code = """
from qtctl.wire.allocation import passes
passes._Pass._write = lambda *args: None
"""
    proven = prove("step1", "-o", "json", environ=sabotage(code))
    assert len(proven.failing) == 5, "health is as it was"
    cause = "seen nothing: the allocation runs, and wrote nothing about it"
    assert cause in proven.wrong("step1", "low_efficiency")


def test_a_metrics_port_that_is_closed_fails_what_is_read_from_it(
    prove: Prove, sabotage: Callable[[str], dict[str, str]]
) -> None:
    code = """
from qtctl.supervisor.health import HealthServer
honest = HealthServer.start
def shut(self):
    port = honest(self)
    self.stop()
    return port
HealthServer.start = shut
"""
    proven = prove("all", "-o", "json", environ=sabotage(code))
    assert proven.failing == {
        ("step1", "service_health"), ("step2", "service_health"), ("step2", "metrics_registered"),
    }  # fmt: skip
    assert "refused" in proven.wrong("step2", "metrics_registered")


def test_a_permit_without_its_lifetime_fails(
    prove: Prove, sabotage: Callable[[str], dict[str, str]]
) -> None:
    code = """
from qtctl.wire.client import scripts
honest = scripts.source.__wrapped__
def without(name):
    return honest(name).replace(", 'EX', permit_ttl_sec)", ")")
scripts.source = without
scripts.digest.__wrapped__.__globals__['source'] = without
"""
    proven = prove("step2", "-o", "json", environ=sabotage(code))
    assert len(proven.failing) == 4
    assert "no lifetime" in proven.wrong("step2", "high_efficiency")
