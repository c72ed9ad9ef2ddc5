"""One symbol of the allocation loop through a window: what it was for how long, and how it moved.

Time is observed time: a clock that passes move on, and that stands still where the history has a
hole. Multipliers are in ten-thousandths, as proposals carry them.
"""

from array import array
from collections import Counter
from collections.abc import Iterable

import msgspec

from qtctl.domain.allocation import AllocationRules, multiplier
from qtctl.domain.numbers import number
from qtctl.domain.readings import Efficiency
from qtctl.domain.reasons import EffReason

ONE = 10_000
FLIP_BAND = 200
"""Within ± 0.02 of 1 a multiplier has no side."""
_WRITTEN_BACK = 50
"""A proposal is told from its target where its multiplier differs from 1 by over 0.005."""
_MOST_RUNS = 32_768
NO_PROPOSAL = "none"
"""The reason of a row without a proposal, since its target could not be read."""


class Follow(msgspec.Struct, frozen=True):
    """How whoever enforces would follow a multiplier: not before it differs by more than the
    deadband, and by at most step_limit a pass; both in ten-thousandths."""

    deadband: int = 0
    step_limit: int = 10**9


class Clamps(msgspec.Struct, frozen=True):
    """The ends of the multiplier under the rules in force; and these."""

    low: int
    high: int
    rules: AllocationRules


class Largest(msgspec.Struct, frozen=True):
    """The largest of something: how much, of which symbol, and when."""

    value: float
    symbol: str
    at_ms: int


