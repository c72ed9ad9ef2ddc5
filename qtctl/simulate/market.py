"""A synthetic market: targets and scores of many symbols, by a seed, in simulated time.

Each score is a bounded random walk around a level of its own, with a slow daily swing; how fast it
walks is the market's regime. Targets walk slowly. Both are written by producers with their own
formats and periods, as the real ones do. The same seed gives the same market, to the byte.
"""

import math
import random
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from qtctl.domain.passes import Columns

FAULTS = ("stale", "flat", "oscillating", "compounding", "gap", "lockdown", "drift")
"""What can be planted; see docs/history.md#simulate."""
PERIOD_MS = 60_000
"""How often a producer writes the target and the score of a symbol."""
DAY_MS = 86_400_000
_CALM, _TREND, _STRESS = 0.6, 1.0, 1.8
_REGIMES = (_CALM, _TREND, _CALM, _STRESS, _CALM, _TREND)
"""How fast scores walk in each, in their order."""
_REGIME_MS = 4 * 3_600_000
_STEP, _PULL, _SWING = 0.003, 0.0018, 0.05
_KNOWN = ("BTC", "ETH", "SOL", "BNB", "XRP", "ADA", "DOGE", "AVAX", "LINK", "DOT")


def symbols(count: int) -> list[str]:
    """So many names, sorted: the known ones first, then made up ones."""
    made = [f"{name}USDT" for name in _KNOWN[:count]]
    return sorted(made + [f"SYM{place:04}USDT" for place in range(count - len(made))])


class _Symbol(msgspec.Struct):
    """One symbol's own numbers. producer: which of the three formats its score has."""

    name: str
    level: float
    phase: float
    offset_ms: int
    producer: int
    score: float
    confidence: float
    usd: float
    noise: random.Random


class Market:
    """What upstream would have written by now. faults: of FAULTS; those that concern scores or
    targets are planted here, from a quarter of the time on."""

    def __init__(
        self, seed: int, count: int, start_ms: int, end_ms: int, faults: Iterable[str] = ()
    ) -> None:
        self._random = random.Random(seed)
        self._start_ms, self._faults = start_ms, frozenset(faults)
        self._fault_ms = start_ms + (end_ms - start_ms) // 4
        self._span_ms = max(1, end_ms - self._fault_ms)
        self.names = symbols(count)
        self._symbols = [self._symbol(name, place) for place, name in enumerate(self.names)]
        empty = [""] * count
        self.targets, self.target_times = [*empty], [*empty]
        self.scores, self.confidences = [*empty], [*empty]
        self.score_ts, self.score_timestamps = [*empty], [*empty]
        self._due: dict[int, list[int]] = {}
        for place, each in enumerate(self._symbols):
            self._due.setdefault(each.offset_ms, []).append(place)
        self._offsets = sorted(self._due)
        self._now_ms = start_ms - PERIOD_MS - 1
        self.advance(start_ms)

    def _symbol(self, name: str, place: int) -> _Symbol:
        own = random.Random(self._random.getrandbits(64))
        level = 0.42 + 0.16 * own.random()
        return _Symbol(
            name, level, own.random(), own.randrange(0, PERIOD_MS, 100), place % 3, level,
            0.75 + 0.2 * own.random(), 200.0 + 4_800.0 * own.random() ** 2, own,
        )  # fmt: skip

    def _pace(self, now_ms: int) -> float:
        """How fast scores walk in the regime, which holds for hours."""
        return _REGIMES[(now_ms - self._start_ms) // _REGIME_MS % len(_REGIMES)]

    def advance(self, now_ms: int) -> list[int]:
        """Lets the producers write up to now; the places of the symbols that changed, ascending."""
        changed: set[int] = set()
        before, self._now_ms = self._now_ms, now_ms
        for offset in self._offsets:
            last = (now_ms - offset) // PERIOD_MS * PERIOD_MS + offset
            if last > before:
                for place in self._due[offset]:
                    self._write(place, last)
                changed.update(self._due[offset])
        return sorted(changed)

    def _write(self, place: int, at_ms: int) -> None:
        own = self._symbols[place]
        faulty = at_ms >= self._fault_ms
        self._walk(own, at_ms, faulty)
        self.targets[place] = f"{own.usd:.6f}"
        self.target_times[place] = str(at_ms // 1000)
        if faulty and "stale" in self._faults and place % 5 == 0:
            return  # Its producer has died; what it wrote last stays.
        self.confidences[place] = repr(round(own.confidence, 4))
        if own.producer == 0:
            self.scores[place], self.score_ts[place] = f"{own.score:.6f}", str(at_ms // 1000)
        elif own.producer == 1:
            moment = datetime.fromtimestamp(at_ms / 1000, UTC)
            self.scores[place] = repr(round(own.score, 8))
            self.score_timestamps[place] = moment.isoformat(timespec="milliseconds")
        else:
            self.scores[place] = f"{own.score:.4f}"
            self.score_timestamps[place] = f"{at_ms / 1000:.3f}"

    def _walk(self, own: _Symbol, at_ms: int, faulty: bool) -> None:
        noise, pace = own.noise, self._pace(at_ms)
        swing = _SWING * math.sin(2 * math.pi * (at_ms / DAY_MS + own.phase))
        middle = own.level + swing
        step = noise.gauss(0.0, _STEP * pace) + _PULL * (middle - own.score) * 5
        own.score = min(0.98, max(0.02, own.score + step))
        own.confidence = min(0.97, max(0.7, own.confidence + noise.gauss(0.0, 0.004)))
        own.usd *= math.exp(noise.gauss(0.0, 0.0015 * pace))
        if not faulty:
            return
        if "flat" in self._faults:
            own.score = 0.5
        elif "oscillating" in self._faults:
            own.score = 0.58 if (at_ms // PERIOD_MS) % 2 else 0.42
        elif "drift" in self._faults:
            done = (at_ms - self._fault_ms) / self._span_ms
            own.score = min(1.0, own.level + 0.55 * min(1.0, 2 * done))

    def write_back(self, place: int, proposed: str) -> None:
        """The fault `compounding`: a proposal becomes the target that the next one starts from."""
        if "compounding" in self._faults and self._now_ms >= self._fault_ms and place % 10 == 0:
            self.targets[place] = proposed
            self._symbols[place].usd = min(float(proposed), 1e9)

    def columns(self, reasons: list[str], multipliers: list[str]) -> Columns:
        """The columns of a pass over what is there now."""
        return Columns(
            self.names, [*self.targets], [*self.target_times], [*self.scores],
            [*self.confidences], [*self.score_ts], [*self.score_timestamps], [*reasons],
            [*multipliers],
        )  # fmt: skip

    def score_of(self, place: int) -> dict[str, str]:
        """The efficiency hash of a symbol."""
        found = {
            "efficiency_score": self.scores[place],
            "confidence": self.confidences[place],
            "ts": self.score_ts[place],
            "timestamp": self.score_timestamps[place],
        }
        return {name: text for name, text in found.items() if text}
