"""The twelve scenarios as data: what is given, what is expected.

The numbers are fixed: a proof that followed the settings would prove nothing.
Source: docs/proofs.md.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

BASE_USD = "1000.0"
"""The target of every scenario of step 1."""
SERVICE_OF = MappingProxyType({"step1": "allocation", "step2": "governor"})


class Given(msgspec.Struct, frozen=True):
    """A score as upstream writes it: 0 to 1, 0 to 1, seconds."""

    score: str
    confidence: str
    age_sec: int = 0


class Scenario(msgspec.Struct, frozen=True):
    """One of the twelve.

    what: `data` (a symbol with or without a score), `metrics` or `health`. expected: field of the
    proposal or permit to its value on the wire. rests_on: the settings that its numbers follow
    from, with the values that give them.
    """

    step: str
    id: str
    title: str
    what: str = "data"
    given: Given | None = None
    expected: Mapping[str, str] = {}
    rests_on: Mapping[str, object] = {}


_PROPOSAL = ("proposed_target", "multiplier", "eff_score", "eff_confidence", "eff_stale", "reason")
_HINT = ("extra_cooldown_sec", "eff_score", "eff_confidence", "eff_stale", "eff_reason")


def _proposal(*values: str) -> dict[str, str]:
    fields = dict(zip(_PROPOSAL, values, strict=True))
    return {"base_target": "1000.00", **fields, "mode": "shadow"}


def _hint(action: str, factor: str, *values: str) -> dict[str, str]:
    first = {"eff_action": action, "eff_factor": factor, "downsize_factor": factor}
    return first | dict(zip(_HINT, values, strict=True))


_FORMULA = {
    "allocation.min_mult": 0.5,
    "allocation.max_mult": 1.5,
    "allocation.scale": 1.0,
    "allocation.base": 1.0,
}
_ALLOCATION = _FORMULA | {"allocation.min_conf": 0.65, "allocation.stale_sec": 600.0}
_GOVERNOR = {
    "governor.min_conf": 0.65,
    "governor.eff_ttl_sec": 600.0,
    "governor.downsize_threshold": 0.45,
    "governor.min_factor": 0.25,
    "governor.max_extra_cooldown_sec": 120.0,
}

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "step1", "high_efficiency", "A high score raises the proposal",
        given=Given("0.9", "0.9"),
        expected=_proposal("1400.00", "1.4000", "0.9000", "0.9", "0", "ok"),
        rests_on=_ALLOCATION,
    ),
    Scenario(
        "step1", "low_efficiency", "A low score lowers the proposal",
        given=Given("0.3", "0.9"),
        expected=_proposal("800.00", "0.8000", "0.3000", "0.9", "0", "ok"),
        rests_on=_ALLOCATION,
    ),
    Scenario(
        "step1", "missing_efficiency", "Without a score the target stays",
        expected=_proposal("1000.00", "1.0000", "", "", "0", "missing_eff"),
    ),
    Scenario(
        "step1", "low_confidence", "A score of low confidence changes nothing",
        given=Given("0.8", "0.5"),
        expected=_proposal("1000.00", "1.0000", "0.8000", "0.5", "0", "low_conf"),
        rests_on={"allocation.min_conf": 0.65},
    ),
    Scenario(
        "step1", "stale_efficiency", "A stale score changes nothing",
        given=Given("0.9", "0.9", 700),
        expected=_proposal("1000.00", "1.0000", "0.9000", "0.9", "1", "stale_eff"),
        rests_on={"allocation.stale_sec": 600.0},
    ),
    Scenario("step1", "service_health", "The allocation loop is healthy", what="health"),
    Scenario(
        "step2", "low_efficiency_downsizes", "A low score asks for a downsize",
        given=Given("0.2", "0.9"),
        expected=_hint("DOWNSIZE", "0.4444", "96", "0.2000", "0.9", "0", "ok"),
        rests_on=_GOVERNOR,
    ),
    Scenario(
        "step2", "high_efficiency", "A high score: full-size permit, no downsize",
        given=Given("0.8", "0.9"),
        expected=_hint("NONE", "1.0000", "0", "0.8000", "0.9", "0", "ok"),
        rests_on=_GOVERNOR,
    ),
    Scenario(
        "step2", "missing_efficiency", "Without a score: full-size permit, no downsize",
        expected=_hint("NONE", "1.0000", "0", "", "", "0", "missing_eff"),
    ),
    Scenario(
        "step2", "low_confidence", "A score of low confidence: full size, no downsize",
        given=Given("0.8", "0.3"),
        expected=_hint("NONE", "1.0000", "0", "0.8000", "0.3", "0", "low_conf"),
        rests_on={"governor.min_conf": 0.65},
    ),
    Scenario(
        "step2", "metrics_registered", "What was applied shows in the metrics", what="metrics",
    ),
    Scenario("step2", "service_health", "The governor is healthy", what="health"),
)  # fmt: skip
