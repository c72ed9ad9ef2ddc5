"""Plans on the stream, and the atomic step on them, as the tests need them."""

from collections.abc import Sequence
from typing import Any

from qtctl.domain import plans
from qtctl.domain.downsize import DownsizeRules, hint
from qtctl.domain.gates import Limits
from qtctl.domain.plans import Plan, PlanRules
from qtctl.domain.readings import MISSING, Efficiency
from qtctl.wire.client.store import Store
from qtctl.wire.governor.commit import CommitSettings, ServerMarks, commit
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.schema import ids
from qtctl.wire.schema.decision import CommitRequest
from qtctl.wire.schema.keys import DECISION, GROUP, MARK, PERMIT
from qtctl.wire.schema.kill_names import KillNames
from qtctl.wire.schema.records import pairs, text

NAMES = KillNames(("kill", "global:kill_switch"), ("governor:halt",))
KILL_NAMES = ("kill", "global:kill_switch", "governor:halt")
"""The same as one list; the last is a halt key."""
RATES_OFF = Limits(
    symbol_cooldown_sec=0, reopen_cooldown_sec=0, max_exec_per_5min=0, max_exec_per_hour=0
)


_DOWNSIZE = DownsizeRules()


def fields(**changes: Any) -> dict[str, str]:
    """A plain open, but for the changes; a change to None leaves the field out."""
    plain = {
        "plan_id": "p1",
        "symbol": "BTCUSDT",
        "action": "OPEN_PROPOSED",
        "decision": "EXECUTE",
        "kill_score": "0.1",
    }
    return {name: str(value) for name, value in (plain | changes).items() if value is not None}


def queue(store: Store, entry: dict[str, Any], entry_id: str = "*", consumer: str = "test") -> str:
    """Adds an entry and delivers it to the group, as a governor does that has looked; its id."""
    store.run("SET", store.keys.at(MARK, "test"), 1)
    if group_state(store) is None:
        store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    flat = [part for pair in entry.items() for part in pair]
    added = text(store.run("XADD", store.keys.plans, entry_id, *flat))
    store.run("XREADGROUP", "GROUP", GROUP, consumer, "STREAMS", store.keys.plans, ">")
    return added


def settings(
    store: Store, limits: Limits = RATES_OFF, encoding: str = "json",
    downsize: DownsizeRules = _DOWNSIZE,
) -> CommitSettings:  # fmt: skip
    return CommitSettings(limits, NAMES, encoding, 60, 10_000, "test", downsize)


def unscored(plan: Plan, entry_id: str) -> CommitRequest:
    """A request whose score the step reads."""
    return CommitRequest(plan, entry_id, None, 1, 1, "test", "0.1.0", "abc")


def case(
    plan: Plan, entry_id: str, efficiency: Efficiency = MISSING, *, permitted_before: bool = False
) -> CommitRequest:
    return CommitRequest(
        plan, entry_id, hint(efficiency, DownsizeRules()), 1, 1, "test", "0.1.0", "abc",
        permitted_before,
    )  # fmt: skip


def read(entry: dict[str, Any]) -> Plan:
    plan = plans.read({name: str(value) for name, value in entry.items()}, PlanRules())
    assert isinstance(plan, Plan), plan
    return plan


def judge(
    store: Store,
    entry: dict[str, Any],
    limits: Limits = RATES_OFF,
    *,
    since_ms: int = 0,
    jumped_after_ms: int = 10**15,
    before: tuple[int, int] | None = None,
    permitted_before: bool = False,
    entry_id: str = "*",
    encoding: str = "json",
    again: str | None = None,
) -> Any:
    """Queues an entry (or takes the id of one that is there) and runs the atomic step on it."""
    queued = again or queue(store, entry, entry_id)
    step = settings(store, limits, encoding)
    marks = ServerMarks(before or ids.last_before(since_ms), jumped_after_ms)
    request = case(read(entry), queued, permitted_before=permitted_before)
    ((_, outcome),) = commit(store, [request], step, marks)
    return outcome


def decision(store: Store, plan_id: str = "p1") -> dict[str, str]:
    return pairs(store.run("HGETALL", store.keys.at(DECISION, plan_id)))


def permit(store: Store, plan_id: str = "p1") -> bytes | None:
    found: bytes | None = store.run("GET", store.keys.at(PERMIT, plan_id))
    return found


def pending(store: Store) -> list[str]:
    rows = store.run("XPENDING", store.keys.plans, GROUP, "-", "+", 1000)
    return [text(row[0]) for row in rows]


def events(store: Store) -> list[dict[str, str]]:
    return [pairs(raw) for _, raw in store.run("XRANGE", store.keys.events, "-", "+")]


def dump(store: Store, keys: Sequence[str]) -> dict[str, bytes | None]:
    """What lies under these keys, byte for byte."""
    return {key: store.run("DUMP", key) for key in keys}
