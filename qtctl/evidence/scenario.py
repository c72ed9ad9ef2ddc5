"""Decisions under other settings: each alone, on its recorded counts, or in sequence, where the
counts, cooldowns and permits are those that the replayed permits leave behind."""

import msgspec

from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import GATES, Facts, Limits, reason_of
from qtctl.domain.reasons import Reason, Verdict
from qtctl.domain.sequence import Sequence
from qtctl.domain.what_if import lacking, not_kept
from qtctl.evidence.cases import Case, once_reason
from qtctl.evidence.hints import hint_of
from qtctl.evidence.rules import Changes, GovernorRules, changed

SKIPPED, UNKNOWN = "skipped", "unknown"
UNKNOWN_LIMITS = "the limits it was judged by are not in the history"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a decision. verdict: permitted, blocked, skipped (no verdict at all), or
    unknown, and then `unknown` says why. reason: as in a record; the verdict where that is neither
    permitted nor blocked."""

    verdict: str
    reason: str
    unknown: str = ""

    @property
    def permitted(self) -> bool:
        """True for a permit."""
        return self.verdict == Verdict.PERMITTED


NO_VERDICT = Outcome(SKIPPED, SKIPPED)
"""For what is no execution, or the entry that has the permit already."""
_OUTCOMES = {
    reason.value: Outcome("permitted" if reason is Reason.OK else "blocked", reason.value)
    for reason in Reason
}


class Scenario:
    """Other settings, and what they make of decisions that come in their order."""

    def __init__(self, changes: Changes, *, in_sequence: bool) -> None:
        self._changes = changes
        self._state = Sequence() if in_sequence else None
        self._recorded: GovernorRules | None = None
        self._rules: GovernorRules | None = None
        self.hints_change = any(f"governor.{name}" in changes for name in _HINT_KEYS)

    def rules(self, case: Case) -> GovernorRules | None:
        """The rules for a decision: its own, but for the changes; None where they are unknown."""
        if case.rules is not self._recorded:
            self._recorded = case.rules
            self._rules = case.rules and GovernorRules(
                changed(case.rules.limits, "governor", self._changes),
                changed(case.rules.downsize, "governor", self._changes),
            )
        return self._rules

    def factor(self, case: Case) -> float:
        """What a permit would be multiplied with; 1 is the full size."""
        rules = self.rules(case)
        if not self.hints_change or rules is None:
            return case.factor
        return round(hint_of(case.reading, case.hint[0], rules.downsize).factor, 4)

    def seed(self, case: Case) -> None:
        """A decision from before the window: it stays as it was."""
        if self._state is not None and not case.once:
            rules = self.rules(case)
            self._note(case, case.permitted, Limits() if rules is None else rules.limits)

    def take(self, case: Case) -> Outcome:
        """What becomes of the next decision."""
        rules = self.rules(case)
        if rules is None:
            found = _UNKNOWN_LIMITS
        elif self._state is None:
            return self._alone(case, rules.limits)
        else:
            found = self._in_sequence(case, rules.limits, self._state)
        if found.verdict == UNKNOWN:
            # Later ones go by what was.
            self.seed(case)
        return found

    def _alone(self, case: Case, limits: Limits) -> Outcome:
        recorded = case.recorded
        if case.once:
            return _OUTCOMES[recorded.reason]
        if recorded.unrecorded and (missing := lacking(recorded, limits)):
            return Outcome(UNKNOWN, UNKNOWN, missing)
        found = _judged(case.facts, limits)
        missing = not_kept(recorded, limits)
        if missing and found.reason not in _BEFORE_WHAT_IS_FORGOTTEN:
            return Outcome(UNKNOWN, UNKNOWN, missing)
        return found

    def _in_sequence(self, case: Case, limits: Limits, state: Sequence) -> Outcome:
        own, recorded = case.decision, case.recorded
        if case.once and not case.first:
            return _OUTCOMES[recorded.reason]  # Its permit lies before what was read.
        # A permit that stood and did not count was lost by Redis.
        lost = case.first and not case.once
        standing = None if lost else state.standing(own.plan_id, case.at_ms)
        if standing is not None and standing.permitted:
            if standing.entry_id == own.entry_id:
                return NO_VERDICT
            return _OUTCOMES[once_reason(standing, own.symbol, own.kind, case.executes)]
        if not case.executes:
            return NO_VERDICT
        if recorded.unrecorded and (missing := lacking(recorded, limits)):
            return Outcome(UNKNOWN, UNKNOWN, missing)
        found = _judged(self._facts(case, limits, state) if case.opens else case.facts, limits)
        self._note(case, found.permitted, limits)
        return found

    def _facts(self, case: Case, limits: Limits, state: Sequence) -> Facts:
        """The facts with the counts that the replayed permits leave; what the permits in the
        history do not account for stays as recorded."""
        now = state.rates(case.decision.symbol, case.at_ms, limits)
        counted, rebuilt = case.counted, case.rebuilt
        if counted == rebuilt:
            opened, closed = now.last_open_age_ms, now.last_close_age_ms
            five, hour, total = now.opens_5min, now.opens_1h, now.opens_total_5min
        else:
            opened = _age(now.last_open_age_ms, counted.last_open_age_ms, rebuilt.last_open_age_ms)
            closed = _age(
                now.last_close_age_ms, counted.last_close_age_ms, rebuilt.last_close_age_ms
            )
            five = max(0, now.opens_5min + counted.opens_5min - rebuilt.opens_5min)
            hour = max(0, now.opens_1h + counted.opens_1h - rebuilt.opens_1h)
            total = max(
                0, now.opens_total_5min + counted.opens_total_5min - rebuilt.opens_total_5min
            )
        facts = case.facts
        return msgspec.structs.replace(
            facts,
            # A duplicate is one of a plan that the governor permitted just before.
            permitted_before=facts.permitted_before and not case.once,
            last_open_age_sec=None if opened is None else opened / 1000,
            last_close_age_sec=None if closed is None else closed / 1000,
            opens_5min=five,
            opens_1h=hour,
            opens_total_5min=total,
        )

    def _note(self, case: Case, permitted: bool, limits: Limits) -> None:
        assert self._state is not None, "only a sequence remembers"
        self._state.note(
            case.decision.plan_id, case.standing(permitted), full_close=case.full_close,
            limits=limits,
        )  # fmt: skip


_UNKNOWN_LIMITS = Outcome(UNKNOWN, UNKNOWN, UNKNOWN_LIMITS)
_BEFORE_WHAT_IS_FORGOTTEN = {
    gate.reason.value
    for place, gate in enumerate(GATES)
    if not any(each.keeps_fact for each in GATES[: place + 1])
}
"""Where one of these gates fails first, no gate counts whose fact is kept for some time only."""
_HINT_KEYS = DownsizeRules.__struct_fields__


def _judged(facts: Facts, limits: Limits) -> Outcome:
    return _OUTCOMES[reason_of(facts, limits).value]


def _age(now: int | None, counted: int | None, rebuilt: int | None) -> int | None:
    """The age of the latest mark, where the record has another than the permits in the history
    give: what it has, unless the replay has a later one that the history lacks."""
    if counted == rebuilt:
        return now
    own = now if now is not None and (rebuilt is None or now < rebuilt) else None
    return min((age for age in (counted, own) if age is not None), default=None)
