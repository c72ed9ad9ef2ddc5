"""Which cause is named first, and what else is told beside it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtctl.domain.causes import Cause, causes, permit_cause
from qtctl.domain.diagnosis import Alive, Diagnosis, Kill, Permit, PermitState, PlanSeen, Target
from qtctl.domain.reasons import Kind, Reason, Verdict

NOW = 1_000_000.0
WELL = Target(100.0, age_sec=5.0)
RUNS = (Alive("g1", "0.1.0", "host", 0.5),)
STUCK = (Alive("g1", "0.1.0", "host", 16.0, late=True),)


def plan(verdict: str = "", reason: str = "", ago: float = 30.0, **more: Any) -> PlanSeen:
    known = {"plan_id": "p1", "entry_id": "1-0", "decision": "EXECUTE", "kind": "open"}
    return PlanSeen(at=NOW - ago, verdict=verdict, reason=reason, **(known | more))


def permit(state: PermitState, ago: float = 30.0, queue_age_sec: float = 0.1) -> Permit:
    return Permit("p1", state, NOW - ago, queue_age_sec)


def facts(*plans: PlanSeen, **more: Any) -> Diagnosis:
    known: dict[str, Any] = {"target": WELL, "governors": RUNS}
    return Diagnosis("BTCUSDT", NOW, 3600.0, plans=plans, **(known | more))


HALT = Kill("quantum:kill", "1", 2)
REDUCE = Kill("quantum:kill", "reduce_only", 1)
BLOCKED = plan(Verdict.BLOCKED, Reason.COOLDOWN)
CLOSED = plan(Verdict.PERMITTED, Reason.OK, kind="close")
WAITS = plan(waits="queue")
SKIPPED = plan(Verdict.SKIPPED, "SKIP", decision="SKIP")
OPEN = {"p1": permit(PermitState.OPEN)}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (facts(), ["no_plan"]),
        (facts(kill=HALT), ["halted"]),
        (facts(kill=HALT, governors=(), target=Target()), ["halted", "no_governor", "no_target"]),
        (facts(governors=()), ["no_governor"]),
        (facts(BLOCKED, governors=()), ["symbol_cooldown", "no_governor"]),
        (facts(WAITS, governors=()), ["no_governor", "plan_waiting"]),
        (facts(WAITS), ["plan_waiting"]),
        (facts(governors=STUCK), ["governor_stuck"]),
        (facts(WAITS, governors=STUCK + RUNS), ["plan_waiting"]),
        (facts(WAITS, not_ready="may evict"), ["governor_not_ready", "plan_waiting"]),
        (facts(kill=REDUCE), ["reduce_only"]),
        (facts(BLOCKED, kill=REDUCE), ["reduce_only"]),
        (facts(CLOSED, kill=REDUCE, permits=OPEN), ["permit_untaken", "reduce_only"]),
        (facts(target=Target()), ["no_target"]),
        (facts(target=Target(problem="odd")), ["target_unreadable"]),
        (facts(target=Target(5.0, age_sec=301.0)), ["target_stale"]),
        (facts(BLOCKED, target=Target()), ["symbol_cooldown", "no_target"]),
        (facts(nameless=2), ["unreadable_plans"]),
        (facts(BLOCKED, nameless=2), ["symbol_cooldown", "unreadable_plans"]),
        (facts(SKIPPED), ["all_skipped"]),
        (facts(SKIPPED, BLOCKED), ["symbol_cooldown"]),
        (facts(plan(Verdict.REJECTED, "invalid_plan")), ["invalid_plan"]),
        (facts(plan(Verdict.BLOCKED, "of another version")), ["verdict_unknown"]),
        (facts(plan(Verdict.BLOCKED, "ok")), ["verdict_unknown"]),
        (facts(plan()), ["verdict_unknown"]),
        (facts(CLOSED), ["verdict_unknown"]),
        (facts(CLOSED, BLOCKED, permits=OPEN), ["permit_untaken", "some_blocked"]),
        (facts(plan(decision="SKIP", waits="queue"), SKIPPED), ["all_skipped"]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_the_cause_comes_first_and_what_else_is_wrong_behind_it(
    given_: Diagnosis, expected: list[str]
) -> None:
    assert list(causes(given_)) == expected


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (permit(PermitState.OPEN, ago=1.0), Cause.PERMIT_OPEN),
        (permit(PermitState.OPEN, ago=1.3), Cause.PERMIT_UNTAKEN),
        (permit(PermitState.OPEN, ago=1.0, queue_age_sec=1.3), Cause.PERMIT_LATE),
        (permit(PermitState.UNKNOWN, queue_age_sec=1.3), Cause.PERMIT_LATE),
        (permit(PermitState.TAKEN, queue_age_sec=1.3), Cause.PERMIT_TAKEN),
        (permit(PermitState.WITHDRAWN, queue_age_sec=1.3), Cause.PERMIT_WITHDRAWN),
        (permit(PermitState.UNKNOWN), Cause.TAKEN_OR_EXPIRED),
    ],
    ids=lambda value: str(value) if isinstance(value, Cause) else "",
)
def test_what_became_of_a_permit(held: Permit, expected: Cause) -> None:
    assert permit_cause(held, NOW) == expected


PLANS = st.builds(
    PlanSeen,
    at=st.floats(NOW - 3600, NOW),
    plan_id=st.sampled_from(["p1", "p2"]),
    entry_id=st.just("1-0"),
    decision=st.sampled_from(["EXECUTE", "SKIP", ""]),
    verdict=st.sampled_from(["", *Verdict]),
    reason=st.sampled_from(["", "odd", *Reason]),
    waits=st.sampled_from(["", "queue", "pending"]),
    kind=st.sampled_from(["", *Kind]),
)


@given(
    st.builds(
        Diagnosis,
        symbol=st.just("BTCUSDT"),
        now=st.just(NOW),
        since_sec=st.just(3600.0),
        target=st.sampled_from([WELL, Target(), Target(problem="odd"), Target(5.0, age_sec=999.0)]),
        kill=st.sampled_from([Kill(), HALT, REDUCE]),
        governors=st.sampled_from([(), RUNS, STUCK]),
        not_ready=st.sampled_from(["", "a replica"]),
        plans=st.lists(PLANS, max_size=3).map(tuple),
        nameless=st.integers(0, 1),
        permits=st.dictionaries(
            st.sampled_from(["p1", "p2"]), st.sampled_from(list(PermitState)).map(permit)
        ),
    )
)
def test_there_is_always_an_answer_and_each_cause_is_named_once(found: Diagnosis) -> None:
    words = causes(found)
    assert words
    assert len(set(words)) == len(words)
    assert set(words) <= {*map(str, Cause), *map(str, Reason)} - {"ok"}
    assert (words[0] == "halted") == (found.kill.level == 2)
