"""domain.sequence and the atomic step remember the same: the facts of decisions in a row, on
the real server, beside those that the value gives."""

from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from qtctl.domain.gates import Limits
from qtctl.domain.numbers import number
from qtctl.domain.reasons import Verdict
from qtctl.domain.sequence import HOUR_MS, Rates, Sequence, Standing
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import LAST_CLOSE, LEDGER
from tests.support import plans

SYMBOLS = ("BTCUSDT", "ETHUSDT")
AGES_SEC = st.sampled_from([-8, -3, 3, 20, 80, 280, 310, 2000, 3590, 3610])
"""How long ago; below 0 lies ahead of a clock that stepped back. None is within 2 s of a limit."""
limits = st.builds(
    Limits,
    symbol_cooldown_sec=st.sampled_from([0.0, 60.0]),
    reopen_cooldown_sec=st.sampled_from([0.0, 60.0, 3600.0]),
    max_exec_per_5min=st.integers(0, 3),
    max_exec_per_hour=st.integers(0, 4),
    max_opens_per_5min_total=st.integers(0, 5),
)
sent = st.lists(
    st.tuples(
        st.sampled_from([*SYMBOLS, "btcusdt"]),
        st.sampled_from(["OPEN", "OPEN", "OPEN", "FULL_CLOSE", "PARTIAL_50"]),
        st.sampled_from(["p1", "p2", "p3", "p4"]),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@given(
    limits=limits,
    before=st.lists(st.tuples(AGES_SEC, st.sampled_from(SYMBOLS)), max_size=8),
    closed=st.dictionaries(st.sampled_from(SYMBOLS), AGES_SEC),
    sent=sent,
)
@hypothesis_settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_what_is_remembered_is_what_redis_keeps(
    store: Store,
    limits: Limits,
    before: list[tuple[int, str]],
    closed: dict[str, int],
    sent: list[tuple[str, str, str]],
) -> None:
    store.run("FLUSHALL")
    now, state = store.now_ms(), Sequence()
    for place, (age, symbol) in enumerate(sorted(before, reverse=True)):
        at, name = now - age * 1000, f"old{place}"
        for key in (store.keys.at(LEDGER, symbol), store.keys.ledger_total):
            store.run("ZADD", key, f"{at / 1000:.3f}", name)
        standing = Standing("1-1", symbol, "open", True, at)
        state.note(name, standing, full_close=False, limits=limits)
    for symbol, age in closed.items():
        if limits.reopen_cooldown_sec:
            at = now - age * 1000
            store.run("SET", store.keys.at(LAST_CLOSE, symbol), at)
            standing = Standing("1-1", symbol, "close", True, at)
            state.note(f"closed{symbol}", standing, full_close=True, limits=limits)
    for symbol, action, plan_id in sent:
        _one_more(store, state, limits, symbol, action, plan_id)


def _one_more(
    store: Store, state: Sequence, limits: Limits, symbol: str, action: str, plan_id: str
) -> None:
    entry = plans.fields(plan_id=plan_id, symbol=symbol, action=action)
    plan = plans.read(entry)
    before = plans.decision(store, plan_id)
    outcome: Any = plans.judge(store, entry, limits)
    standing = state.standing(plan_id, store.now_ms())
    assert (standing is not None) == bool(before)
    if standing is not None and standing.permitted:
        same = (standing.symbol, standing.kind) == (plan.symbol, plan.kind.value)
        assert outcome.verdict is Verdict.BLOCKED
        assert outcome.reason == ("duplicate_plan" if same else "plan_conflict")
        return
    record = plans.decision(store, plan_id)
    at_ms = round((number(record["decided_at"]) or 0.0) * 1000)
    if plan.kind == "open":
        found = state.rates(symbol, at_ms, limits)
        assert _gates_see(record, limits) == found
    decided = Standing(
        record["entry_id"], symbol, plan.kind.value, outcome.verdict is Verdict.PERMITTED, at_ms
    )
    state.note(plan_id, decided, full_close=plan.full_close, limits=limits)


def _gates_see(record: dict[str, str], limits: Limits) -> Rates:
    """The facts of a record, as far as a gate goes by them."""

    def age_ms(field: str, limit_ms: float) -> int | None:
        seconds = number(record[field])
        found = None if seconds is None else round(seconds * 1000)
        return None if found is None or found >= limit_ms else found

    return Rates(
        age_ms("last_open_age_sec", HOUR_MS),
        age_ms("last_close_age_sec", limits.reopen_cooldown_sec * 1000),
        int(record["opens_5min"]),
        int(record["opens_1h"]),
        int(record["opens_total_5min"]),
    )