class Track:
    """What is known of a symbol so far."""

    __slots__ = (
        "_base", "_clamps", "_e4", "_most", "_reason", "_runs", "_score", "_side",
        "_since", "at_clamps_ms", "clamps_known_ms", "flips", "held", "highest_pct", "highest_step",
        "highest_usd", "live", "live_turnover", "ms", "present", "proposed", "turnover",
        "written_back",
    )  # fmt: skip

    def __init__(self) -> None:
        self.ms: dict[str, int] = {}
        self._runs, self._most = array("q"), _MOST_RUNS
        self.at_clamps_ms = self.clamps_known_ms = self.flips = self.written_back = 0
        self.turnover = self.live_turnover = self.live = self.proposed = 0.0
        self.highest_usd: tuple[float, int] | None = None
        self.highest_pct: tuple[float, int] | None = None
        self.highest_step: tuple[float, int] | None = None
        self.present = False
        self._base: float | None = None
        self._e4: int | None = None
        self._reason = self._score = ""
        self._side = 0
        self.held: int | None = None
        self._since = 0
        self._clamps: Clamps | None = None

    @property
    def ok(self) -> bool:
        """True while its score counts."""
        return self.present and self._reason == EffReason.OK

    def update(
        self, clock: int, ts_ms: int, target: str, score: str, reason: str, mult: str,
        clamps: Clamps | None, follow: Follow, *, anew: bool,
    ) -> bool:  # fmt: skip
        """A row of a pass that differs from the one before. anew: what was before it is not known,
        so nothing moved. True where the multiplier is not followed up yet."""
        if self.present:
            self._close(clock)
        else:
            anew, self.present = True, True
        self._since = clock
        before, self._clamps = self._clamps, clamps
        base = number(target)
        e4 = _ten_thousandths(mult) if reason else None
        if base is None or e4 is None:
            self._reason, self._base, self._e4 = NO_PROPOSAL, None, None
            self.live = self.proposed = 0.0
            return False
        proposed = base * e4 / ONE
        if not anew:
            self._moved(ts_ms, base, e4, proposed, before)
        self._reason, self._base, self._e4, self._score = reason, base, e4, score
        self.live, self.proposed = base, proposed
        self._note_change(ts_ms, proposed - base, e4)
        if anew or self.held is None:
            self.held, self._side = e4, _side(e4)
            return False
        return self.follow(follow)

    def _moved(
        self, ts_ms: int, base: float, e4: int, proposed: float, clamps: Clamps | None
    ) -> None:
        """clamps: those of the pass before."""
        before, was = self._base, self._e4
        if before is None or was is None:
            return
        if base != before:
            self.live_turnover += abs(base - before)
            if abs(was - ONE) > _WRITTEN_BACK and self._equals_last(before, was, base, clamps):
                self.written_back += 1
        self.turnover += abs(proposed - self.proposed)
        if e4 != was:
            # From 0 there is no ratio: then it is the multiplier itself.
            step = abs(e4 / was - 1) if was else e4 / ONE
            if self.highest_step is None or step > self.highest_step[0]:
                self.highest_step = (step, ts_ms)

    def _equals_last(self, before: float, was: int, base: float, clamps: Clamps | None) -> bool:
        """True if the target is, to the cent, what was proposed last, and that was another sum
        than the target before: in cents a proposal of 0.00 for 0.004 changes nothing."""
        if abs(base - before * was / ONE) > 0.01 + before / ONE:
            return False
        exact = was / ONE
        score = number(self._score)
        if self._reason == EffReason.OK and score is not None and clamps is not None:
            exact = multiplier(Efficiency(EffReason.OK, score), clamps.rules)
        last = round(before * exact, 2)
        return last != round(before, 2) and abs(base - last) < 1e-9 * max(1.0, base)

    def _note_change(self, ts_ms: int, usd: float, e4: int) -> None:
        if self.highest_usd is None or abs(usd) > abs(self.highest_usd[0]):
            self.highest_usd = (usd, ts_ms)
        share = (e4 - ONE) / ONE
        if self.highest_pct is None or abs(share) > abs(self.highest_pct[0]):
            self.highest_pct = (share, ts_ms)

    def follow(self, how: Follow) -> bool:
        """One pass of following; True where there is more to follow."""
        if self._e4 is None or self.held is None:
            return False
        away = self._e4 - self.held
        if abs(away) <= how.deadband:
            return False
        self.held += max(-how.step_limit, min(how.step_limit, away))
        side = _side(self.held)
        if side:
            if self._side and side != self._side:
                self.flips += 1
            self._side = side
        return abs(self._e4 - self.held) > how.deadband

    def leave(self, clock: int) -> None:
        """The symbol is in no pass any more, or the window ends."""
        if self.present:
            self._close(clock)
            self.present = False
            self.live = self.proposed = 0.0

    def _close(self, clock: int) -> None:
        lasted = clock - self._since
        if lasted <= 0:
            return
        self.ms[self._reason] = self.ms.get(self._reason, 0) + lasted
        if self._reason != EffReason.OK or self._e4 is None:
            return
        self._runs.append(self._e4)
        self._runs.append(lasted)
        if len(self._runs) > self._most:
            merged = self.multipliers()
            self._runs = array("q", [each for pair in merged.items() for each in pair])
            self._most = max(_MOST_RUNS, 2 * len(self._runs))
        if self._clamps is not None:
            self.clamps_known_ms += lasted
            if not self._clamps.low < self._e4 < self._clamps.high:
                self.at_clamps_ms += lasted

    def multipliers(self) -> dict[int, int]:
        """How long each multiplier stood while the score was ok, ms."""
        found: dict[int, int] = {}
        runs = iter(self._runs)
        for e4, lasted in zip(runs, runs, strict=True):
            found[e4] = found.get(e4, 0) + lasted
        return found

    @property
    def observed_ms(self) -> int:
        """How long it was in passes."""
        return sum(self.ms.values())


def of_all(tracks: Iterable[Track]) -> tuple[Counter[str], Counter[int]]:
    """Of all symbols together: ms in each reason, and by the multiplier that counted."""
    times, weights = Counter[str](), Counter[int]()
    for track in tracks:
        times.update(track.ms)
        weights.update(track.multipliers())
    return times, weights


def _side(e4: int) -> int:
    return (e4 > ONE + FLIP_BAND) - (e4 < ONE - FLIP_BAND)


def _ten_thousandths(text: str) -> int | None:
    value = number(text)
    return None if value is None else round(value * ONE)
