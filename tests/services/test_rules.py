"""The settings reach the formulas, every one, and their defaults are those of docs/rules.md."""

import msgspec
import pytest

from qtctl.domain.allocation import AllocationRules
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import Limits
from qtctl.domain.plans import PlanRules
from qtctl.services.rules import rules_of
from qtctl.settings import Allocation, Governor, Settings
from qtctl.settings.rules import rules_from
from qtctl.wire.queries.rules_in_force import in_force
from qtctl.wire.schema.service import ServiceRecord


def test_the_defaults_of_the_settings_are_those_of_the_formulas() -> None:
    rules = rules_of(Governor(), "x")
    assert rules.limits == Limits()
    assert rules.downsize == DownsizeRules()
    assert rules.plans == PlanRules()
    own = msgspec.structs.asdict(Allocation())
    assert AllocationRules(**{n: own[n] for n in AllocationRules.__struct_fields__}) == (
        AllocationRules()
    )


def test_every_limit_follows_its_setting() -> None:
    for number, name in enumerate(Limits.__struct_fields__):
        value = number + 2 if name.startswith("max_exec") or "opens" in name else number + 2.5
        settings = msgspec.structs.replace(Governor(), **{name: value})
        changed = msgspec.structs.replace(Limits(), **{name: value})
        assert rules_of(settings, "x").limits == changed


def test_a_rule_is_picked_by_its_name_and_never_by_a_default() -> None:
    settings = msgspec.structs.asdict(Governor(symbol_cooldown_sec=7.0))
    assert rules_from(settings, Limits).symbol_cooldown_sec == 7.0
    del settings["max_exec_per_hour"]
    with pytest.raises(msgspec.ValidationError, match="max_exec_per_hour"):
        rules_from(settings, Limits)
    with pytest.raises(msgspec.ValidationError, match="symbol_cooldown_sec"):
        rules_from(Governor(symbol_cooldown_sec="long"), Limits)  # type: ignore[arg-type]


def test_a_governor_of_a_version_without_the_reopen_gate_has_it_off() -> None:
    own = msgspec.structs.asdict(Governor(max_exec_per_hour=9))
    del own["reopen_cooldown_sec"]
    old = ServiceRecord("governor", "g1", "0.1.0", "host", "1", 1, 1, own, "", "")
    limits, source = in_force([old], "governor", Settings(), Limits)
    assert limits == Limits(max_exec_per_hour=9, reopen_cooldown_sec=0)
    assert "g1" in source


def test_other_limits_have_another_digest() -> None:
    plain = rules_of(Governor(), "x").limits_digest
    assert rules_of(Governor(max_exec_per_hour=4), "x").limits_digest != plain
    assert rules_of(Governor(require=("price",)), "x").limits_digest != plain
    assert rules_of(Governor(name="other"), "y").limits_digest == plain


def test_a_governor_reads_its_kill_keys_and_then_its_halt_keys() -> None:
    step = rules_of(Governor(kill_keys=("kill", "stop")), "host").commit
    assert step.names.names == ("kill", "stop", "governor:halt", "governor:halt_kept")
    assert step.instance == "host"
