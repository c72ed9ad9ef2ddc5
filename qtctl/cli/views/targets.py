"""Targets beside what is proposed for them, a row for each symbol."""

from collections.abc import Sequence
from typing import Any

from qtctl.cli.output import Filter, Listed, reason_style
from qtctl.cli.output.columns import age, money, number, percent, text, ttl
from qtctl.domain import numbers
from qtctl.domain.readings import Unusable, target_usd
from qtctl.domain.reasons import EffReason
from qtctl.wire.client.store import Store
from qtctl.wire.queries import targets
from qtctl.wire.queries.targets import Symbol

_PROBLEMS = (NO_TARGET, UNREADABLE, NO_PROPOSAL) = "no target", "unreadable target", "no proposal"
LISTED = Listed(
    (
        text("symbol", "symbol"),
        money("base USD", "base_target"),
        money("proposed USD", "proposed_target"),
        percent("change %", "change_pct"),
        text("reason", "reason", style=reason_style),
        number("score", "eff_score", places=4, drop=1),
        age("target age", "target_age_s", drop=2),
        age("proposal age", "proposed_age_s", drop=3),
        ttl("target expires in", "ttl_s", drop=4),
    ),
    fields=("multiplier", "eff_confidence", "eff_stale", "ts_epoch"),
    at="ts_epoch",
    filters={"reason": Filter("reason", (*EffReason, *_PROBLEMS))},
)
"""A row's time is that of its proposal."""


def rows(store: Store, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """One row a symbol, the widest change first."""
    now = store.now_ms() / 1000
    read = targets.symbols(store, wanted) if wanted else targets.targets(store)
    found = [_row(symbol, now) for symbol in read]
    return sorted(found, key=lambda row: (-abs(row["change_pct"] or 0.0), row["symbol"]))


def misnamed(store: Store) -> str:
    """One line about the keys of targets that can have no symbol, "" where there are none."""
    keys = targets.misnamed(store)
    if not keys:
        return ""
    shown = ", ".join(repr(key) for key in keys[:3])
    more = f" and {len(keys) - 3:,} more" if len(keys) > 3 else ""
    return f"Not listed, since their names hold no symbol: {shown}{more}; see 'qtctl doctor'."


def _row(found: Symbol, now: float) -> dict[str, Any]:
    """The JSON of a symbol: the proposal's wire fields, with the live target as base_target."""
    target, proposal = found.target.readable, found.proposal.readable
    read = None if found.target.fields is None else target_usd(found.target.fields)
    base = None if isinstance(read, Unusable) else read
    proposed = numbers.number(proposal.get("proposed_target", ""))
    at = numbers.epoch(target.get("timestamp", ""))
    made = numbers.epoch(proposal.get("ts_epoch", ""))
    problem = NO_TARGET if read is None else UNREADABLE if base is None else ""
    return {
        "symbol": found.symbol,
        "base_target": "" if base is None else numbers.usd(base),
        "proposed_target": proposal.get("proposed_target", ""),
        "change_pct": round((proposed / base - 1) * 100, 4)
        if base and proposed is not None
        else None,
        "multiplier": proposal.get("multiplier", ""),
        "eff_score": proposal.get("eff_score", ""),
        "eff_confidence": proposal.get("eff_confidence", ""),
        "eff_stale": proposal.get("eff_stale", ""),
        "reason": problem or proposal.get("reason", "") or NO_PROPOSAL,
        "ts_epoch": proposal.get("ts_epoch", ""),
        "target_age_s": None if at is None else round(now - at, 3),
        "proposed_age_s": None if made is None else round(now - made, 3),
        "ttl_s": -1 if found.target.ttl_sec is None else round(found.target.ttl_sec, 3),
    }
