"""The gates, each described once: facts and limits in, a verdict and its worksheet out.

GATES states the rules, in their order. `wire/lua/commit_permit.lua` takes the same decision in the
atomic step, on the facts that may change meanwhile; a property test holds the two together. Units,
sentences, which change of a limit raises risk, and the tables in docs/ come from the entries here.

Source: docs/rules.md#the-gates.
"""

import operator
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Literal

import msgspec

from qtctl.domain.plans import notional
from qtctl.domain.reasons import Kind, Reason, Verdict

MAX_AHEAD_SEC = 60.0
"""An open whose own timestamp is further ahead of the server's clock is blocked."""
NORMAL_KILL = frozenset(("", "0", "false", "off", "no"))
REDUCE_ONLY = "reduce_only"
EVERYTHING = "all"
"""What stops closes too, under a halt key."""
_BLANKS = " \t\n\v\f\r"


class Limits(msgspec.Struct, frozen=True):
    """What the gates compare with, under the names of the settings; 0 turns a gate off where its
    entry says so."""

    max_plan_age_sec: float = 60.0
    max_queue_age_sec: float = 10.0
    kill_score_critical: float = 0.8
    max_notional_per_trade_usd: float = 200.0
    symbol_cooldown_sec: float = 60.0
    reopen_cooldown_sec: float = 60.0
    max_exec_per_5min: int = 2
    max_exec_per_hour: int = 3
    max_opens_per_5min_total: int = 0


class Facts(msgspec.Struct, frozen=True, gc=False):
    """Everything a verdict rests on, under the names of the decision record. Ages in seconds on the
    server's clock; None is unknown. kill_value and kill_level are those of the strictest kill key
    or halt key ("" and 0 where all are normal): 1 lets only closes pass, 2 stops everything."""

    symbol: str
    kind: Kind
    queue_age_sec: float | None
    kill_key: str = ""
    kill_value: str = ""
    kill_level: int = 0
    queued_before_server: bool = False
    permitted_before: bool = False
    clock_jump: bool = False
    plan_age_sec: float | None = None
    kill_score: float | None = None
    qty: float | None = None
    price: float | None = None
    last_open_age_sec: float | None = None
    last_close_age_sec: float | None = None
    opens_5min: int = 0
    opens_1h: int = 0
    opens_total_5min: int = 0


class Line(msgspec.Struct, frozen=True, gc=False):
    """What a gate compared, and how it went; see Check."""

    value: str | float | int | None = None
    limit: str | float | int | None = None
    passed: bool | None = None


class Check(msgspec.Struct, frozen=True):
    """One line of the worksheet. passed is None where the gate does not apply, is turned off,
    lacks its input, or rests on what no record keeps."""

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


class Wait(msgspec.Struct, frozen=True):
    """When a gate lets an open pass again: once a mark is old enough. mark: the permitted opens of
    the symbol or of all symbols, or the symbol's last full close. window_sec: the limit is a number
    of opens in so many seconds; None: it is the age that the latest mark must reach."""

    mark: Literal["opens", "all_opens", "close"]
    window_sec: float | None = None

    def marks(self, limit: float) -> int:
        """Which mark must grow old enough, counted back from the latest (1)."""
        return 1 if self.window_sec is None else int(limit)

    def ends(self, at: float, limit: float) -> float:
        """When a gate with that limit passes, by the time of this mark; epoch seconds."""
        return at + (limit if self.window_sec is None else self.window_sec)


