"""The same work as a plain service does it: redis-py out of the box, a round trip per command."""

from collections.abc import Sequence
from typing import Any

import redis

from qtctl import clock

PREFIX = "quantum:"


def allocation(url: str, names: Sequence[str]) -> float:
    """Seconds for one pass over these symbols."""
    client: Any = redis.Redis.from_url(url)
    begun = clock.monotonic()
    for name in names:
        target = client.hgetall(f"{PREFIX}allocation:target:{name}")
        score = client.hgetall(f"{PREFIX}capital:efficiency:{name}")
        base = float(target[b"target_usd"])
        factor = max(0.5, min(1.5, 1.0 + (float(score[b"efficiency_score"]) - 0.5)))
        fields = {
            "ts_epoch": int(clock.now()), "symbol": name, "base_target": f"{base:.2f}",
            "proposed_target": f"{base * factor:.2f}", "multiplier": f"{factor:.4f}",
            "eff_score": score[b"efficiency_score"], "eff_confidence": score[b"confidence"],
            "eff_stale": "0", "reason": "ok", "mode": "shadow",
        }  # fmt: skip
        client.xadd(f"{PREFIX}stream:allocation.target.proposed", fields, maxlen=30_000)
        key = f"{PREFIX}allocation:target:proposed:{name}"
        client.hset(key, mapping=fields)
        client.expire(key, 600)
    took = clock.monotonic() - begun
    client.close()
    return took


def governor(url: str, count: int, record: dict[str, str], permit: str) -> float:
    """Seconds for this many plans in the group `naive`; record and permit as large as the real."""
    client: Any = redis.Redis.from_url(url)
    plans, events = f"{PREFIX}stream:apply.plan", f"{PREFIX}stream:governor.events"
    begun = clock.monotonic()
    for _ in range(count):
        ((_, ((entry_id, fields),)),) = client.xreadgroup("naive", "one", {plans: ">"}, count=1)
        plan_id, symbol = fields[b"plan_id"].decode(), fields[b"symbol"].decode()
        now = clock.now()
        ledger, total = f"{PREFIX}naive:ledger:{symbol}", f"{PREFIX}naive:ledger_total"
        client.exists(f"{PREFIX}naive:permit:{plan_id}")
        client.hgetall(f"{PREFIX}naive:decision:{plan_id}")
        for name in ("kill", "governor:halt", "global:kill_switch"):
            client.get(PREFIX + name)
        client.hgetall(f"{PREFIX}capital:efficiency:{symbol}")
        client.zrevrange(ledger, 0, 0, withscores=True)
        client.zcount(ledger, now - 300, "+inf")
        client.zcount(ledger, now - 3600, "+inf")
        client.zcount(total, now - 300, "+inf")
        client.hset(f"{PREFIX}naive:decision:{plan_id}", mapping=record)
        client.expire(f"{PREFIX}naive:decision:{plan_id}", 86_400)
        for key in (ledger, total):
            client.zadd(key, {plan_id: now})
            client.zremrangebyscore(key, "-inf", now - 3600)
            client.expire(key, 3600)
        client.zadd(f"{PREFIX}naive:permits", {plan_id: now + 60})
        client.set(f"{PREFIX}naive:permit:{plan_id}", permit, ex=60)
        client.xadd(events, {"event": "permitted", "plan_id": plan_id, "symbol": symbol,
                             "reason": "ok", "ts": int(now), "actor": "naive"},
                    maxlen=10_000)  # fmt: skip
        client.xack(plans, "naive", entry_id)
    took = clock.monotonic() - begun
    client.close()
    return took
