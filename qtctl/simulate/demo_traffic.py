"""What the demo sends: one of everything that an operator meets in a day.

Scores: healthy, low, missing, stale, of low confidence, malformed. Plans: that open, close,
repeat, contradict themselves, are stale, malformed, hit a rate, or meet the kill switch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtctl.domain.reasons import Reason

if TYPE_CHECKING:
    from qtctl.wire.client.store import Store

Send = Callable[["Store"], None]

TARGETS = {
    "BTCUSDT": "1000.0",
    "ETHUSDT": "800.0",
    "SOLUSDT": "500.0",
    "BNBUSDT": "300.0",
    "XRPUSDT": "200.0",
    "ADAUSDT": "150.0",
    "DOGEUSDT": "not yet",
}
PROPOSALS = 6
"""DOGEUSDT's target can't be read: it is skipped, and the others go on."""
# Symbol: score, confidence, age in seconds. SOLUSDT has none.
SCORES = {
    "BTCUSDT": ("0.2", "0.9", 5),
    "ETHUSDT": ("0.9", "0.9", 12),
    "BNBUSDT": ("0.8", "0.9", 700),
    "XRPUSDT": ("0.8", "0.5", 30),
    "ADAUSDT": ("high", "0.9", 3),
}
ABOUT_ANOTHER = (Reason.DUPLICATE_PLAN, Reason.PLAN_CONFLICT)


def scores_and_targets(store: "Store") -> None:
    """What upstream would have written."""
    from qtctl.wire.schema.keys import EFFICIENCY, TARGET

    now = store.now_ms() // 1000
    commands: list[tuple[Any, ...]] = []
    for symbol, usd in TARGETS.items():
        key = store.keys.at(TARGET, symbol)
        commands.append(("HSET", key, "target_usd", usd, "confidence", "0.8",
                         "timestamp", now - 4, "mode", "enforce"))  # fmt: skip
        commands.append(("EXPIRE", key, 300))
    for symbol, (score, confidence, age) in SCORES.items():
        key = store.keys.at(EFFICIENCY, symbol)
        commands.append(("HSET", key, "efficiency_score", score, "confidence", confidence,
                         "ts", now - age, "mode", "enforce", "version", "p31_v1"))  # fmt: skip
        commands.append(("EXPIRE", key, 600))
    store.batch(commands)


def _plan(plan_id: str, symbol: str, **more: str) -> Send:
    """Sends an open with these fields changed; `age_sec` is how old its timestamp is."""
    age_sec = int(more.pop("age_sec", "0"))

    def send(store: "Store") -> None:
        fields = {
            "plan_id": plan_id,
            "symbol": symbol,
            "action": "OPEN_PROPOSED",
            "decision": "EXECUTE",
            "kill_score": "0.1",
            "side": "BUY",
            "timestamp": str(store.now_ms() // 1000 - age_sec),
            "source": "qtctl-demo",
        } | more
        flat = [part for pair in fields.items() for part in pair]
        store.run("XADD", store.keys.plans, "*", *flat)

    return send


def _kill(value: str) -> Send:
    def send(store: "Store") -> None:
        from qtctl.wire.schema.keys import KILL

        store.run("SET", store.keys.prefix + KILL.template, value)

    return send


_CLOSE = {"action": "FULL_CLOSE_PROPOSED", "side": "CLOSE", "reduceOnly": "true"}

PLANS: tuple[Send, ...] = (
    _plan("demo-btc-open", "BTCUSDT", qty="0.0015", price="67000"),
    _plan("demo-eth-open", "ETHUSDT", qty="0.05", price="3500"),
    _plan("demo-eth-open", "ETHUSDT", qty="0.05", price="3500"),
    _plan("demo-sol-open", "SOLUSDT", qty="1", price="150"),
    _plan("demo-bnb-open", "BNBUSDT", qty="0.3", price="600"),
    _plan("demo-bnb-open", "BNBUSDT", **_CLOSE),
    _plan("demo-ada-open", "ADAUSDT", qty="100", price="0.5"),
    _plan("demo-btc-again", "BTCUSDT", qty="0.001", price="67000"),
    _plan("demo-xrp-large", "XRPUSDT", qty="1000", price="0.6"),
    _plan("demo-xrp-risky", "XRPUSDT", kill_score="0.93"),
    _plan("demo-xrp-old", "XRPUSDT", age_sec="300"),
    _plan("demo-xrp-early", "XRPUSDT", age_sec="-300"),
    _plan("demo-xrp-skip", "XRPUSDT", decision="SKIP"),
    _plan("demo-bad-qty", "XRPUSDT", qty="lots"),
    _plan("demo-bad-score", "XRPUSDT", kill_score="nan"),
    _plan("demo-bad-symbol", "XRP USDT"),
    _kill("reduce_only"),
    _plan("demo-halted-open", "XRPUSDT"),
    _plan("demo-halted-close", "XRPUSDT", **_CLOSE),
    _kill("1"),
    _plan("demo-stopped-close", "BTCUSDT", **_CLOSE),
    _kill("0"),
    _plan("demo-btc-close", "BTCUSDT", **_CLOSE),
    _plan("demo-xrp-reopen", "XRPUSDT"),
)
