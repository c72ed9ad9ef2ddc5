"""Every reason word, once. They are on the wire, in metric labels and in tables.

Source: docs/rules.md.
"""

from enum import StrEnum

SKIPPED_DECISIONS = ("SKIP", "BLOCKED", "ERROR", "HALT", "HOLD")
"""EXECUTE's siblings with a metric label of their own; anything else counts as `other`, and leaves
an event."""


class EffReason(StrEnum):
    """What an efficiency score counts as."""

    OK = "ok"
    MISSING = "missing_eff"
    UNUSABLE = "redis_error"
    STALE = "stale_eff"
    LOW_CONF = "low_conf"


class Reason(StrEnum):
    """Why a plan was permitted, blocked or rejected: one word for each gate that can fail."""

    OK = "ok"
    INVALID_PLAN = "invalid_plan"
    PLAN_CONFLICT = "plan_conflict"
    DUPLICATE_PLAN = "duplicate_plan"
    KILL_SWITCH = "kill_switch_active"
    QUARANTINE = "failover_quarantine"
    STALE_PLAN = "stale_plan"
    FUTURE_PLAN = "future_plan"
    KILL_SCORE = "kill_score_critical"
    NOTIONAL = "notional_per_trade_exceeded"
    COOLDOWN = "symbol_cooldown"
    REOPEN = "reopen_cooldown"
    BURST = "burst_limit_exceeded"
    HOURLY = "hourly_limit_exceeded"
    TOTAL = "total_limit_exceeded"


_OTHERS = (Reason.INVALID_PLAN, Reason.PLAN_CONFLICT, Reason.DUPLICATE_PLAN)
DECISION_REASONS = tuple(reason for reason in Reason if reason not in _OTHERS)
"""Those that a decision record can have: the other three leave none, or keep the one there is."""


class Verdict(StrEnum):
    """What became of an entry of the plan stream."""

    PERMITTED = "permitted"
    BLOCKED = "blocked"
    SKIPPED = "skipped"
    """Not EXECUTE: acknowledged and counted."""
    REJECTED = "rejected"
    """Not readable: kept in `governor.rejected`."""
    REPLAY = "replay"
    """The entry that the decision already stands for: acknowledged silently."""


class Kind(StrEnum):
    """Whether a plan adds risk or reduces it."""

    OPEN = "open"
    CLOSE = "close"
