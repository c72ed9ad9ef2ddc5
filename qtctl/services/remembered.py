"""What was decided on a symbol, for passes that read the same of it again: most of what is read
outlives many passes.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from qtctl.domain.allocation import AllocationRules, Proposal
from qtctl.domain.readings import is_fresh

_GONE = 1_000


class _Decided(msgspec.Struct, frozen=True, gc=False):
    """usd: of the target, as it was read; score: the reply about the score; at: its time that
    counted, epoch seconds."""

    usd: str
    score: list[str | None]
    at: float
    proposal: Proposal


class Remembered:
    """Of each symbol the last decision that was made on a fresh score, by these rules."""

    def __init__(self, rules: AllocationRules) -> None:
        self._stale_sec = rules.stale_sec
        self._decided: dict[str, _Decided] = {}

    def recall(
        self, now: float, names: Sequence[str], usd: Sequence[str], scores: Sequence[Any]
    ) -> list[Proposal | None]:
        """For each of these symbols the proposal that deciding anew would give; None where only
        that can tell. now: epoch seconds; usd: `target_usd` of its target, "" where there is none;
        scores: the reply about its score.

        A decision holds while target and score are to the letter what it was made on, and the time
        that counted is fresh by the clock of this pass, as it was by that of its own, also where
        the clock stepped back. Then the score is fresh both times (`is_fresh`), and nothing else in
        a proposal depends on the clock.
        """
        decided, stale_sec = self._decided, self._stale_sec
        found: list[Proposal | None] = []
        for name, its_usd, score in zip(names, usd, scores, strict=True):
            was = decided.get(name)
            if (
                was is not None
                and was.usd == its_usd
                and was.score == score
                and is_fresh(now - was.at, stale_sec)
            ):
                found.append(was.proposal)
            else:
                found.append(None)
        return found

    def remember(
        self, now: float, usd: str, score: list[str | None], at: float, proposal: Proposal
    ) -> None:
        """A decision made at `now` on a target and a score that could be read; otherwise as in
        _Decided. One on a score that is not fresh is not remembered."""
        if is_fresh(now - at, self._stale_sec):
            self._decided[proposal.symbol] = _Decided(usd, score, at, proposal)

    def forget(self) -> None:
        """All of it: another server may answer."""
        self._decided.clear()

    def keep_only(self, count: int) -> None:
        """Forgets what was decided on symbols that are gone, now and then. count: those there
        are."""
        if len(self._decided) > 2 * count + _GONE:
            self._decided.clear()
