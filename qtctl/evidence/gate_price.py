"""The price of a gate: how long a blocked open would have had to wait.

Rates and cooldowns end by themselves: when, follows from the facts and from the permits before. A
kill switch ends with the first later decision on the symbol that it did not hold, which is an upper
bound. What the plan itself caused (its size, its kill score, its age) never ends.
"""

from collections import Counter, defaultdict, deque

import msgspec

from qtctl.domain.gates import BY_REASON, Facts, Limits, Wait, judge
from qtctl.domain.names import ascii_upper
from qtctl.domain.reasons import Reason
from qtctl.evidence.quantiles import quantile

_KEPT_MS = 3_600_000


class Price(msgspec.Struct, frozen=True):
    """What a gate costs. waits: blocked opens for which the wait is known; never: those that no
    waiting would have let through; unknown: the rest. at_most: the waits are upper bounds.
    p50_sec, p95_sec: of the known waits; None where there are none."""

    reason: str
    waits: int
    never: int
    unknown: int
    at_most: bool
    p50_sec: float | None
    p95_sec: float | None


class Prices:
    """Takes in decisions in their order, from an hour before the window on."""

    def __init__(self) -> None:
        self._opens: dict[str, deque[int]] = {}
        self._all: deque[int] = deque()
        self._held: dict[str, list[int]] = {}
        # By reason.
        self._waits: defaultdict[str, list[float]] = defaultdict(list)
        self._never: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()

    def permitted(self, symbol: str, at_ms: int) -> None:
        """An open got its permit."""
        for marks in (self._opens.setdefault(ascii_upper(symbol), deque()), self._all):
            marks.append(at_ms)
            while marks[0] < at_ms - _KEPT_MS:
                marks.popleft()

    def passed_kill_switch(self, symbol: str, at_ms: int) -> None:
        """A decision on the symbol that the kill switch would have let pass as an open."""
        for since in self._held.pop(ascii_upper(symbol), ()):
            self._waits[Reason.KILL_SWITCH].append(round((at_ms - since) / 1000, 3))

    def blocked(self, facts: Facts, limits: Limits | None, reason: str, at_ms: int) -> None:
        """An open was blocked for a reason."""
        if reason == Reason.KILL_SWITCH:
            self._held.setdefault(ascii_upper(facts.symbol), []).append(at_ms)
            return
        if limits is None:
            self._unknown[reason] += 1
            return
        failed = [check.reason for check in judge(facts, limits).worksheet if check.passed is False]
        waits = [BY_REASON[each].wait for each in failed]
        if not failed or any(wait is None for wait in waits):
            known = bool(failed) and Reason.QUARANTINE not in failed
            (self._never if known else self._unknown)[reason] += 1
            return
        ends = [self._ends(each, facts, limits, at_ms) for each in failed]
        known_ends = [end for end in ends if end is not None]
        if len(known_ends) < len(ends):
            self._unknown[reason] += 1
        else:
            wait_sec = max(0.0, max(known_ends) - at_ms / 1000)
            self._waits[reason].append(round(wait_sec, 3))

    def _ends(self, reason: Reason, facts: Facts, limits: Limits, at_ms: int) -> float | None:
        """When a gate would have let it pass, epoch seconds; None where a mark is unknown."""
        gate = BY_REASON[reason]
        wait, limit = gate.wait, getattr(limits, gate.limits[0])
        assert wait is not None, "asked only of gates that end by themselves"
        if wait.window_sec is None:
            age = getattr(facts, gate.facts[0])
            return None if age is None else wait.ends(at_ms / 1000 - age, limit)
        mark = self._mark(wait, facts, limit, getattr(facts, gate.facts[0]), at_ms)
        return None if mark is None else wait.ends(mark / 1000, limit)

    def _mark(self, wait: Wait, facts: Facts, limit: float, count: int, at_ms: int) -> int | None:
        """The open that must grow old enough; None unless all that the gate had counted are here,
        or as many as decide."""
        marks = (
            self._all if wait.mark == "all_opens" else self._opens.get(ascii_upper(facts.symbol))
        )
        nth = wait.marks(limit)
        if marks is None or wait.window_sec is None or len(marks) < nth:
            return None
        inside = sum(mark > at_ms - wait.window_sec * 1000 for mark in marks)
        return marks[-nth] if inside >= count else None

    def prices(self) -> list[Price]:
        """Of each gate that blocked an open, in the order of the gates."""
        if self._held:
            self._unknown[Reason.KILL_SWITCH] += sum(map(len, self._held.values()))
            self._held.clear()
        there = {*self._waits, *self._never, *self._unknown}
        return [self._price(gate) for gate in map(str, BY_REASON) if gate in there]

    def _price(self, reason: str) -> Price:
        waits = sorted(self._waits[reason])
        return Price(
            reason, len(waits), self._never[reason], self._unknown[reason],
            reason == Reason.KILL_SWITCH, quantile(waits, 0.5), quantile(waits, 0.95),
        )  # fmt: skip
