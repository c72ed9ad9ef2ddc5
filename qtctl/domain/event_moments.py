"""What an event of the governors' stream says, in a sentence: one of `moments.Moment`.

The fields are those of docs/redis-contract.md#event. Events of single plans have no sentence here.
"""

from collections.abc import Callable, Mapping

from qtctl.domain.gates import REDUCE_ONLY
from qtctl.domain.moments import Kind, Moment

Fields = Mapping[str, str]
OF_PLANS = ("permitted", "blocked", "withdrawn")
"""Events of single plans."""
STREAM = "events"
CLOCK_KEY = "governor:clock_jump"


def moment(entry_id: str, at: float, fields: Fields) -> Moment | None:
    """None for an event of a single plan. at: when it was written, epoch seconds. An event that is
    not known here, as a later version may write, is shown by its name."""
    event = fields.get("event", "")
    if event in OF_PLANS:
        return None
    kind, alert, tell = _EVENTS.get(event, ("other", "", _by_name))
    words = fields.get("reason", "") if event in _REASON_IN_WORDS else ""
    return Moment(
        at=at, kind=kind, what=tell(fields), by=fields.get("actor", ""),
        symbol=fields.get("symbol", ""), reason=words, alert=alert, id=f"{STREAM}:{entry_id}",
    )  # fmt: skip


def _target(fields: Fields, value: str) -> str:
    """What a value in a halt key or kill key stops."""
    symbol = fields.get("symbol", "")
    if symbol:
        return symbol if value != REDUCE_ONLY else f"opens of {symbol}"
    return "opens" if value == REDUCE_ONLY else "everything"


def _halted(fields: Fields) -> str:
    before = fields.get("before", "")
    was = f" (was {before!r})" if before not in ("", fields.get("value", "")) else ""
    return f"HALTED {_target(fields, fields.get('value', ''))}: {fields.get('key', '')}{was}"


def _resumed(fields: Fields) -> str:
    if fields.get("key") == CLOCK_KEY:
        return "resumed opens after the jump of the clock"
    left = fields.get("value", "")
    still = f"; {left!r} stands again" if left else ""
    return f"resumed {_target(fields, fields.get('before', ''))}: {fields.get('key', '')}{still}"


def _kept(fields: Fields) -> str:
    return f"Redis had lost a halt: {_target(fields, fields.get('value', ''))} stays halted"


def _emptied(fields: Fields) -> str:
    how = {"empty": "EMPTY", "older": "with OLDER data"}.get(fields.get("reason", ""), "")
    return f"Redis came back {how or fields.get('reason', '')}"


def _server(fields: Fields) -> str:
    how = {
        "restarted": "Redis restarted",
        "promoted": "FAILOVER: a server that was a replica answers",
    }.get(fields.get("reason", ""), "another Redis server answers")
    return f"{how} (run {fields.get('before', '')[:8]} → {fields.get('value', '')[:8]})"


def _count(fields: Fields, what: str) -> str:
    count = fields.get("count", "")
    return f"{int(count):,} {what}" if count.isdecimal() else f"an unknown number of {what}"


def _set_back(fields: Fields) -> str:
    return (
        f"the consumer group lay ahead of the plans ({fields.get('before', '')}) and saw none: "
        f"set back to {fields.get('value', '')}"
    )


def _unknown(fields: Fields) -> str:
    source = fields.get("source", "") or "a publisher without a source"
    plans = _count(fields, "plans")
    return f"{plans} with the decision {fields.get('decision', '')!r} from {source} not carried out"


def _by_name(fields: Fields) -> str:
    reason = fields.get("reason", "")
    return fields.get("event", "") + (f": {reason}" if reason else "")


_REASON_IN_WORDS = frozenset(
    {"halted", "resumed", "halt_kept", "permits_stopped", "loss_acknowledged"}
)
_EVENTS: dict[str, tuple[Kind, str, Callable[[Fields], str]]] = {
    "halted": ("halt", "QtctlTradingHalted", _halted),
    "resumed": ("resume", "", _resumed),
    "halt_kept": ("halt", "QtctlHaltKept", _kept),
    "redis_emptied": ("redis", "QtctlRedisEmptied", _emptied),
    "loss_acknowledged": ("redis", "", lambda _: "that Redis lost its data is acknowledged"),
    "server_changed": ("redis", "", _server),
    "permits_stopped": ("permits", "QtctlGovernorNotReady", lambda _: "no permits are issued"),
    "permits_resumed": ("permits", "", lambda _: "permits are issued again"),
    "clock_step": (
        "clock",
        "QtctlClockStepped",
        lambda it: f"the clock of Redis stepped {it.get('reason', '')} by {it.get('value', '')} s",
    ),
    "clock_jump": (
        "clock",
        "QtctlClockJump",
        lambda it: f"the clock of Redis jumped ahead {it.get('value', '')} s: opens quarantined",
    ),
    "group_set_back": ("gap", "QtctlGroupSetBack", _set_back),
    "trimmed": (
        "gap",
        "QtctlPlansTrimmed",
        lambda it: f"{_count(it, 'plans')} trimmed before they were judged",
    ),
    "backlog_skipped": (
        "gap",
        "QtctlBacklogSkipped",
        lambda it: f"{_count(it, 'plans')} skipped, queued for over an hour",
    ),
    "unknown_decision": ("plans", "QtctlUnknownDecision", _unknown),
    "plan_ids": (
        "plans",
        "QtctlPlanIds",
        lambda it: (
            f"plan ids are not by Redis's clock ({it.get('reason', '')}, last "
            f"{it.get('value', '')}) from {it.get('source', '') or 'a publisher without a source'}"
        ),
    ),
}
"""Event: kind, the alert that it raises, and its sentence."""
