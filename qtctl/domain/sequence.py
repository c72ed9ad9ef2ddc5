"""What one permit changes for the next decision: the ledgers of opens, the last full closes, and
the decisions that stand. The atomic step keeps the same in Redis (`wire/lua/commit_permit.lua`);
here it is a value of its own, for the synthetic market and for replays.

Times are epoch ms on the server's clock. Source: docs/rules.md#the-gates.
"""

from bisect import bisect_right, insort
from collections import deque

import msgspec

from qtctl.domain.gates import Limits
from qtctl.domain.names import ascii_upper

FIVE_MIN_MS, HOUR_MS, DAY_MS = 300_000, 3_600_000, 86_400_000


class Rates(msgspec.Struct, frozen=True, gc=False):
    """The facts of a plan that other permits decide; see Facts. None: no such permit in the last
    hour, or none that the cooldown remembers."""

    last_open_age_ms: int | None
    last_close_age_ms: int | None
    opens_5min: int
    opens_1h: int
    opens_total_5min: int


class Standing(msgspec.Struct, frozen=True, gc=False):
    """The decision that stands for a plan_id. permitted stays, though the permit was withdrawn."""

    entry_id: str
    symbol: str
    kind: str
    permitted: bool
    at_ms: int


class Sequence:
    """The state that decisions leave behind. Plans come in the order in which they were judged; the
    clock may step back between two of them, and what lies ahead of it then says nothing."""

    def __init__(self) -> None:
        self._opens: dict[str, list[int]] = {}
        self._all: list[int] = []
        self._closes: dict[str, int] = {}
        self._standing: dict[str, Standing] = {}
        self._expire: deque[tuple[int, str]] = deque()

    def rates(self, symbol: str, now_ms: int, limits: Limits) -> Rates:
        """The facts for a plan of this symbol that is judged now."""
        name = ascii_upper(symbol)
        opens = self._opens.get(name, ())
        until = bisect_right(opens, now_ms)
        in_hour = bisect_right(opens, now_ms - HOUR_MS)
        in_five = bisect_right(opens, now_ms - FIVE_MIN_MS)
        last = opens[until - 1] if until > in_hour else None
        closed = self._closes.get(name)
        close_age = None if closed is None else now_ms - closed
        reopen_ms = limits.reopen_cooldown_sec * 1000
        if close_age is not None and (not reopen_ms or close_age >= reopen_ms):
            close_age = None
        return Rates(
            None if last is None else now_ms - last,
            close_age,
            until - in_five,
            until - in_hour,
            bisect_right(self._all, now_ms) - bisect_right(self._all, now_ms - FIVE_MIN_MS),
        )

    def standing(self, plan_id: str, now_ms: int) -> Standing | None:
        """The decision that stands for a plan_id, for 24 h after it was taken."""
        found = self._standing.get(plan_id)
        return None if found is None or now_ms - found.at_ms >= DAY_MS else found

    def note(self, plan_id: str, decided: Standing, *, full_close: bool, limits: Limits) -> None:
        """A decision that was just taken, other than about a duplicate or a conflict."""
        now_ms = decided.at_ms
        self._standing[plan_id] = decided
        self._expire.append((now_ms, plan_id))
        self._forget(now_ms)
        if not decided.permitted:
            return
        name = ascii_upper(decided.symbol)
        if decided.kind == "open":
            opens = self._opens.setdefault(name, [])
            if opens and opens[-1] > now_ms:
                # The clock stepped back: as in the atomic step, what is ahead of it goes.
                del opens[bisect_right(opens, now_ms) :]
                del self._all[bisect_right(self._all, now_ms) :]
            del opens[: bisect_right(opens, now_ms - HOUR_MS)]
            opens.append(now_ms)
            if self._all and self._all[0] <= now_ms - 2 * HOUR_MS:
                del self._all[: bisect_right(self._all, now_ms - HOUR_MS)]
            insort(self._all, now_ms)
        elif full_close and limits.reopen_cooldown_sec > 0:
            self._closes[name] = now_ms

    def _forget(self, now_ms: int) -> None:
        while self._expire and self._expire[0][0] <= now_ms - DAY_MS:
            at, plan_id = self._expire.popleft()
            if self._standing.get(plan_id, _NEVER).at_ms == at:
                del self._standing[plan_id]


_NEVER = Standing("", "", "", False, -1)
NO_RATES = Rates(None, None, 0, 0, 0)
"""Nothing was permitted yet, or it does not matter."""
