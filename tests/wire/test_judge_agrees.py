"""domain.gates.judge and the atomic step are two texts of the same rules: held together here, on
random facts on the real server."""

from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from qtctl.domain.gates import Limits, judge
from qtctl.domain.reasons import Verdict
from qtctl.wire.client.store import Store
from qtctl.wire.schema.decision import facts_of
from qtctl.wire.schema.keys import LEDGER
from tests.support import plans

limits = st.builds(
    Limits,
    max_plan_age_sec=st.sampled_from([1.0, 60.0, 3600.0]),
    max_queue_age_sec=st.sampled_from([1.0, 10.0, 3600.0]),
    kill_score_critical=st.sampled_from([0.0, 0.5, 0.8]),
    max_notional_per_trade_usd=st.sampled_from([0.0, 200.0]),
    symbol_cooldown_sec=st.sampled_from([0.0, 0.5, 60.0, 3600.0]),
    max_exec_per_5min=st.integers(0, 3),
    max_exec_per_hour=st.integers(0, 4),
    max_opens_per_5min_total=st.integers(0, 4),
)
entries = st.fixed_dictionaries(
    {
        "action": st.sampled_from(["OPEN", "CLOSE", "", "PARTIAL_33"]),
        "kill_score": st.sampled_from(["", "0.1", "0.49999", "0.5", "0.8", "1"]),
        "qty": st.sampled_from(["", "0", "1", "-2", "1e300"]),
        "price": st.sampled_from(["", "0", "100", "200.004", "1e300"]),
        "reduceOnly": st.sampled_from(["", "true", "false"]),
    }
)
kills = st.lists(st.sampled_from([None, "", "0", "reduce_only", "1", "?"]), min_size=3, max_size=3)
opens = st.lists(st.integers(-5, 4000), max_size=5)


@given(
    entry=entries,
    limits=limits,
    kill=kills,
    own=opens,
    others=opens,
    queued_ago_ms=st.sampled_from([-70_000, -50_000, 0, 500, 1500, 9_000, 11_000, 4_000_000]),
    plan_ago_ms=st.none() | st.sampled_from([-120_000, -61_500, -1_000, 0, 59_000, 62_000]),
    since_ago_ms=st.sampled_from([0, 1_400, 10_000, 10**9]),
)
@hypothesis_settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_worksheet_gives_the_verdict_of_the_atomic_step(
    store: Store,
    entry: dict[str, str],
    limits: Limits,
    kill: list[str | None],
    own: list[int],
    others: list[int],
    queued_ago_ms: int,
    plan_ago_ms: int | None,
    since_ago_ms: int,
) -> None:
    store.run("FLUSHALL")
    now = store.now_ms()
    _opens_before(store, now, own, others)
    for name, value in zip(plans.KILL_NAMES, kill, strict=True):
        if value is not None:
            store.run("SET", store.keys.prefix + name, value)
    timestamp = None if plan_ago_ms is None else now - plan_ago_ms
    outcome: Any = plans.judge(
        store,
        plans.fields(**entry, timestamp=timestamp),
        limits,
        entry_id=f"{now - queued_ago_ms}-0",
        since_ms=now - since_ago_ms,
    )
    record = plans.decision(store)
    judgement = judge(facts_of(record), limits)
    assert (judgement.verdict, judgement.reason) == (outcome.verdict, outcome.reason)
    assert (record["verdict"], record["reason"]) == (outcome.verdict, outcome.reason)
    assert (plans.permit(store) is not None) == (outcome.verdict is Verdict.PERMITTED)
    if record["kind"] == "open":
        # The facts themselves are what was laid down, not merely consistent with the verdict.
        assert int(record["opens_1h"]) == sum(1 for ago in own if ago * 1000 + 500 < 3_600_000)
        assert int(record["opens_5min"]) == sum(1 for ago in own if ago * 1000 + 500 < 300_000)
        assert int(record["opens_total_5min"]) == sum(
            1 for ago in others if ago * 1000 + 500 < 300_000
        )
    assert record["queued_before_server"] == str(int(queued_ago_ms > since_ago_ms))


def _opens_before(store: Store, now: int, own: list[int], others: list[int]) -> None:
    """Opens permitted so many seconds ago, half a second off any limit."""
    for key, agos in ((store.keys.at(LEDGER, "BTCUSDT"), own), (store.keys.ledger_total, others)):
        for number, ago in enumerate(agos):
            store.run("ZADD", key, f"{(now - ago * 1000 - 500) / 1000:.3f}", f"old{number}")
