"""Decisions judged again, each on its recorded facts and limits: the gates must give the verdict
and the reason that were recorded."""

import msgspec

from qtctl.domain.facts import facts_of, unrecorded
from qtctl.domain.gates import Limits, judge
from qtctl.domain.reasons import Reason
from qtctl.evidence.proposal_parity import MAX_EXAMPLES, Difference
from qtctl.history.decisions import Decision
from qtctl.history.reader import History

NOT_BY_FACTS = (Reason.DUPLICATE_PLAN, Reason.PLAN_CONFLICT)
"""They rest on the permit before, which no record keeps."""


class DecisionParity:
    """Takes in decisions. judged: those that were; left_out: duplicates and conflicts; unknown:
    decisions whose facts or limits the history lacks; differing: by symbol."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._limits: dict[str, Limits | None] = {}
        self.judged = self.left_out = self.unknown = 0
        self.differing: dict[str, int] = {}
        self.examples: list[Difference] = []

    def add(self, each: Decision) -> None:
        """One decision."""
        if each.reason in NOT_BY_FACTS:
            self.left_out += 1
            return
        record = each.record()
        digest = each.profile.limits
        if digest not in self._limits:
            self._limits[digest] = self._history.limits(digest)
        limits = self._limits[digest]
        if limits is None or unrecorded(record):
            self.unknown += 1
            return
        self.judged += 1
        found = judge(facts_of(record), limits)
        again = (found.verdict.value, found.reason.value)
        if again != (each.verdict, each.reason):
            self.differing[each.symbol] = self.differing.get(each.symbol, 0) + 1
            if len(self.examples) < MAX_EXAMPLES:
                recorded = f"{each.verdict} {each.reason}"
                self.examples.append(Difference(each.at_ms, each.symbol, recorded, " ".join(again)))


class Parity(msgspec.Struct, frozen=True):
    """What was judged again. share: of what was judged, the same to the byte; None where nothing
    was. proposals: rows judged; proven: unchanged rows; unknown: rows and decisions whose rules,
    limits or facts the history lacks; left_out: duplicates and conflicts."""

    share: float | None
    proposals: int
    proven: int
    decisions: int
    left_out: int
    unknown: int
    differing: int
    examples: list[Difference]