Judge = Callable[[Facts, Limits], Line]


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One gate.

    blocks: why a plan is blocked, to follow "was blocked …:"; sentence: the same with {value},
    {limit}, and {opens} for the word open in the right number, empty where these do not suffice.
    facts, limits: fields of Facts and Limits. unit: of value and limit in a table. riskier: which
    change of the limit lets more pass. plan_alone: the plan alone decides, so the atomic step is
    handed the result. lacks: True for an open without what the gate judges by. recorded: the
    decision record holds what it rests on. keeps_fact: its fact is remembered only for as long as
    the limit says.
    """

    name: str
    reason: Reason
    judge: Judge
    blocks: str
    sentence: str = ""
    opens_only: bool = True
    facts: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    unit: str = ""
    riskier: Literal["up", "down"] = "up"
    zero_is_off: bool = False
    plan_alone: bool = False
    lacks: Callable[[Facts], bool] | None = None
    wait: Wait | None = None
    recorded: bool = True
    keeps_fact: bool = False

    def check(self, facts: Facts, limits: Limits) -> Check:
        """Its line of the worksheet."""
        line = self.judge(facts, limits)
        return Check(self.name, line.value, line.limit, line.passed, self.reason)

    def on(self, limits: Limits) -> bool:
        """True unless its limit turns it off."""
        return not self.zero_is_off or bool(getattr(limits, self.limits[0]))


def kill_level(value: str, *, halts: bool = False) -> int:
    """How strict the value of a kill key is: 0 normal, 1 only closes pass, 2 everything stops.
    halts: of a halt key, where a value that is not normal stops opens only, unless it is `all`."""
    word = value.strip(_BLANKS).lower()
    if word in NORMAL_KILL:
        return 0
    if halts:
        return 2 if word == EVERYTHING else 1
    return 1 if word == REDUCE_ONLY else 2


def kill_level_before(value: str) -> int:
    """The same as versions before kept no level of: every name was a kill key, and a value was
    compared as it stands."""
    if value in ("", "0", "false", "off"):
        return 0
    return 1 if value == REDUCE_ONLY else 2


def _kill_switch(facts: Facts, limits: Limits) -> Line:
    level = facts.kill_level
    passed = level == 0 or (level == 1 and facts.kind is Kind.CLOSE)
    return Line(f"{facts.kill_key}={facts.kill_value}" if level else None, None, passed)


def _quarantine(facts: Facts, limits: Limits) -> Line:
    if facts.kind is Kind.CLOSE:
        return Line()
    held = facts.queued_before_server or facts.permitted_before or facts.clock_jump
    return Line(int(held), 0, not held)


def _age(facts: Facts, limits: Limits) -> Line:
    age, limit = facts.queue_age_sec, limits.max_queue_age_sec
    if age is None:
        # Only of a close whose entry has an id by another clock than the server's.
        return Line(None, limit, None if facts.kind is Kind.CLOSE else False)
    queued = Line(age, limit, age <= limit)
    if not queued.passed or facts.kind is Kind.CLOSE or facts.plan_age_sec is None:
        # Only the time in the queue is known, or counts.
        return queued
    fresh = facts.plan_age_sec <= limits.max_plan_age_sec
    return Line(facts.plan_age_sec, limits.max_plan_age_sec, fresh)


def _future(facts: Facts, limits: Limits) -> Line:
    # An id ahead of the server's clock would never grow old in the queue.
    ahead = 0.0 - (facts.queue_age_sec or 0.0)  # never -0.0
    if facts.plan_age_sec is not None:
        ahead = max(ahead, -facts.plan_age_sec)
    unknown = facts.plan_age_sec is None and ahead <= MAX_AHEAD_SEC
    if facts.kind is Kind.CLOSE or unknown:
        return Line(None, MAX_AHEAD_SEC)
    return Line(ahead, MAX_AHEAD_SEC, ahead <= MAX_AHEAD_SEC)


def _against(
    limit: str, value: Callable[[Facts], Any], passes: Callable[[Any, Any], bool]
) -> Judge:
    """A gate of opens with a limit that may be off, and a value that may be unknown."""

    def judge(facts: Facts, limits: Limits) -> Line:
        found, bound = value(facts), getattr(limits, limit)
        if facts.kind is Kind.CLOSE or not bound or found is None:
            return Line(found, bound)
        return Line(found, bound, passes(found, bound))

    return judge


def _cooldown(
    name: str, reason: Reason, fact: str, limit: str, *, event: str,
    mark: Literal["opens", "close"], keeps_fact: bool = False,
) -> Gate:  # fmt: skip
    """A gate of opens that passes where nothing happened, or long enough ago. What lies ahead of
    the clock, which stepped back since, says nothing."""

    def judge(facts: Facts, limits: Limits) -> Line:
        age, bound = getattr(facts, fact), getattr(limits, limit)
        if facts.kind is Kind.CLOSE or not bound:
            return Line(age, bound)
        return Line(age, bound, age is None or not 0 <= age < bound)

    return Gate(
        name=name, reason=reason, judge=judge, facts=(fact,), limits=(limit,), unit="s",
        blocks=f"{event} too shortly before",
        sentence=f"{event} {{value}} before, the cooldown is {{limit}}",
        riskier="down", zero_is_off=True, wait=Wait(mark), keeps_fact=keeps_fact,
    )  # fmt: skip


def _rate(
    name: str, reason: Reason, fact: str, limit: str, *, mark: Literal["opens", "all_opens"],
    window_sec: float,
) -> Gate:  # fmt: skip
    """A gate that counts permitted opens."""
    of = "of the symbol" if mark == "opens" else "of all symbols"
    per = "1 h" if window_sec == 3600 else f"{window_sec / 60:.0f} min"
    return Gate(
        name=name, reason=reason, facts=(fact,), limits=(limit,), unit=f"in {per}",
        judge=_against(limit, lambda facts: getattr(facts, fact), lambda count, top: count < top),
        blocks=f"too many opens {of} in {per}",
        sentence=f"{{value}} {{opens}} {of} in {per}, the limit is {{limit}}",
        zero_is_off=True, wait=Wait(mark, window_sec),
    )  # fmt: skip


GATES: tuple[Gate, ...] = (
    Gate(
        name="readable", reason=Reason.INVALID_PLAN, opens_only=False,
        judge=lambda facts, limits: Line(passed=True),  # What can't be read is rejected before.
        blocks="it could not be read",
    ),
    Gate(
        name="conflict", reason=Reason.PLAN_CONFLICT, opens_only=False, recorded=False,
        judge=lambda facts, limits: Line(),
        blocks="the same plan_id came with another symbol, kind or decision after its permit",
    ),
    Gate(
        name="once", reason=Reason.DUPLICATE_PLAN, opens_only=False, recorded=False,
        judge=lambda facts, limits: Line(),
        blocks="its plan_id had its permit already, by another entry",
    ),
    Gate(
        name="kill_switch", reason=Reason.KILL_SWITCH, opens_only=False, judge=_kill_switch,
        blocks="the kill switch",
        facts=("kill_key", "kill_value", "kill_level"),
    ),
    Gate(
        name="quarantine", reason=Reason.QUARANTINE, judge=_quarantine,
        blocks="it was queued before this Redis started or was promoted, or this governor had "
        "permitted it within the last minute, or the clock of Redis jumped ahead ('qtctl status' "
        "shows it), and may have been decided before; sent again, it is judged, a minute after "
        "such a permit at the earliest",
        facts=("queued_before_server", "permitted_before", "clock_jump"),
    ),
    Gate(
        name="age", reason=Reason.STALE_PLAN, opens_only=False, judge=_age,
        blocks="it was too old",
        facts=("queue_age_sec", "plan_age_sec"), unit="s",
        limits=("max_queue_age_sec", "max_plan_age_sec"),
    ),
    Gate(
        name="future", reason=Reason.FUTURE_PLAN, judge=_future,
        blocks="its time lies ahead of the server's clock: a clock is wrong",
        sentence="its time lies ahead of the server's clock by {value}: a clock is wrong",
        facts=("queue_age_sec", "plan_age_sec"), unit="s",
        lacks=lambda facts: facts.plan_age_sec is None,
    ),
    Gate(
        name="kill_score", reason=Reason.KILL_SCORE, plan_alone=True, zero_is_off=True,
        judge=_against(
            "kill_score_critical", attrgetter("kill_score"), operator.lt
        ),
        blocks="its kill score reached the limit",
        sentence="its kill score {value} reached {limit}",
        facts=("kill_score",), limits=("kill_score_critical",),
        lacks=lambda facts: facts.kill_score is None,
    ),
    Gate(
        name="notional", reason=Reason.NOTIONAL, plan_alone=True, zero_is_off=True,
        judge=_against(
            "max_notional_per_trade_usd",
            lambda facts: notional(facts.qty, facts.price),
            operator.le,
        ),
        blocks="it was worth more than the limit",
        sentence="it was worth {value}, the limit is {limit}",
        facts=("qty", "price"), limits=("max_notional_per_trade_usd",), unit="USD",
        lacks=lambda facts: notional(facts.qty, facts.price) is None,
    ),
    _cooldown("cooldown", Reason.COOLDOWN, "last_open_age_sec", "symbol_cooldown_sec",
              event="the last open was", mark="opens"),
    _cooldown("reopen", Reason.REOPEN, "last_close_age_sec", "reopen_cooldown_sec",
              event="the symbol was closed", mark="close", keeps_fact=True),
    _rate("burst", Reason.BURST, "opens_5min", "max_exec_per_5min",
          mark="opens", window_sec=300.0),
    _rate("hourly", Reason.HOURLY, "opens_1h", "max_exec_per_hour",
          mark="opens", window_sec=3600.0),
    _rate("total", Reason.TOTAL, "opens_total_5min", "max_opens_per_5min_total",
          mark="all_opens", window_sec=300.0),
)  # fmt: skip
BY_REASON = {gate.reason: gate for gate in GATES}
CLOSE_REASONS = tuple(gate.reason for gate in GATES if not gate.opens_only)
"""All that can keep a close from its permit."""
_OF_THE_PLAN = tuple(gate for gate in GATES if gate.plan_alone)
_MAY_LACK = tuple(gate for gate in GATES if gate.lacks)
OFF: dict[str, float] = {name: 0 for gate in GATES if gate.zero_is_off for name in gate.limits}
"""Limits that were stored without a field, by a version before: that gate was off."""


def judge(facts: Facts, limits: Limits) -> Judgement:
    """The verdict on a readable plan that is meant to be executed and has no permit yet. All gates
    are evaluated; the first that fails names it."""
    worksheet = tuple(gate.check(facts, limits) for gate in GATES)
    failed = next((check.reason for check in worksheet if check.passed is False), Reason.OK)
    verdict = Verdict.PERMITTED if failed is Reason.OK else Verdict.BLOCKED
    return Judgement(verdict, failed, worksheet)


def reason_of(facts: Facts, limits: Limits) -> Reason:
    """The reason of `judge`, without the worksheet."""
    for gate in GATES:
        if gate.judge(facts, limits).passed is False:
            return gate.reason
    return Reason.OK


def lacking_input(facts: Facts, limits: Limits) -> tuple[str, ...]:
    """The gates that are on and apply but lack what they judge by; they pass as null."""
    if facts.kind is Kind.CLOSE:
        return ()
    return tuple(
        gate.name for gate in _MAY_LACK if gate.lacks and gate.on(limits) and gate.lacks(facts)
    )


def static_reason(facts: Facts, limits: Limits) -> Reason | None:
    """The first failure among the gates that rest on the plan alone, for the atomic step."""
    for gate in _OF_THE_PLAN:
        if gate.judge(facts, limits).passed is False:
            return gate.reason
    return None
