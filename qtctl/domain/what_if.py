"""A decision judged again, on its own facts, under other limits. What would follow from another
verdict is not simulated, and what the facts can't tell is reported as unknown.

Source: docs/rules.md#judging-again.
"""

from collections.abc import Iterable, Mapping

import msgspec

from qtctl.domain.gates import GATES, Facts, Judgement, Limits, judge
from qtctl.domain.reasons import Kind

LIMIT_NAMES = tuple(Limits.__struct_fields__)
Changes = Mapping[str, float | int]
"""Limits by their name in the settings, each within its range."""


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """A decision as it was taken. limits is None where those it was judged by are forgotten;
    unrecorded names facts that the gates may need and that it does not hold."""

    verdict: str
    reason: str
    facts: Facts
    limits: Limits | None
    unrecorded: Mapping[str, Iterable[str]] = {}


class Again(msgspec.Struct, frozen=True):
    """The new judgement; None where it can't be known, and `unknown` then says why."""

    judgement: Judgement | None
    unknown: str = ""


def again(decision: Recorded, changes: Changes) -> Again:
    """The same facts under its own limits but for the changes, which must name all limits where its
    own are forgotten."""
    if decision.limits is None:
        if not changes.keys() >= set(LIMIT_NAMES):
            return Again(None, "the limits it was judged by are forgotten")
    elif missing := lacking(decision, decision.limits):
        return Again(None, missing)
    else:
        own = judge(decision.facts, decision.limits)
        if (own.verdict, own.reason) != (decision.verdict, decision.reason):
            return Again(None, "its record does not lead to its own verdict")
    limits = msgspec.structs.replace(decision.limits or Limits(), **changes)
    if missing := lacking(decision, limits) or not_kept(decision, limits):
        return Again(None, missing)
    return Again(judge(decision.facts, limits))


def lacking(decision: Recorded, limits: Limits) -> str:
    """The facts that a gate would need which is on under these limits; "" where none is missing."""
    names = [
        fact
        for limit, facts in decision.unrecorded.items()
        if limit not in LIMIT_NAMES or getattr(limits, limit)
        for fact in facts
    ]
    return f"its record has no usable {', '.join(names)}" if names else ""


def not_kept(decision: Recorded, limits: Limits) -> str:
    """What was not remembered for as long as a gate would need under these limits; "" where
    nothing is missing."""
    if decision.facts.kind is not Kind.OPEN:
        return ""
    for gate in GATES:
        if gate.keeps_fact and getattr(decision.facts, gate.facts[0]) is None:
            name = gate.limits[0]
            kept = 0.0 if decision.limits is None else getattr(decision.limits, name)
            if getattr(limits, name) > kept:
                return f"{gate.facts[0]} is known for {kept:g} s only, as {name} was"
    return ""
