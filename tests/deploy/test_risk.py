"""A limit that would be loosened is told, and needs a yes of its own, there and back."""

from collections.abc import Mapping
from typing import Any

import pexpect
import pytest

from qtctl.deploy.limits import LIMITS, risks
from qtctl.settings import fields
from tests.deploy.hosts import Staging
from tests.support.processes import QTCTL

GOVERNOR_ENV = "/etc/quantum/governor.env"
TOML = "/etc/quantum/qtctl.toml"
NO_LIMITS = {
    # Where things are, how they are written and how much is kept: nothing that limits a trade.
    *(field.path for field in fields() if field.section in ("redis", "history", "logging")),
    *(
        f"{section}.{key}"
        for section in ("allocation", "governor")
        for key in ("stream_maxlen", "metrics_port", "metrics_addr", "metrics_max_symbols", "name")
    ),
    *(f"governor.stream_{name}" for name in ("plans", "events", "rejected")),
    "governor.permit_encoding",
    "governor.batch",
    "allocation.interval_sec",
    "allocation.propose_key_ttl_sec",
    "allocation.stream_proposed",
    "safety.allow_live_proof",
}


def test_every_setting_is_a_limit_or_is_known_to_be_none() -> None:
    limits = [limit.path for limit in LIMITS]
    assert len(set(limits)) == len(limits)
    assert {field.path for field in fields()} == set(limits) | NO_LIMITS
    assert not set(limits) & NO_LIMITS


def told(path: str, before: Any, after: Any) -> list[str]:
    found: tuple[Mapping[str, Any], Mapping[str, Any]] = ({path: before}, {path: after})
    return [str(risk) for risk in risks(*found)]


@pytest.mark.parametrize(
    ("path", "before", "after", "line"),
    [
        ("governor.max_exec_per_hour", 3, 30, "max_exec_per_hour 3 → 30"),
        ("governor.max_exec_per_hour", 3, 0, "max_exec_per_hour 3 → 0 (off)"),
        ("governor.max_exec_per_hour", 0, 3, ""),
        ("governor.max_exec_per_hour", 30, 3, ""),
        ("governor.max_exec_per_hour", 0, 0, ""),
        ("governor.kill_score_critical", 0.8, 0.0, "kill_score_critical 0.8 → 0 (off)"),
        ("governor.kill_score_critical", 0.8, 0.85, "kill_score_critical 0.8 → 0.85"),
        (
            "governor.max_notional_per_trade_usd",
            200.0,
            1e7,
            "max_notional_per_trade_usd 200 → 10000000",
        ),
        ("governor.symbol_cooldown_sec", 60.0, 0.0, "symbol_cooldown_sec 60 → 0 (off)"),
        ("governor.symbol_cooldown_sec", 0.0, 60.0, ""),
        ("governor.reopen_cooldown_sec", 60.0, 30.0, "reopen_cooldown_sec 60 → 30"),
        ("governor.max_plan_age_sec", 60.0, 61.0, "max_plan_age_sec 60 → 61"),
        ("governor.kill_keys", ["kill", "halt"], ["kill"], "kill_keys kill,halt → kill"),
        ("governor.kill_keys", ["kill"], ["kill", "halt"], ""),
        ("governor.require", ["price"], [], "require price → none"),
        ("governor.close_actions", ["CLOSE"], ["CLOSE", "X"], "close_actions CLOSE → CLOSE,X"),
        ("governor.open_actions", ["OPEN", "X"], ["OPEN"], "open_actions OPEN,X → OPEN"),
        ("governor.min_conf", 0.65, 0.9, "governor.min_conf 0.65 → 0.9"),
        ("allocation.min_conf", 0.65, 0.5, "allocation.min_conf 0.65 → 0.5"),
        ("safety.allow_eviction", False, True, "allow_eviction false → true"),
        ("safety.allow_eviction", True, False, ""),
    ],
)
def test_what_raises_risk(path: str, before: Any, after: Any, line: str) -> None:
    assert told(path, before, after) == ([f"RAISES RISK: {line}"] if line else [])


@pytest.fixture
def tight(staging: Staging) -> Staging:
    """An operator's own file, tighter than the packaged one, with a trailing comment."""
    staging.put(GOVERNOR_ENV, "GOV_MAX_EXEC_PER_HOUR=2 # was 3\n")
    return staging


def test_a_risk_has_its_own_line_and_yes_does_not_cover_it(tight: Staging) -> None:
    said = tight("deploy", "--replace-config")
    assert said.code == 4
    assert "RAISES RISK: max_exec_per_hour 2 → 3" in said.out.splitlines()
    assert "--accept-risk max_exec_per_hour=3" in said.err
    assert tight.ids() == []
    assert tight("deploy", "--replace-config", "--accept-risk", "max_exec_per_hour=4").code == 4
    tight.ok("deploy", "--replace-config", "--accept-risk", "max_exec_per_hour=3")
    row = tight("rollback", "--list", "-o", "json").json[0]
    assert row["risks"] == ["RAISES RISK: max_exec_per_hour 2 → 3"]
    assert row["by"]


