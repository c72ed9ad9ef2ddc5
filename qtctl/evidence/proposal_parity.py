"""Proposals judged again: each row of each pass by the rules in force must give the reason and the
multiplier that were recorded, to the byte.

A row that did not change is judged again once its score's age may change what it counts as; until
then it is proven by the row before.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from qtctl.domain import numbers
from qtctl.domain.allocation import AllocationRules, multiplier
from qtctl.domain.passes import Columns
from qtctl.domain.readings import MAX_AHEAD_SEC, Unusable, assess, target_usd
from qtctl.history.day_reader import PassRead
from qtctl.history.reader import History

_CLOSE_SEC = 0.001
MAX_EXAMPLES = 10


class Difference(msgspec.Struct, frozen=True):
    """A proposal that comes out otherwise: what was recorded, and what comes out."""

    at_ms: int
    symbol: str
    recorded: str
    again: str


class ProposalParity:
    """Judges rows as `shadow.Judge`. judged: rows that were; proven: rows that did not change;
    unknown: rows whose rules the history lacks; differing: by symbol."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._rules: dict[str, AllocationRules | None] = {}
        self.judged = self.proven = self.unknown = 0
        self.differing: dict[str, int] = {}
        self.examples: list[Difference] = []
        self._rows: Sequence[int] = ()
        self._turn: list[int] = []
        self._due: list[tuple[float, int, int]] = []
        self._last = ""

    def begin(self, rows: Sequence[int], symbols: int) -> None:
        """The rows are others from here on; those that count."""
        self._rows, self._turn, self._due = rows, [0] * symbols, []

    def rows(self, read: PassRead, rows: Iterable[int]) -> None:
        """The next pass, and which of its rows changed."""
        value, now = read.value, read.value.ts_ms / 1000
        rules = self._ruled(value.rules)
        if rules is None:
            self.unknown += len(self._rows)
            self._last = ""
            return
        if value.rules != self._last:
            rows, self._last = self._rows, value.rules
        wanted = set(rows) | self._aged(now) if self._due and self._due[0][0] <= now else rows
        judged = 0
        for row in wanted:
            judged += 1
            self._judge(value.columns, row, now, rules)
        self.judged += judged
        self.proven += len(self._rows) - judged

    def _aged(self, now: float) -> set[int]:
        """The rows whose score may count as something else by now."""
        found = set()
        while self._due and self._due[0][0] <= now:
            _, row, turn = heapq.heappop(self._due)
            if turn == self._turn[row]:
                found.add(row)
        return found

    def _ruled(self, digest: str) -> AllocationRules | None:
        if digest not in self._rules:
            self._rules[digest] = self._history.rules(digest)
        return self._rules[digest]

    def _judge(self, columns: Columns, row: int, now: float, rules: AllocationRules) -> None:
        recorded = columns.reason[row], columns.multiplier[row]
        raw = columns.efficiency(row)
        again = ("", "")
        if not isinstance(target_usd({"target_usd": columns.target_usd[row]}), Unusable):
            efficiency = assess(raw, now, rules.stale_sec, rules.min_conf)
            again = (efficiency.reason.value, numbers.four(multiplier(efficiency, rules)))
        if again != recorded:
            self._differs(columns.symbol[row], now, recorded, again)
        self._turn[row] += 1
        if isinstance(raw, Mapping):
            self._watch(raw, row, now, rules.stale_sec)

    def _watch(self, raw: Mapping[str, str], row: int, now: float, stale_sec: float) -> None:
        """Has it judged again when one of its times gets too old, or is no longer ahead."""
        ends = []
        for name in ("ts", "timestamp"):
            text = raw[name]
            at = numbers.epoch(text) if text else None
            if at is not None:
                ends += [at + stale_sec, at - MAX_AHEAD_SEC]
        then = min((end for end in ends if end >= now - _CLOSE_SEC), default=None)
        if then is not None:
            heapq.heappush(self._due, (then - _CLOSE_SEC, row, self._turn[row]))

    def _differs(
        self, symbol: str, now: float, recorded: tuple[str, str], again: tuple[str, str]
    ) -> None:
        self.differing[symbol] = self.differing.get(symbol, 0) + 1
        if len(self.examples) < MAX_EXAMPLES:
            shown = (" ".join(each) or "no proposal" for each in (recorded, again))
            self.examples.append(Difference(round(now * 1000), symbol, *shown))
