"""The settings reach the formulas, every one, and their defaults are those of docs/rules.md."""

import msgspec

from qtctl.domain.allocation import AllocationRules
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import Limits
from qtctl.domain.plans import PlanRules
from qtctl.services.rules import rules_of
from qtctl.settings import Allocation, Governor
from qtctl.wire.schema.keys import Keys


def test_the_defaults_of_the_settings_are_those_of_the_formulas() -> None:
    rules = rules_of(Governor(), Keys(), "x")
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
        assert rules_of(settings, Keys(), "x").limits == changed


def test_other_limits_have_another_digest() -> None:
    plain = rules_of(Governor(), Keys(), "x").limits_digest
    assert rules_of(Governor(max_exec_per_hour=4), Keys(), "x").limits_digest != plain
    assert rules_of(Governor(require=("price",)), Keys(), "x").limits_digest != plain
    assert rules_of(Governor(name="other"), Keys(), "y").limits_digest == plain


def test_kill_keys_and_the_actor_have_their_full_names() -> None:
    step = rules_of(Governor(kill_keys=("kill", "stop")), Keys("q:"), "host").commit
    assert step.kill_keys == ("q:kill", "q:stop")
    assert step.actor == "governor:host"
