"""Passes and decisions as the loops publish them, for the tests of the history."""

from qtctl.domain.passes import Columns, Pass
from qtctl.history.rows import Entry, PassEntry

NOON = 1_769_688_000_000
MIDNIGHT = 1_769_731_200_000
"""When 2026-01-29 ends."""
DAY_MS = 86_400_000
DECISION = {
    "verdict": "permitted", "reason": "ok", "plan_id": "p1", "entry_id": f"{NOON - 7}-0",
    "symbol": "BTCUSDT", "kind": "open", "action": "OPEN_PROPOSED", "side": "BUY", "qty": "0.001",
    "price": "43250.5", "source": "harvest", "kill_score": "0.539", "notional_usd": "43.25",
    "eff_score": "0.4500", "eff_confidence": "0.8", "eff_stale": "0", "eff_factor": "0.9999",
    "eff_action": "DOWNSIZE", "eff_reason": "ok", "downsize_factor": "0.9999",
    "extra_cooldown_sec": "66", "eff_age_sec": "12.345", "deliveries": "1", "attempts": "1",
    "instance": "h1", "version": "0.1", "limits": "abcd", "permitted_before": "0",
    "decided_at": f"{NOON // 1000}.000", "plan_age_sec": "0.130", "queue_age_sec": "0.007",
    "kill_key": "", "kill_value": "", "kill_level": "0", "queued_before_server": "0",
    "clock_jump": "0", "last_open_at": "1769687899", "last_open_age_sec": "100.130",
    "last_close_age_sec": "", "opens_5min": "0", "opens_1h": "1", "opens_total_5min": "3",
    "score": "0.44996", "confidence": "0.8", "score_at": "1769687987", "decision": "EXECUTE",
    "full_close": "0", "withdrawn": "0", "plan_at": f"{NOON / 1000 - 0.13!r}",
    "score_read_at": f"{NOON / 1000 - 0.655!r}",
}  # fmt: skip


def columns(*rows: tuple[str, str, str]) -> Columns:
    """Rows of symbol, target and score; the rest is what producers write."""
    symbols, targets, scores = map(list, zip(*rows, strict=True))
    n = len(rows)
    return Columns(
        symbols, targets, ["1769687999"] * n, scores, ["0.8"] * n, ["1769687990"] * n, [""] * n,
        ["ok"] * n, ["1.0000"] * n,
    )  # fmt: skip


def a_pass(number: int, at_ms: int, *rows: tuple[str, str, str]) -> PassEntry:
    value = Pass(number, at_ms, "h1", "0.1", "r1", len(rows), columns(*rows))
    return PassEntry(f"{at_ms}-0", value)


def decision_at(at_ms: int, **changes: str) -> Entry:
    """A decision of its own entry at that time."""
    changes = {"entry_id": f"{at_ms - 5}-0", "plan_id": f"p{at_ms}"} | changes
    return Entry(f"{at_ms}-0", DECISION | changes)
