"""What a decision was based on, back from its record: the facts, what is missing of them, and the
limits and rules that it was judged by. A record is the decision's wire fields, name to text."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from qtctl.domain import numbers
from qtctl.domain.allocation import AllocationRules
from qtctl.domain.gates import GATES, OFF, Facts, Limits, kill_level_before
from qtctl.domain.reasons import Kind

T = TypeVar("T", bound=msgspec.Struct)

_NUMBERS: dict[str, type[int] | type[float]] = {
    field.name: int if field.type is int else float
    for field in msgspec.structs.fields(Facts)
    if field.type in (int, float, float | None) and field.name != "kill_level"
}
"""The facts that are numbers: a count, or an age, an amount or a score."""
_ALWAYS_A_NUMBER = {it.name for it in msgspec.structs.fields(Facts) if it.type in (int, float)}
_OF_EVERY_PLAN = ("kind", "queue_age_sec", "kill_key", "kill_value", "kill_level")
_LEVELS = ("0", "1", "2")


def facts_of(record: Mapping[str, str]) -> Facts:
    """The facts that a decision record holds, for `domain.gates.judge`."""
    known: dict[str, Any] = {"queue_age_sec": None if record.get("queue_age_sec") == "" else 0.0}
    for name, number in _NUMBERS.items():
        value = numbers.number(record.get(name, ""))
        if value is not None:
            known[name] = number(value)
    level, stop = record.get("kill_level", ""), record.get("kill_value", "")
    return Facts(
        symbol=record.get("symbol", ""),
        kind=Kind.CLOSE if record.get("kind") == Kind.CLOSE else Kind.OPEN,
        kill_key=record.get("kill_key", ""),
        kill_value=stop,
        kill_level=int(level) if level in _LEVELS else kill_level_before(stop),
        queued_before_server=record.get("queued_before_server") == "1",
        permitted_before=record.get("permitted_before") == "1",
        clock_jump=record.get("clock_jump") == "1",
        **known,
    )


def unrecorded(record: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The facts that a record should hold and does not, by the limit that they are compared with,
    or "" for gates that have none or are never off. An empty field is a fact (the plan had none); a
    missing one, or one that is no number, is not, though `facts_of` takes it for the same."""
    lacking = [name for name in _OF_EVERY_PLAN if not _holds(record, name)]
    found = {"": lacking}
    if record.get("kind") == Kind.OPEN:
        for gate in GATES:
            for name in gate.facts:
                if name not in _OF_EVERY_PLAN and not _holds(record, name):
                    names = found.setdefault(gate.limits[-1] if gate.limits else "", [])
                    names += [name] if name not in names else []
    return {limit: tuple(names) for limit, names in found.items() if names}


def _holds(record: Mapping[str, str], name: str) -> bool:
    value = record.get(name)
    if name == "kill_level":
        return value is None or value in _LEVELS  # Records of versions before have none.
    if name == "kind":
        return value in (Kind.OPEN, Kind.CLOSE)
    if name in ("permitted_before", "clock_jump") and value is None:
        return True  # A version before did not look, so that this blocked nothing.
    if name in ("queued_before_server", "permitted_before", "clock_jump"):
        return value in ("0", "1")
    if name == "queue_age_sec" and value == "":
        return record.get("kind") == Kind.CLOSE
    if value is None or name not in _NUMBERS:
        return value is not None
    return numbers.number(value) is not None or (not value and name not in _ALWAYS_A_NUMBER)


def limits_of(raw: bytes) -> Limits | None:
    """The limits in a `governor:limits:*` key, None where it can't be read or lacks one that can't
    be off: a default in its place could be another than it was judged by."""
    return _whole(raw, Limits, OFF)


def rules_of(raw: bytes) -> AllocationRules | None:
    """The rules in an `allocation:rules:*` key, None where it can't be read or lacks one."""
    return _whole(raw, AllocationRules, {})


def _whole(raw: bytes, shape: type[T], absent: Mapping[str, Any]) -> T | None:
    """A value with every field of `shape` from JSON, `absent` for those that may be absent."""
    try:
        found = {**absent, **msgspec.json.decode(raw, type=dict[str, Any])}
        return msgspec.convert({name: found[name] for name in shape.__struct_fields__}, shape)
    except (msgspec.DecodeError, KeyError, RecursionError):
        return None
