"""The governor in simulated time: the same reading, hint and gates, and the record of a decision to
the byte; what Redis would keep is a Sequence."""

import msgspec

from qtctl import __version__
from qtctl.domain import numbers, plans
from qtctl.domain.downsize import DownsizeRules, hint
from qtctl.domain.entry_ids import ms_of
from qtctl.domain.gates import Facts, Limits, reason_of
from qtctl.domain.plans import Plan, PlanRules
from qtctl.domain.readings import as_read, assess
from qtctl.domain.reasons import Kind, Reason, Verdict
from qtctl.domain.sequence import NO_RATES, Rates, Sequence, Standing
from qtctl.evidence.cases import once_reason
from qtctl.wire.schema.decision import CommitRequest, history_fields, static_fields


class Rules(msgspec.Struct, frozen=True):
    """What a simulated governor judges by."""

    plans: PlanRules
    limits: Limits
    downsize: DownsizeRules
    digest: str
    instance: str


class Kill(msgspec.Struct, frozen=True):
    """The kill switch as it stands."""

    key: str = ""
    value: str = ""
    level: int = 0


NO_KILL = Kill()


class SimulatedGovernor:
    """Judges plans in the order of their time."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._state = Sequence()

    def judge(
        self,
        fields: dict[str, str],
        entry_id: str,
        score: dict[str, str],
        now_ms: int,
        kill: Kill = NO_KILL,
    ) -> dict[str, str] | None:
        """The decision about a plan that was queued with this id, with the symbol's score as it
        stands, as in the stream of decisions; None where there is none (not to be executed, or not
        readable)."""
        plan = plans.read(fields, self._rules.plans)
        if not isinstance(plan, Plan):
            return None
        queued_ms = ms_of(entry_id)
        standing = self._state.standing(plan.plan_id, now_ms)
        if standing is not None and not standing.permitted:
            standing = None
        if standing is None and not plan.execute:
            return None
        limits = self._rules.limits
        rates = self._state.rates(plan.symbol, now_ms, limits)
        facts = _facts(plan, rates if plan.kind is Kind.OPEN else NO_RATES, now_ms, queued_ms, kill)
        if standing is not None:
            reason = once_reason(standing, plan.symbol, plan.kind, plan.execute)
        else:
            reason = reason_of(facts, limits).value
            decided = Standing(entry_id, plan.symbol, plan.kind.value, reason == Reason.OK, now_ms)
            self._state.note(plan.plan_id, decided, full_close=plan.full_close, limits=limits)
        verdict = (Verdict.PERMITTED if reason == Reason.OK else Verdict.BLOCKED).value
        request = self._request(plan, entry_id, score, (now_ms - 1) / 1000)
        flat = history_fields(request)
        flat[-1] = "0"  # Nobody withdraws a permit in a simulation.
        flat += ["verdict", verdict, "reason", reason, *static_fields(request)]
        return dict(zip(flat[::2], flat[1::2], strict=True)) | _dynamic(facts, now_ms)

    def _request(
        self, plan: Plan, entry_id: str, score: dict[str, str], read_at: float
    ) -> CommitRequest:
        rules = self._rules
        efficiency = assess(
            score or None, read_at, rules.downsize.eff_ttl_sec, rules.downsize.min_conf
        )
        return CommitRequest(
            plan, entry_id, hint(efficiency, rules.downsize), 1, 1, rules.instance, __version__,
            rules.digest, score=as_read(score or None, read_at),
        )  # fmt: skip


def _facts(plan: Plan, rates: Rates, now_ms: int, queued_ms: int, kill: Kill) -> Facts:
    plan_at_ms = None if plan.at is None else round(plan.at * 1000)
    return Facts(
        symbol=plan.symbol,
        kind=plan.kind,
        queue_age_sec=(now_ms - queued_ms) / 1000,
        kill_key=kill.key,
        kill_value=kill.value,
        kill_level=kill.level,
        plan_age_sec=None if plan_at_ms is None else (now_ms - plan_at_ms) / 1000,
        kill_score=plan.kill_score,
        qty=plan.qty,
        price=plan.price,
        last_open_age_sec=_sec(rates.last_open_age_ms),
        last_close_age_sec=_sec(rates.last_close_age_ms),
        opens_5min=rates.opens_5min,
        opens_1h=rates.opens_1h,
        opens_total_5min=rates.opens_total_5min,
    )


def _sec(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def _dynamic(facts: Facts, now_ms: int) -> dict[str, str]:
    """What the atomic step finds, as it writes it."""
    opens = facts.kind == "open"
    last_open = facts.last_open_age_sec
    return {
        "decided_at": numbers.millis(now_ms / 1000),
        "plan_age_sec": _age(facts.plan_age_sec),
        "queue_age_sec": _age(facts.queue_age_sec),
        "kill_key": facts.kill_key,
        "kill_value": facts.kill_value,
        "kill_level": str(facts.kill_level),
        "queued_before_server": "0",
        "clock_jump": "0",
        "last_open_at": "" if last_open is None else str(int(now_ms / 1000 - last_open)),
        "last_open_age_sec": _age(last_open),
        "last_close_age_sec": _age(facts.last_close_age_sec),
        "opens_5min": str(facts.opens_5min) if opens else "",
        "opens_1h": str(facts.opens_1h) if opens else "",
        "opens_total_5min": str(facts.opens_total_5min) if opens else "",
    }


def _age(seconds: float | None) -> str:
    return "" if seconds is None else numbers.millis(seconds)