def test_a_rollback_needs_the_same_confirmation(staging: Staging) -> None:
    staging.put(GOVERNOR_ENV, "GOV_MAX_EXEC_PER_HOUR=30\n")
    staging.ok("deploy", "--replace-config")
    said = staging("rollback")
    assert said.code == 4
    assert "RAISES RISK: max_exec_per_hour 3 → 30" in said.out
    assert "30" not in staging.file(GOVERNOR_ENV).read_text()
    staging.ok("rollback", "--accept-risk", "max_exec_per_hour=30")


@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("y", 4), ("", 4), ("no", 4)])
def test_only_a_typed_yes_counts_even_with_the_yes_option(
    tight: Staging, answer: str, code: int
) -> None:
    command = [*QTCTL, "deploy", "--root", str(tight.root), "--replace-config", "--yes"]
    child = pexpect.spawn(command[0], command[1:], encoding="utf-8", timeout=30)
    child.expect("RAISES RISK: max_exec_per_hour 2 → 3")
    child.expect("type yes:")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code


def test_a_limit_set_by_a_stronger_source_is_not_a_risk(staging: Staging) -> None:
    """The environment beats the file; so does what stands on a drop-in's command line."""
    staging.put(GOVERNOR_ENV, "GOV_MAX_EXEC_PER_HOUR=3\n")
    staging.put(TOML, "[governor]\nmax_exec_per_hour = 2\n")
    assert "RAISES" not in staging("deploy", "--dry-run", "--replace-config").out
    dropin = "/etc/systemd/system/quantum-governor.service.d/local.conf"
    staging.put(
        dropin,
        "[Service]\nExecStart=\nExecStart=qtctl serve governor "
        "--set governor.max_exec_per_hour=1\n",
    )
    assert "RAISES" not in staging("deploy", "--dry-run", "--replace-config").out


def test_the_files_named_by_the_installed_unit_count(staging: Staging) -> None:
    staging.put("/etc/quantum/p32.env", "GOV_MAX_NOTIONAL_PER_TRADE_USDT=50\nREDIS_HOST=prod-1\n")
    staging.put(
        "/etc/systemd/system/quantum-governor.service",
        "[Service]\nExecStart=/usr/bin/python3 main.py\nEnvironmentFile=-/etc/quantum/p32.env\n"
        "Environment=GOV_MAX_EXEC_PER_HOUR=1\n",
    )
    said = staging("deploy")
    assert said.code == 4
    assert "RAISES RISK: max_notional_per_trade_usd 50 → 200" in said.out
    assert "RAISES RISK: max_exec_per_hour 1 → 3" in said.out
    assert "changes redis.url redis://prod-1:6379/0 → redis://127.0.0.1:6379/0 (governor)" in (
        said.out
    )


def test_one_process_ignores_the_environment_files(tight: Staging) -> None:
    tight.put(GOVERNOR_ENV, "GOV_MAX_EXEC_PER_HOUR=2\nQTCTL_REDIS_PASSWORD=hunter2\n")
    tight.ok("deploy")
    said = tight("deploy", "--together")
    assert said.code == 4
    assert "RAISES RISK: max_exec_per_hour 2 → 3" in said.out
    assert "changes redis password: environment QTCTL_REDIS_PASSWORD → none (governor)" in said.out


def test_settings_with_which_a_service_would_not_start_are_not_deployed(staging: Staging) -> None:
    staging.put(GOVERNOR_ENV, "GOV_MAX_EXEC_PER_HOUR=many\n")
    said = staging("deploy")
    assert said.code == 5
    assert "quantum-governor.service would not start" in said.err
    assert "GOV_MAX_EXEC_PER_HOUR" in said.err
    assert staging.ids() == []
    # Where those are replaced, it can't be told what was in force.
    said = staging("deploy", "--replace-config")
    assert said.code == 4
    assert "RAISES RISK: limits unknown (quantum-governor.service would not start" in said.out
    staging.ok("deploy", "--replace-config", "--accept-risk", "limits=new")
    # And back to what can't be read: allowed, since it was there, and told.
    said = staging("rollback")
    assert said.code == 4
    assert "RAISES RISK: limits known → unknown" in said.out
    staging.ok("rollback", "--accept-risk", "limits=unknown")


def test_an_edit_not_yet_read_by_the_services_is_reported(staging: Staging) -> None:
    staging.ok("deploy")
    staging.put(GOVERNOR_ENV, "GOV_MAX_EXEC_PER_HOUR=30\n")
    said = staging("deploy", "--together", "--dry-run")
    assert "RAISES" not in said.out  # which goes by the TOML file alone
    staging.put(TOML, "[governor]\nmax_exec_per_hour = 30\n")
    said = staging("deploy", "--together")
    assert said.code == 4
    assert "RAISES RISK: max_exec_per_hour 3 → 30" in said.out
