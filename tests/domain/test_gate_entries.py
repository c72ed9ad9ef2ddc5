"""A gate is described once, in domain/gates.py; the parts that can't be derived from its entry are
all there, and where one is missing its name is what this fails with."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qtctl.cli.commands import plan
from qtctl.cli.views.why_sentences import SENTENCES
from qtctl.deploy.limits import LIMITS as RISKS
from qtctl.domain.gates import BY_REASON, GATES, Facts, Gate, Limits
from qtctl.domain.reasons import Kind, Reason
from qtctl.domain.sequence import Rates
from qtctl.settings import Governor
from qtctl.settings.catalog import by_path
from qtctl.wire.client.scripts import source
from qtctl.wire.governor.commit import STEP
from qtctl.wire.schema.decision import DECISION_FIELDS
from tests.domain.vectors import load
from tests.wire.test_judge_agrees import DRAWN

ROOT = Path(__file__).parents[2]
Names = Mapping[str, set[str]]
"""The names in each part."""


def needed(gate: Gate) -> Names:
    """What each part must know of a gate."""
    limits, reason = set(gate.limits), {gate.reason.value}
    # The step is handed the result of what the plan alone decides, and never sees the unreadable.
    in_step = not gate.plan_alone and gate.reason is not Reason.INVALID_PLAN
    return {
        "field of Limits": limits,
        "field of Facts": set(gate.facts),
        "setting in [governor]": limits,
        "default in Limits that is the setting's": limits,
        "setting whose name has the unit": limits if gate.unit in ("s", "USD") else set(),
        "setting that says what 0 does": limits if gate.zero_is_off else set(),
        "field of the decision record": set(gate.facts),
        "reason in the atomic step": reason if in_step else set(),
        "argument of the atomic step": limits if in_step else set(),
        "sentence of why": reason,
        "golden case in tests/vectors": reason,
        "limit that tests/wire/test_judge_agrees.py draws": limits,
        # Without it, a replay under other limits would go by the counts as they were recorded.
        "field of Rates, by which a replay counts anew": set(gate.facts) if gate.wait else set(),
        "row in docs/redis-contract.md": {gate.name},
        "row in docs/configuration.md": limits,
        "limit in deploy's risks": limits,
        "limit in the help of plan list": limits,
        "reason that QtctlNoPermits leaves out": reason if gate.wait else set(),
    }


def _found(pattern: str, path: str) -> set[str]:
    return set(re.findall(pattern, (ROOT / path).read_text("utf-8")))


@pytest.fixture(scope="module")
def parts() -> Names:
    """What each part knows."""
    fields = {path.removeprefix("governor."): field for path, field in by_path().items()
              if path.startswith("governor.")}  # fmt: skip
    script = source(STEP)
    (no_permits,) = _found(r'reason!~"([a-z_|0-9]+)"', "etc/prometheus/qtctl.rules.yml")
    defaults = msgspec.structs.asdict(Limits())
    return {
        "field of Limits": set(Limits.__struct_fields__),
        "field of Facts": set(Facts.__struct_fields__),
        "setting in [governor]": set(fields),
        "default in Limits that is the setting's": {
            name for name, value in defaults.items() if getattr(Governor(), name, None) == value
        },
        "setting whose name has the unit": {
            name for name in fields if name.endswith(("_sec", "_usd"))
        },
        "setting that says what 0 does": {
            name for name, field in fields.items() if "0 is off" in field.description
        },
        "field of the decision record": {name for name, _ in DECISION_FIELDS},
        "reason in the atomic step": set(re.findall(r"'([a-z_0-9]+)'", script)),
        "argument of the atomic step": set(re.findall(r"^--   (\w+)", script, re.MULTILINE)),
        "sentence of why": {str(word) for word in SENTENCES},
        "golden case in tests/vectors": {
            case["expect"]["reason"] for case in load("gates")["cases"]
        },
        "limit that tests/wire/test_judge_agrees.py draws": set(DRAWN),
        "field of Rates, by which a replay counts anew": {
            re.sub("_ms$", "_sec", name) for name in Rates.__struct_fields__
        },
        "row in docs/redis-contract.md": _found(r"\n\| `(\w+)` \|", "docs/redis-contract.md"),
        "row in docs/configuration.md": _found(r"\n\| `(\w+)` \|", "docs/configuration.md"),
        "limit in deploy's risks": {risk.path.removeprefix("governor.") for risk in RISKS},
        "limit in the help of plan list": set(re.findall(r"\w+", plan.list_plans.__doc__ or "")),
        "reason that QtctlNoPermits leaves out": set(no_permits.split("|")),
    }


def missing(gate: Gate, parts: Names) -> dict[str, set[str]]:
    """The parts that lack something of a gate, and what."""
    return {
        part: names - parts[part] for part, names in needed(gate).items() if names - parts[part]
    }


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
def test_every_part_of_a_gate_is_there(gate: Gate, parts: Names) -> None:
    assert missing(gate, parts) == {}


@pytest.mark.parametrize("part", needed(BY_REASON[Reason.REOPEN]))
def test_a_part_that_is_missing_is_named(part: str, parts: Names) -> None:
    gate = BY_REASON[Reason.REOPEN]
    (lost, *_) = needed(gate)[part]
    assert missing(gate, {**parts, part: parts[part] - {lost}}) == {part: {lost}}


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.name)
def test_an_entry_is_sound_in_itself(gate: Gate) -> None:
    assert gate.blocks, "the words for why, docs and forgotten limits"
    assert not gate.sentence or "{value}" in gate.sentence
    assert len(gate.limits) == 1 or not gate.zero_is_off, "0 of which limit?"
    if gate.wait:
        assert gate.opens_only, "a close waits for no rate"
        assert gate.zero_is_off
        assert gate.sentence
    if gate.keeps_fact:
        assert len(gate.facts) == len(gate.limits) == 1


def test_every_limit_and_every_fact_belongs_to_a_gate() -> None:
    assert {name for gate in GATES for name in gate.limits} == set(Limits.__struct_fields__)
    facts = {name for gate in GATES for name in gate.facts}
    assert facts == set(Facts.__struct_fields__) - {"symbol", "kind"}


@pytest.mark.parametrize("gate", [gate for gate in GATES if gate.zero_is_off], ids=lambda g: g.name)
@pytest.mark.parametrize("looser", [True, False])
def test_the_riskier_direction_is_that_in_which_more_passes(gate: Gate, looser: bool) -> None:
    """At the edge of its limit, one step to either side."""
    (limit,) = gate.limits
    found: dict[str, Any] = {"qty": 2.0, "price": 1.0, gate.facts[0]: 2}
    facts = Facts(symbol="A", kind=Kind.OPEN, queue_age_sec=0, **found)
    off_the_edge = 1 if looser == (gate.riskier == "up") else -1
    limits = msgspec.structs.replace(Limits(), **{limit: 2 + off_the_edge})
    assert gate.check(facts, limits).passed is looser
