"""What an event of the governors' stream says, in a sentence: one of `moments.Moment`.

The fields are those of docs/redis-contract.md#event. Events of single plans have no sentence here.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping

from qtctl.domain.gates import REDUCE_ONLY
from qtctl.domain.moments import Kind, Moment

_Known = Mapping[str, str]
"""The fields of an event, "" for those that it does not have."""
OF_PLANS = ("permitted", "blocked", "withdrawn")
"""Events of single plans."""
STREAM = "events"
CLOCK_KEY = "governor:clock_jump"
_REASON_IN_WORDS = ("halted", "resumed", "halt_kept", "permits_stopped", "loss_acknowledged")


def moment(entry_id: str, at: float, fields: Mapping[str, str]) -> Moment | None:
    """None for an event of a single plan. at: when it was written, epoch seconds. An event that is
    not known here, as a later version may write, is shown by its name."""
    known = defaultdict(str, fields)
    event = known["event"]
    if event in OF_PLANS:
        return None
    kind, alert, sentence = _EVENTS.get(event, ("other", "", _by_name))
    return Moment(
        at=at, kind=kind, by=known["actor"], symbol=known["symbol"], alert=alert,
        what=sentence.format_map(known) if isinstance(sentence, str) else sentence(known),
        reason=known["reason"] if event in _REASON_IN_WORDS else "", id=f"{STREAM}:{entry_id}",
    )  # fmt: skip


def _target(fields: _Known, value: str) -> str:
    """What a value in a halt key or kill key stops."""
    symbol = fields["symbol"]
    if symbol:
        return symbol if value != REDUCE_ONLY else f"opens of {symbol}"
    return "opens" if value == REDUCE_ONLY else "everything"


def _halted(fields: _Known) -> str:
    before, value = fields["before"], fields["value"]
    was = f" (was {before!r})" if before not in ("", value) else ""
    return f"HALTED {_target(fields, value)}: {fields['key']}{was}"


def _resumed(fields: _Known) -> str:
    if fields["key"] == CLOCK_KEY:
        return "resumed opens after the jump of the clock"
    left = fields["value"]
    still = f"; {left!r} stands again" if left else ""
    return f"resumed {_target(fields, fields['before'])}: {fields['key']}{still}"


def _kept(fields: _Known) -> str:
    return f"Redis had lost a halt: {_target(fields, fields['value'])} stays halted"


def _emptied(fields: _Known) -> str:
    how = {"empty": "EMPTY", "older": "with OLDER data"}.get(fields["reason"], fields["reason"])
    return f"Redis came back {how}"


def _server(fields: _Known) -> str:
    how = {
        "restarted": "Redis restarted",
        "promoted": "FAILOVER: a server that was a replica answers",
    }.get(fields["reason"], "another Redis server answers")
    return f"{how} (run {fields['before'][:8]} → {fields['value'][:8]})"


def _count(fields: _Known, what: str) -> str:
    count = fields["count"]
    return f"{int(count):,} {what}" if count.isdecimal() else f"an unknown number of {what}"


def _source(fields: _Known) -> str:
    return fields["source"] or "a publisher without a source"


def _unknown(fields: _Known) -> str:
    plans = _count(fields, "plans")
    return (
        f"{plans} with the decision {fields['decision']!r} from {_source(fields)} not carried out"
    )


def _plan_ids(fields: _Known) -> str:
    seen = f"({fields['reason']}, last {fields['value']})"
    return f"plan ids are not by Redis's clock {seen} from {_source(fields)}"


def _by_name(fields: _Known) -> str:
    return fields["event"] + (f": {fields['reason']}" if fields["reason"] else "")


_EVENTS: dict[str, tuple[Kind, str, str | Callable[[_Known], str]]] = {
    "halted": ("halt", "QtctlTradingHalted", _halted),
    "resumed": ("resume", "", _resumed),
    "halt_kept": ("halt", "QtctlHaltKept", _kept),
    "redis_emptied": ("redis", "QtctlRedisEmptied", _emptied),
    "loss_acknowledged": ("redis", "", "that Redis lost its data is acknowledged"),
    "server_changed": ("redis", "", _server),
    "permits_stopped": ("permits", "QtctlGovernorNotReady", "no permits are issued"),
    "permits_resumed": ("permits", "", "permits are issued again"),
    "clock_step": (
        "clock", "QtctlClockStepped", "the clock of Redis stepped {reason} by {value} s",
    ),
    "clock_jump": (
        "clock", "QtctlClockJump", "the clock of Redis jumped ahead {value} s: opens quarantined",
    ),
    "group_set_back": (
        "gap", "QtctlGroupSetBack",
        "the consumer group lay ahead of the plans ({before}) and saw none: set back to {value}",
    ),
    "trimmed": (
        "gap", "QtctlPlansTrimmed",
        lambda it: f"{_count(it, 'plans')} trimmed before they were judged",
    ),
    "backlog_skipped": (
        "gap", "QtctlBacklogSkipped",
        lambda it: f"{_count(it, 'plans')} skipped, queued for over an hour",
    ),
    "unknown_decision": ("plans", "QtctlUnknownDecision", _unknown),
    "plan_ids": ("plans", "QtctlPlanIds", _plan_ids),
}  # fmt: skip
"""Event: kind, the alert that it raises, and its sentence."""
