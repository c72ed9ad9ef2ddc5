"""Synthetic plans, in the formats of the publishers that are out there: some without `action`, some
without `kill_score`, closes by `reduceOnly`, by action or by side, and what is not to be executed.
"""

import random
from collections.abc import Sequence

import msgspec

PER_MINUTE = 6.0
"""Plans of all publishers together, on average."""
HOLD_MS = 1_800_000
"""How long a position is held, on average."""
_ODD = 0.04
"""The share of plans that are not to be executed, repeat another, or contradict it."""


class Sent(msgspec.Struct, frozen=True):
    """A plan as it was put on the stream. at_ms: by the server's clock, and the head of its id."""

    at_ms: int
    fields: dict[str, str]


class Publishers:
    """All that send plans, by a seed; opens first, closes of what was opened later."""

    def __init__(self, seed: int, symbols: Sequence[str], per_minute: float = PER_MINUTE) -> None:
        self._random = random.Random(seed ^ 0x9E3779B9)
        self._symbols = symbols
        self._gap_ms = 60_000 / per_minute
        self._next_ms: float | None = None
        self._held: list[tuple[int, str, str]] = []
        self._last: Sent | None = None
        self._number = 0

    def until(self, now_ms: int) -> list[Sent]:
        """What was sent up to now, in its order; the first call sends nothing."""
        found: list[Sent] = []
        if self._next_ms is None:
            self._next_ms = now_ms + self._random.expovariate(1 / self._gap_ms)
        while self._next_ms <= now_ms:
            sent = self._plan(int(self._next_ms))
            found.append(sent)
            self._last = sent
            self._next_ms += self._random.expovariate(1 / self._gap_ms)
        return found

    def _plan(self, at_ms: int) -> Sent:
        odd = self._random.random()
        if odd < _ODD / 4 and self._last is not None:
            return Sent(at_ms, self._last.fields)  # Sent again.
        if odd < _ODD / 3 and self._last is not None:
            return Sent(at_ms, self._last.fields | {"symbol": self._any_symbol()})
        due = [each for each in self._held if each[0] <= at_ms]
        if due:
            self._held.remove(due[0])
            fields = self._close(at_ms, *due[0][1:])
        else:
            fields = self._open(at_ms)
        if odd > 1 - _ODD / 2:
            fields["decision"] = self._random.choice(("SKIP", "BLOCKED", "HOLD"))
        return Sent(at_ms, fields)

    def _open(self, at_ms: int) -> dict[str, str]:
        symbol, side = self._any_symbol(), self._random.choice(("BUY", "SELL"))
        notional = self._random.uniform(20.0, 230.0)
        price = self._random.uniform(0.5, 500.0)
        hold = self._random.expovariate(1 / HOLD_MS)
        self._held.append((int(at_ms + hold), symbol, side))
        self._held.sort()
        fields = {
            "plan_id": self._name(), "symbol": symbol, "decision": "EXECUTE", "side": side,
            "type": "MARKET", "qty": f"{notional / price:.6f}", "reduceOnly": "false",
            "source": "intent_bridge", "timestamp": f"{at_ms / 1000:.3f}",
        }  # fmt: skip
        if self._random.random() < 0.7:
            fields |= {"action": "OPEN_PROPOSED", "price": f"{price:.4f}"}
            fields["kill_score"] = f"{min(1.0, self._random.betavariate(2, 6)):.3f}"
        return fields

    def _close(self, at_ms: int, symbol: str, side: str) -> dict[str, str]:
        fields = {
            "plan_id": self._name(), "symbol": symbol, "decision": "EXECUTE",
            "timestamp": str(at_ms // 1000), "kill_score": f"{self._random.random():.3f}",
        }  # fmt: skip
        publisher = self._random.random()
        if publisher < 0.5:
            fields |= {"action": "FULL_CLOSE_PROPOSED", "close_qty": "0.0", "price": ""}
        elif publisher < 0.75:
            fields |= {"action": "PARTIAL_75", "close_qty": "0.0", "price": ""}
        elif publisher < 0.9:
            back = "SELL" if side == "BUY" else "BUY"
            fields |= {"side": back, "type": "MARKET", "qty": "0.5", "reduceOnly": "true"}
            fields["source"] = "intent_bridge"
        else:
            fields |= {"side": "CLOSE", "qty": "0.0", "source": "p3.4"}
        return fields

    def _any_symbol(self) -> str:
        # A few symbols are traded far more than the rest.
        return self._symbols[int(len(self._symbols) * self._random.random() ** 2)]

    def _name(self) -> str:
        self._number += 1
        return f"sim-{self._number:06}-{self._random.getrandbits(32):08x}"
