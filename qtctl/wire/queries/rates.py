"""When the gates that count what was permitted let an open pass again."""

from typing import Any

from qtctl.domain import numbers
from qtctl.domain.gates import GATES, Limits, Wait
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.shapes import Command
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import LAST_CLOSE, LEDGER
from qtctl.wire.schema.records import text


def passes_at(store: Store, symbol: str, limits: Limits, now: float) -> tuple[float | None, str]:
    """When the gates that count what was permitted would let an open of this symbol pass, by the
    opens and closes up to now (epoch seconds), and which of them is the last; None and "" where
    they do already."""
    on = [(gate.name, gate.wait, getattr(limits, gate.limits[0])) for gate in GATES
          if gate.wait is not None and gate.on(limits)]  # fmt: skip
    replies = store.batch([_mark(store, symbol, wait, limit, now) for _, wait, limit in on])
    ends = [
        (wait.ends(at, limit), name)
        for reply, (name, wait, limit) in zip(replies, on, strict=True)
        if (at := _marked_at(reply)) is not None and (wait.mark != "close" or at <= now)
    ]
    latest, name = max(ends, default=(0.0, ""))
    return (latest, name) if latest > now else (None, "")


def _mark(store: Store, symbol: str, wait: Wait, limit: float, now: float) -> Command:
    """Reads the mark that must grow old enough; what lies ahead of the clock is none."""
    if wait.mark == "close":
        return ("GET", store.keys.at(LAST_CLOSE, symbol))
    opens = store.keys.ledger_total if wait.mark == "all_opens" else store.keys.at(LEDGER, symbol)
    place = wait.marks(limit) - 1
    return (
        "ZRANGE", opens, f"{now:.3f}", "-inf", "BYSCORE", "REV", "LIMIT", place, 1, "WITHSCORES",
    )  # fmt: skip


def _marked_at(reply: Any) -> float | None:
    if is_error(reply) or not reply:
        return None
    if isinstance(reply, list):
        return float(reply[1])
    at_ms = numbers.number(text(reply))
    return None if at_ms is None else at_ms / 1000
