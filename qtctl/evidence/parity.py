"""Parity: with the settings that were in force, every recorded verdict, reason, factor and
multiplier comes out again, to the byte.

What can't be judged again, since the history lacks what it was judged by, is unproven: it is
counted by why, and is neither a match nor a difference.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from qtctl.domain.gates import reason_of
from qtctl.domain.reasons import Reason
from qtctl.domain.sequence import DAY_MS
from qtctl.domain.what_if import lacking
from qtctl.evidence.cases import HINT, Case, Cases, accounted
from qtctl.evidence.hints import fields_of, hint_of
from qtctl.evidence.proposals import Rows
from qtctl.evidence.rules import RulesBook
from qtctl.evidence.scenario import UNKNOWN_LIMITS
from qtctl.history.day_reader import PassRead
from qtctl.history.reader import History

MOST_LISTED = 20
UNKNOWN_RULES = "the rules of its pass are not in the history"
UNKNOWN_PERMIT = "its plan's permit is not in the history, which has a gap in the 24 h before"
UNKNOWN_LOSS = "its plan had a permit, which Redis may have lost: there is a gap after it"


class Difference(msgspec.Struct, frozen=True):
    """A recorded value that does not come out again. what: decision or proposal; id: of the entry;
    name: the plan_id or the symbol; field: of the record."""

    what: str
    at_ms: int
    id: str
    name: str
    field: str
    recorded: str
    again: str


class Parity(msgspec.Struct, frozen=True):
    """How much came out again. decisions, proposals: judged again; unproven: those that can't be,
    by why; uncounted: opens whose counts rest on permits that the history lacks (their verdict is
    proven on the counts as recorded); differences: all; listed: the first of them. limits, rules:
    digests of those in force at the end, "" where there are no decisions or no passes."""

    decisions: int
    proposals: int
    unproven: dict[str, int]
    uncounted: int
    differences: int
    listed: Sequence[Difference]
    limits: str = ""
    rules: str = ""

    @property
    def holds(self) -> bool:
        """True if everything that can be judged again came out as recorded, and that is
        something."""
        return not self.differences and self.decisions + self.proposals > 0

    @property
    def share(self) -> float | None:
        """The share that came out again; None where nothing could be judged."""
        judged = self.decisions + self.proposals
        return (judged - self.differences) / judged if judged else None


class Checker:
    """Takes decisions and passes in their order, and compares."""

    def __init__(self, history: History, book: RulesBook) -> None:
        self._book = book
        span = history.span()
        self._first_ms = 0 if span is None else span[0]
        self._breaks = [(gap.from_ms, gap.to_ms) for gap in history.gaps()] + [
            (row.at_ms, row.at_ms) for row in history.servers() if row.what != "seen"
        ]
        self._rows = Rows()
        self._unproven: Counter[str] = Counter()
        self._decisions = self._proposals = self._uncounted = self._differences = 0
        self._listed: list[Difference] = []
        self.differing: Counter[str] = Counter()
        """How many differences each symbol has."""
        self._limits = self._latest_rules = ""

    def decision(self, case: Case) -> str:
        """Compares one; why it can't be judged again, or ""."""
        self._limits = case.decision.profile.limits
        unknown = self._unknown(case)
        if unknown:
            self._unproven[unknown] += 1
            return unknown
        self._decisions += 1
        if case.opens and not case.once and not accounted(case):
            self._uncounted += 1
        for field, recorded, again in self._compared(case):
            if recorded != again:
                own = case.decision
                self._differ(
                    Difference("decision", case.at_ms, own.id, own.plan_id, field, recorded, again),
                    own.symbol,
                )
                break
        return ""

    def proposals(self, read: PassRead) -> None:
        """Compares those of one pass."""
        value, columns = read.value, read.value.columns
        self._latest_rules = value.rules
        rules = self._book.allocation(value.rules)
        wanted, outcomes = self._rows.take(read, rules), self._rows.outcomes
        if rules is None:
            self._unproven[UNKNOWN_RULES] += len(columns)
            return
        self._proposals += len(columns)
        for row in wanted:
            recorded, again = (columns.reason[row], columns.multiplier[row]), outcomes[row]
            if recorded != again:
                field = 0 if recorded[0] != again[0] else 1
                self._differ(
                    Difference(
                        "proposal",
                        value.ts_ms,
                        read.id,
                        columns.symbol[row],
                        ("reason", "multiplier")[field],
                        recorded[field],
                        again[field],
                    ),
                    columns.symbol[row],
                )

    def result(self) -> Parity:
        """What was found so far."""
        return Parity(
            self._decisions, self._proposals, dict(self._unproven.most_common()), self._uncounted,
            self._differences, tuple(self._listed), self._limits, self._latest_rules,
        )  # fmt: skip

    def _differ(self, found: Difference, symbol: str) -> None:
        self._differences += 1
        self.differing[symbol] += 1
        if len(self._listed) < MOST_LISTED:
            self._listed.append(found)

    def _unknown(self, case: Case) -> str:
        if case.rules is None:
            return UNKNOWN_LIMITS
        if case.once:
            known = case.first or case.earlier
            return "" if known or not self._broken(case) else UNKNOWN_PERMIT
        if case.first and self._broken(case):
            return UNKNOWN_LOSS
        return lacking(case.recorded, case.rules.limits)

    def _broken(self, case: Case) -> bool:
        """True if the history is not whole in the 24 h before."""
        low = case.at_ms - DAY_MS
        return self._first_ms > low or any(
            begin < case.at_ms and end >= low for begin, end in self._breaks
        )

    def _compared(self, case: Case) -> Iterator[tuple[str, str, str]]:
        """Field, recorded, again; the first that differs counts."""
        assert case.rules is not None, "without rules a case is unknown"
        if case.once:
            reason = case.first or (case.recorded.reason if case.earlier else Reason.OK.value)
        elif case.first:
            reason = case.first
        else:
            reason = reason_of(case.facts, case.rules.limits).value
        yield "reason", case.recorded.reason, reason
        yield "verdict", case.recorded.verdict, "permitted" if reason == Reason.OK else "blocked"
        again = fields_of(hint_of(case.reading, case.hint[0], case.rules.downsize))
        yield from zip(HINT, case.hint, again, strict=True)


def decisions_checked(history: History, since_ms: int, until_ms: int) -> Checker:
    """What compares, with the decisions of a window behind it."""
    book = RulesBook(history)
    checker, cases = Checker(history, book), Cases(history, book, since_ms, until_ms)
    for _ in cases.seed():
        pass
    for case in cases.window():
        checker.decision(case)
    return checker


def check(
    history: History,
    since_ms: int,
    until_ms: int,
    also: Iterable[Callable[[PassRead], None]] = (),
) -> Parity:
    """Parity of all that a window holds. also: gets each pass as well."""
    checker = decisions_checked(history, since_ms, until_ms)
    for read in history.passes(since_ms, until_ms):
        checker.proposals(read)
        for take in also:
            take(read)
    return checker.result()
