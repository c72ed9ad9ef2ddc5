"""Decisions as a replay takes them: their facts, the rules they were taken by, and how far the
permits in the history account for the counts in their records.

A record has the counts that the atomic step found. A replay rebuilds them from permits, and the
permits of the record rebuilt in the same way say what is missing: permits in a gap, before the
history began, or in a ledger that was lost. What is missing stays as it was recorded.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from qtctl.domain import numbers
from qtctl.domain.facts import facts_of, unrecorded
from qtctl.domain.gates import Facts, Limits
from qtctl.domain.plans import EXECUTE
from qtctl.domain.readings import AsRead
from qtctl.domain.reasons import Kind, Reason, Verdict
from qtctl.domain.sequence import DAY_MS, HOUR_MS, NO_RATES, Rates, Sequence, Standing
from qtctl.domain.what_if import Recorded
from qtctl.evidence.rules import GovernorRules, RulesBook
from qtctl.history import plain
from qtctl.history.decisions import Decision
from qtctl.history.reader import History
from qtctl.history.texts import loose_text

ONCE = (Reason.DUPLICATE_PLAN.value, Reason.PLAN_CONFLICT.value)
"""What the gates `once` and `conflict` say: such a decision leaves the one that stands."""
LAPSE_MS = 5
"""Redis drops a key some ms sooner or later than its time to live says."""


class Case(msgspec.Struct, frozen=True, gc=False):
    """One decision. rules: those it was taken by, None where they are unknown; hint: the fields of
    HINT as recorded; once: a duplicate or a conflict; full_close: it closes all, as far as it says.
    counted: the rates of its record; rebuilt: those that the permits in the history give, NO_RATES
    for what is no open. first: what the gate `once` says by the permits in the history, "" where no
    permit stands. earlier: its permit is in the history, but older than what was read. left: what
    it left behind, were it no duplicate or conflict."""

    decision: Decision
    recorded: Recorded
    rules: GovernorRules | None
    hint: tuple[str, ...]
    at_ms: int
    once: bool
    opens: bool
    executes: bool
    full_close: bool
    counted: Rates
    rebuilt: Rates
    first: str
    earlier: bool
    left: Standing

    @property
    def facts(self) -> Facts:
        """What it was judged by."""
        return self.recorded.facts

    @property
    def permitted(self) -> bool:
        """True if it was permitted."""
        return self.recorded.verdict == Verdict.PERMITTED

    @property
    def factor(self) -> float:
        """What its permit was to be multiplied with; 1 is the full size."""
        factor = self.decision.factor
        return 1.0 if factor is None else factor

    @property
    def reading(self) -> AsRead:
        """The score as it was read."""
        own = self.decision
        read_at = loose_text(own.score_read_at_text)
        return AsRead(
            loose_text(own.score_text), loose_text(own.confidence_text),
            loose_text(own.score_at_text), numbers.number(read_at) or 0.0,
        )  # fmt: skip

    def standing(self, permitted: bool) -> Standing:
        """What it leaves behind with such a verdict."""
        if permitted == self.left.permitted:
            return self.left
        return msgspec.structs.replace(self.left, permitted=permitted)


HINT = ("eff_reason", "eff_stale", "eff_action", "eff_factor", "extra_cooldown_sec")
"""The fields of a record that follow from the score as read and the rules."""
_DEFAULTS = Limits()


def _hint(decision: Decision) -> tuple[str, ...]:
    own, factor, cooldown = decision.profile, decision.factor, decision.extra_cooldown_sec
    return (
        own.eff_reason, own.eff_stale, own.eff_action,
        "" if factor is None else numbers.four(factor), "" if cooldown is None else str(cooldown),
    )  # fmt: skip


class Cases:
    """The decisions of a window, in their order. seed: those of the hour before it come first, and
    are not to be judged."""

    def __init__(self, history: History, book: RulesBook, since_ms: int, until_ms: int) -> None:
        self._history, self._book = history, book
        self._since_ms, self._until_ms = since_ms, until_ms
        self._state = Sequence()

    def seed(self) -> Iterator[Case]:
        """Those of the hour before the window; to be read before the window is."""
        return self._read(self._since_ms - HOUR_MS, self._since_ms)

    def window(self) -> Iterator[Case]:
        """Those of the window."""
        return self._read(self._since_ms, self._until_ms)

    def _read(self, low: int, high: int) -> Iterator[Case]:
        return map(self._case, self._history.decisions(low, high))

    def _case(self, decision: Decision) -> Case:
        rules = self._book.governor(decision.profile.limits)
        facts = plain.facts(decision)
        missing: Mapping[str, Iterable[str]] = {}
        if facts is None:
            record = decision.record()
            facts, missing = facts_of(record), unrecorded(record)
            hint = tuple(record.get(name, "") for name in HINT)
        else:
            hint = _hint(decision)
        own, limits = decision.profile, _DEFAULTS if rules is None else rules.limits
        at_ms, executes = decision.decided_ms, own.decision == EXECUTE
        once, opens = own.reason in ONCE, facts.kind is Kind.OPEN
        first = self._first(decision, at_ms, executes)
        left = Standing(
            decision.entry_id, decision.symbol, own.kind, own.verdict == Verdict.PERMITTED, at_ms
        )
        case = Case(
            decision,
            Recorded(
                own.verdict, own.reason, facts, None if rules is None else rules.limits, missing
            ),
            rules,
            hint,
            at_ms,
            once,
            opens,
            executes,
            own.full_close == "1",
            _counted(decision, limits) if opens else NO_RATES,
            self._state.rates(decision.symbol, at_ms, limits) if opens else NO_RATES,
            first,
            once and not first and self._permitted_before(decision),
            left,
        )
        if not once:
            self._state.note(decision.plan_id, left, full_close=case.full_close, limits=limits)
        return case

    def _first(self, decision: Decision, at_ms: int, executes: bool) -> str:
        standing = self._state.standing(decision.plan_id, at_ms)
        if standing is None or not standing.permitted:
            return ""
        return once_reason(standing, decision.symbol, decision.kind, executes)

    def _permitted_before(self, decision: Decision) -> bool:
        """True if the history has its permit, from before what was read."""
        low = decision.decided_ms - DAY_MS
        return any(
            each.verdict == "permitted" and low < each.decided_ms <= decision.decided_ms
            for each in self._history.decisions_on(decision.plan_id)
        )


def once_reason(standing: Standing, symbol: str, kind: str, executes: bool) -> str:
    """What is said of a plan whose plan_id has its permit."""
    same = executes and (standing.symbol, standing.kind) == (symbol, kind)
    return ONCE[0] if same else ONCE[1]


def _counted(decision: Decision, limits: Limits) -> Rates:
    """The rates of a record, as far as a gate goes by them: an open of over an hour ago is none,
    and a close only counts for as long as the cooldown."""
    opened, closed = decision.last_open_age_ms, decision.last_close_age_ms
    reopen_ms = limits.reopen_cooldown_sec * 1000
    return Rates(
        None if opened is None or opened >= HOUR_MS else opened,
        None if closed is None or closed >= reopen_ms else closed,
        decision.opens_5min or 0,
        decision.opens_1h or 0,
        decision.opens_total_5min or 0,
    )


def accounted(case: Case) -> bool:
    """True if the permits in the history give the counts of the record."""
    counted, rebuilt = case.counted, case.rebuilt
    if counted == rebuilt:
        return True
    if case.rules is None or counted.last_close_age_ms is not None:
        return False
    lapsed = rebuilt.last_close_age_ms
    ends_ms = case.rules.limits.reopen_cooldown_sec * 1000
    return (
        lapsed is not None
        and lapsed >= ends_ms - LAPSE_MS
        and counted == msgspec.structs.replace(rebuilt, last_close_age_ms=None)
    )
