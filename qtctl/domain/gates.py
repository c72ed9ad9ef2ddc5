"""The gates, in their order: facts and limits in, a verdict and its worksheet out.

This is the readable statement of the rules. `wire/lua/commit_permit.lua` takes the same decision in
the atomic step, on the facts that may change under the governor's hands; a property test holds
the two together, and every explanation comes from here.

Source: docs/rules.md#the-gates.
"""

from collections.abc import Callable, Iterable

import msgspec

from qtctl.domain.plans import notional
from qtctl.domain.reasons import Kind, Reason, Verdict

MAX_AHEAD_SEC = 60.0
"""An open whose own timestamp is further ahead of the server's clock is blocked."""
NORMAL_KILL = frozenset(("", "0", "false", "off"))
REDUCE_ONLY = "reduce_only"


class Limits(msgspec.Struct, frozen=True):
    """What the gates compare with; 0 turns a rate, notional or kill-score gate off."""

    max_plan_age_sec: float = 60.0
    max_queue_age_sec: float = 10.0
    kill_score_critical: float = 0.8
    max_notional_per_trade_usd: float = 200.0
    symbol_cooldown_sec: float = 60.0
    max_exec_per_5min: int = 2
    max_exec_per_hour: int = 3
    max_opens_per_5min_total: int = 0


class Issued(msgspec.Struct, frozen=True):
    """The permit that a plan_id already had: what it was for, and whether by this very entry."""

    symbol: str
    kind: Kind
    same_entry: bool


class Facts(msgspec.Struct, frozen=True):
    """Everything a verdict rests on. Ages in seconds on the server's clock; None is unknown.

    kill_value is that of the strictest kill key ("" where all are normal).
    """

    symbol: str
    kind: Kind
    queue_age_sec: float
    execute: bool = True
    issued: Issued | None = None
    kill_key: str = ""
    kill_value: str = ""
    queued_before_server: bool = False
    plan_age_sec: float | None = None
    kill_score: float | None = None
    qty: float | None = None
    price: float | None = None
    last_open_age_sec: float | None = None
    opens_5min: int = 0
    opens_1h: int = 0
    opens_total_5min: int = 0


class Check(msgspec.Struct, frozen=True):
    """One line of the worksheet. passed is None where the gate does not apply, is turned off, or
    lacks its input."""

    gate: str
    value: str | float | int | None
    limit: str | float | int | None
    passed: bool | None
    reason: Reason


class Judgement(msgspec.Struct, frozen=True):
    """A verdict, the reason of the first gate that failed, and every gate's line."""

    verdict: Verdict
    reason: Reason
    worksheet: tuple[Check, ...]


Gate = Callable[[Facts, Limits], Check]


def kill_level(value: str) -> int:
    """How strict a kill key's value is: 0 normal, 1 only closes pass, 2 everything stops."""
    if value in NORMAL_KILL:
        return 0
    return 1 if value == REDUCE_ONLY else 2


def strictest(kills: Iterable[tuple[str, str | None]]) -> tuple[str, str]:
    """Of all kill keys (name, value or None where absent) the one that decides.

    The first of equals; ("", "") where all are normal.
    """
    chosen, level = ("", ""), 0
    for key, value in kills:
        if kill_level(value or "") > level:
            chosen, level = (key, value or ""), kill_level(value or "")
    return chosen


def _readable(facts: Facts, limits: Limits) -> Check:
    return Check("readable", None, None, True, Reason.INVALID_PLAN)


def _conflict(facts: Facts, limits: Limits) -> Check:
    issued = facts.issued
    if issued is None or issued.same_entry:
        return Check("conflict", None, None, True, Reason.PLAN_CONFLICT)
    differs = (issued.symbol, issued.kind) != (facts.symbol, facts.kind) or not facts.execute
    seen = f"{issued.kind} {issued.symbol}"
    return Check("conflict", seen, None, not differs, Reason.PLAN_CONFLICT)


def _once(facts: Facts, limits: Limits) -> Check:
    other = facts.issued is not None and not facts.issued.same_entry
    return Check("once", int(other), 0, not other, Reason.DUPLICATE_PLAN)


def _kill_switch(facts: Facts, limits: Limits) -> Check:
    level = kill_level(facts.kill_value)
    passed = level == 0 or (level == 1 and facts.kind is Kind.CLOSE)
    value = f"{facts.kill_key}={facts.kill_value}" if level else None
    return Check("kill_switch", value, None, passed, Reason.KILL_SWITCH)


def _quarantine(facts: Facts, limits: Limits) -> Check:
    if facts.kind is Kind.CLOSE:
        return _not_for("quarantine", Reason.QUARANTINE)
    before = facts.queued_before_server
    return Check("quarantine", int(before), 0, not before, Reason.QUARANTINE)


def _age(facts: Facts, limits: Limits) -> Check:
    if facts.queue_age_sec > limits.max_queue_age_sec:
        return Check("age", facts.queue_age_sec, limits.max_queue_age_sec, False, Reason.STALE_PLAN)
    if facts.kind is Kind.CLOSE or facts.plan_age_sec is None:
        # Only the time in the queue is known, or counts: and that is never unknown.
        return Check("age", facts.queue_age_sec, limits.max_queue_age_sec, True, Reason.STALE_PLAN)
    fresh = facts.plan_age_sec <= limits.max_plan_age_sec
    return Check("age", facts.plan_age_sec, limits.max_plan_age_sec, fresh, Reason.STALE_PLAN)


