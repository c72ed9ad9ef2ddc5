"""A decision judged again, on its own facts, under other limits.

Nothing that follows from another verdict is simulated: one open more would have raised the counts
of those behind it. What the facts can't tell is said and never guessed.

Source: docs/rules.md#judging-again.
"""

from collections.abc import Iterable, Mapping

import msgspec

from qtctl.domain.gates import Facts, Judgement, Limits, judge

LIMIT_NAMES = tuple(Limits.__struct_fields__)
Changes = Mapping[str, float | int]
"""Limits by their name in the settings, each within its range."""


class Recorded(msgspec.Struct, frozen=True):
    """A decision as it was taken. limits is None where those it was judged by are forgotten;
    unrecorded names facts that the gates may need and that it does not hold."""

    verdict: str
    reason: str
    facts: Facts
    limits: Limits | None
    unrecorded: Mapping[str, Iterable[str]] = {}


class Again(msgspec.Struct, frozen=True):
    """The new judgement; None where it can't be told, and `unknown` then says why."""

    judgement: Judgement | None
    unknown: str = ""


def again(decision: Recorded, changes: Changes) -> Again:
    """The same facts under its own limits but for the changes.

    The limits that are forgotten must all be given: each of them could decide.
    """
    if decision.limits is None:
        if not changes.keys() >= set(LIMIT_NAMES):
            return Again(None, "the limits it was judged by are forgotten")
    elif missing := _missing(decision, decision.limits):
        return Again(None, missing)
    else:
        own = judge(decision.facts, decision.limits)
        if (own.verdict, own.reason) != (decision.verdict, decision.reason):
            return Again(None, "its record does not lead to its own verdict")
    limits = msgspec.structs.replace(decision.limits or Limits(), **changes)
    if missing := _missing(decision, limits):
        return Again(None, missing)
    return Again(judge(decision.facts, limits))


def _missing(decision: Recorded, limits: Limits) -> str:
    """The facts that a gate would need which is on under these limits; "" where none is missing."""
    names = [
        fact
        for limit, facts in decision.unrecorded.items()
        if limit not in LIMIT_NAMES or getattr(limits, limit)
        for fact in facts
    ]
    return f"its record has no usable {', '.join(names)}" if names else ""
