"""Passes and decisions by the thousand for the bench of the history, in the producers' formats.

Targets have all the digits of a double, as P2.9 writes them; scores three, with `ts` in seconds or,
of a third of the symbols, an ISO 8601 `timestamp` (docs/rules.md#reading-a-score). `digits` gives
scores all the digits of a double as well.
"""

import random
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from qtctl.domain import numbers
from qtctl.domain.passes import COLUMNS, Columns, Pass
from qtctl.history.ids import unpacked
from qtctl.history.rows import Entry, PassEntry

START_MS = 1_769_558_400_000
"""2026-01-28, midnight."""
PASS_MS = 10_000
CHANGE_PASSES = 6
"""A symbol's values change every 60 s, in another pass than its neighbours'."""


class Market:
    """Symbols whose scores and targets walk at random."""

    def __init__(self, symbols: int, *, digits: bool = False, seed: int = 7) -> None:
        self._random, self._digits = random.Random(seed), digits
        self._scores = [self._random.uniform(0.2, 0.8) for _ in range(symbols)]
        self._targets = [self._random.uniform(20, 2_000) for _ in range(symbols)]
        self._columns: list[list[str]] = [
            [f"SYM{i:04d}USDT" for i in range(symbols)],
            *([""] * symbols for _ in COLUMNS[1:]),
        ]
        for symbol in range(symbols):
            self._change(symbol, START_MS)

    def passes(self, count: int, every: int = CHANGE_PASSES) -> Iterator[PassEntry]:
        """So many passes; each symbol changes in one of `every`."""
        for number in range(count):
            at_ms = START_MS + number * PASS_MS
            for symbol in range(number % every, len(self._scores), every):
                self._change(symbol, at_ms)
            columns = Columns(*[list(column) for column in self._columns])
            value = Pass(number + 1, at_ms, "host-1", "0.9.0", "5f2a", len(columns), columns)
            yield PassEntry(f"{at_ms + 3}-0", value)

    def _change(self, symbol: int, at_ms: int) -> None:
        draw = self._random
        score = min(1.0, max(0.0, self._scores[symbol] + draw.gauss(0, 0.01)))
        target = self._targets[symbol] * (1 + draw.gauss(0, 0.005))
        self._scores[symbol], self._targets[symbol] = score, target
        at = at_ms / 1000 - draw.random() * 5
        iso = symbol % 3 == 0
        confidence = draw.uniform(0.6, 0.9)
        moment = datetime.fromtimestamp(at, UTC).isoformat() if iso else ""
        row = (
            repr(target), str(int(at)),
            repr(score) if self._digits else f"{score:.3f}",
            f"{confidence:.2f}",
            "" if iso else str(int(at)), moment, "ok", numbers.four(0.5 + score),
        )  # fmt: skip
        for column, value in zip(self._columns[1:], row, strict=True):
            column[symbol] = value


def decisions(count: int, seed: int = 7, gap_ms: int = 2) -> Iterator[Entry]:
    """Decisions as the governor publishes them, 500 a second unless they are further apart."""
    draw = random.Random(seed)
    for number in range(count):
        ms = START_MS + number * gap_ms
        yield Entry(unpacked(ms << 21), _decision(draw, ms, number))


def _decision(draw: random.Random, ms: int, number: int) -> Mapping[str, str]:
    queued, opened = draw.randrange(2, 60), draw.randrange(1_000, 3_600_000)
    score, qty, price = draw.random(), draw.uniform(0.001, 9), round(draw.uniform(1, 60_000), 2)
    read_at, planned = ms / 1000 - draw.random() / 500, ms / 1000 - draw.random()
    scored = ms // 1000 - draw.randrange(60)
    down, closes = score < 0.45, number % 3 == 0
    factor = numbers.four(max(0.25, score / 0.45) if down else 1.0)
    reason = draw.choice(("ok", "symbol_cooldown", "burst_limit_exceeded"))
    return {
        "verdict": "permitted" if reason == "ok" else "blocked", "reason": reason,
        "plan_id": str(uuid.UUID(int=draw.getrandbits(128))),
        "entry_id": f"{ms - queued}-{number % 1_000}",
        "symbol": f"SYM{draw.randrange(500):04d}USDT", "kind": "close" if closes else "open",
        "action": "FULL_CLOSE_PROPOSED" if closes else "OPEN_PROPOSED", "side": "BUY",
        "qty": repr(qty), "price": repr(price), "source": "harvest_brain",
        "kill_score": repr(round(draw.random(), 3)), "notional_usd": numbers.usd(qty * price),
        "eff_score": numbers.four(score), "eff_confidence": "0.71", "eff_stale": "0",
        "eff_factor": factor, "eff_action": "DOWNSIZE" if down else "NONE", "eff_reason": "ok",
        "downsize_factor": factor,
        "extra_cooldown_sec": str(round((1 - score) * 120)) if down else "0",
        "eff_age_sec": numbers.millis(read_at - scored), "deliveries": "1", "attempts": "1",
        "instance": "host-1", "version": "0.9.0", "limits": "9d41", "permitted_before": "0",
        "decided_at": numbers.millis(ms / 1000),
        "plan_age_sec": numbers.millis((ms - round(planned * 1000)) / 1000),
        "queue_age_sec": numbers.millis(queued / 1000), "kill_key": "", "kill_value": "",
        "kill_level": "0", "queued_before_server": "0", "clock_jump": "0",
        "last_open_at": str((ms - opened) // 1000),
        "last_open_age_sec": numbers.millis(opened / 1000), "last_close_age_sec": "",
        "opens_5min": str(draw.randrange(3)), "opens_1h": str(draw.randrange(4)),
        "opens_total_5min": str(draw.randrange(30)), "decision": "EXECUTE",
        "full_close": "1" if closes else "0", "plan_at": repr(planned), "score": repr(score),
        "confidence": "0.71", "score_at": str(scored), "score_read_at": repr(read_at),
        "withdrawn": "0",
    }  # fmt: skip