def _future(facts: Facts, limits: Limits) -> Check:
    if facts.kind is Kind.CLOSE:
        return _not_for("future", Reason.FUTURE_PLAN, MAX_AHEAD_SEC)
    # An id ahead of the server's clock would never grow old in the queue.
    ahead = -facts.queue_age_sec
    if facts.plan_age_sec is not None:
        ahead = max(ahead, -facts.plan_age_sec)
    if facts.plan_age_sec is None and ahead <= MAX_AHEAD_SEC:
        return _not_for("future", Reason.FUTURE_PLAN, MAX_AHEAD_SEC)
    return Check("future", ahead, MAX_AHEAD_SEC, ahead <= MAX_AHEAD_SEC, Reason.FUTURE_PLAN)


def _kill_score(facts: Facts, limits: Limits) -> Check:
    limit, score = limits.kill_score_critical, facts.kill_score
    if facts.kind is Kind.CLOSE or not limit or score is None:
        return _not_for("kill_score", Reason.KILL_SCORE, limit, score)
    return Check("kill_score", score, limit, score < limit, Reason.KILL_SCORE)


def _notional(facts: Facts, limits: Limits) -> Check:
    limit, value = limits.max_notional_per_trade_usd, notional(facts.qty, facts.price)
    if facts.kind is Kind.CLOSE or not limit or value is None:
        return _not_for("notional", Reason.NOTIONAL, limit, value)
    return Check("notional", value, limit, value <= limit, Reason.NOTIONAL)


def _cooldown(facts: Facts, limits: Limits) -> Check:
    limit, age = limits.symbol_cooldown_sec, facts.last_open_age_sec
    if facts.kind is Kind.CLOSE or not limit:
        return _not_for("cooldown", Reason.COOLDOWN, limit, age)
    return Check("cooldown", age, limit, age is None or age >= limit, Reason.COOLDOWN)


def _rate(gate: str, count: str, maximum: str, reason: Reason) -> Gate:
    def judge_rate(facts: Facts, limits: Limits) -> Check:
        value, limit = getattr(facts, count), getattr(limits, maximum)
        if facts.kind is Kind.CLOSE or not limit:
            return _not_for(gate, reason, limit, value)
        return Check(gate, value, limit, value < limit, reason)

    return judge_rate


def _not_for(
    gate: str, reason: Reason, limit: float | None = None, value: float | None = None
) -> Check:
    return Check(gate, value, limit, None, reason)


GATES: tuple[Gate, ...] = (
    _readable,
    _conflict,
    _once,
    _kill_switch,
    _quarantine,
    _age,
    _future,
    _kill_score,
    _notional,
    _cooldown,
    _rate("burst", "opens_5min", "max_exec_per_5min", Reason.BURST),
    _rate("hourly", "opens_1h", "max_exec_per_hour", Reason.HOURLY),
    _rate("total", "opens_total_5min", "max_opens_per_5min_total", Reason.TOTAL),
)
GATE_NAMES = (
    "readable",
    "conflict",
    "once",
    "kill_switch",
    "quarantine",
    "age",
    "future",
    "kill_score",
    "notional",
    "cooldown",
    "burst",
    "hourly",
    "total",
)


def judge(facts: Facts, limits: Limits) -> Judgement:
    """The verdict on a readable plan. All gates are evaluated; the first that fails names it.

    An entry that the decision already stands for is a replay; one that is not EXECUTE and
    contradicts nothing is skipped: both have the reason `ok` and change nothing.
    """
    worksheet = tuple(gate(facts, limits) for gate in GATES)
    if facts.issued is not None and facts.issued.same_entry:
        return Judgement(Verdict.REPLAY, Reason.OK, worksheet)
    failed = next((check.reason for check in worksheet if check.passed is False), Reason.OK)
    if not facts.execute and failed is not Reason.PLAN_CONFLICT:
        return Judgement(Verdict.SKIPPED, Reason.OK, worksheet)
    if failed is Reason.OK:
        return Judgement(Verdict.PERMITTED, Reason.OK, worksheet)
    return Judgement(Verdict.BLOCKED, failed, worksheet)


def lacking_input(facts: Facts, limits: Limits) -> tuple[str, ...]:
    """The gates that are on and apply but lack what they judge by; they pass as null."""
    if facts.kind is Kind.CLOSE:
        return ()
    lacking = []
    if facts.plan_age_sec is None:
        # `age` still judges the time in the queue; the plan's own clock is what is missing.
        lacking.append("future")
    if limits.kill_score_critical and facts.kill_score is None:
        lacking.append("kill_score")
    if limits.max_notional_per_trade_usd and notional(facts.qty, facts.price) is None:
        lacking.append("notional")
    return tuple(lacking)


def static_reason(facts: Facts, limits: Limits) -> Reason | None:
    """The first failure among the gates that rest on the plan alone, for the atomic step."""
    for gate in (_kill_score, _notional):
        check = gate(facts, limits)
        if check.passed is False:
            return check.reason
    return None
