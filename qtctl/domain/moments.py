"""What happened, as one list: each source gives moments, and `rows` puts them in order.

A source is whatever still knows something: events, notes of services, deploy records, the history.
Each says how far back it reaches, since what it has forgotten is not known to have not happened.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

Kind = Literal[
    "halt", "resume", "permits", "service", "settings", "deploy", "redis", "clock", "gap",
    "refused", "plans", "alarm", "other",
]  # fmt: skip
APART_SEC = 60.0
"""Refusals of a kind that are further apart stand in rows of their own."""
MOST_NAMED = 3


class Change(msgspec.Struct, frozen=True):
    """A setting that changed. before: None where it is not known."""

    setting: str
    before: Any
    after: Any


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. at, until: epoch seconds (until: of the last of several); by: who
    did it; reason: in their words, or the gate's; alert: the alert that it raises; id: of the entry
    it comes from behind the stream's name (`events:1769558400000-0`), the same in every source."""

    at: float
    kind: Kind
    what: str
    by: str = ""
    symbol: str = ""
    reason: str = ""
    alert: str = ""
    changes: tuple[Change, ...] = ()
    count: int = 1
    until: float | None = None
    source: str = ""
    id: str = ""


class Source(msgspec.Struct, frozen=True):
    """What one source knows. back_to: how far back it reaches (epoch seconds), None where nothing
    is known of that; trimmed: older things were forgotten; problem: why it could not be read."""

    name: str
    moments: Sequence[Moment] = ()
    back_to: float | None = None
    trimmed: bool = False
    problem: str = ""


def rows(
    sources: Iterable[Source], since: float, until: float, kinds: Sequence[str] = ()
) -> list[Moment]:
    """All moments of a window in their order, each once; kinds: those alone, empty for all."""
    found: dict[object, Moment] = {}
    for source in sources:
        for moment in source.moments:
            named = msgspec.structs.replace(moment, source=moment.source or source.name)
            key = moment.id or (moment.at, moment.what, moment.by)
            found.setdefault(key, named)
    wanted = (
        it for it in found.values() if since <= it.at <= until and (not kinds or it.kind in kinds)
    )
    return sorted(wanted, key=lambda it: (it.at, it.id))


class Refusal(msgspec.Struct, frozen=True):
    """One close that got no permit, or one permit that was withdrawn: noun and verb, as in `3
    closes refused`."""

    at: float
    noun: str
    verb: str
    reason: str
    plan_id: str
    symbol: str
    by: str
    id: str = ""


def runs(kind: Kind, refusals: Iterable[Refusal], alert: str = "") -> list[Moment]:
    """Refusals in their order as moments: those of a kind that follow each other are one."""
    groups: dict[tuple[str, str, str], list[Refusal]] = {}
    out: list[Moment] = []
    for each in refusals:
        key = (each.noun, each.reason, each.by)
        held = groups.setdefault(key, [])
        if held and each.at - held[-1].at > APART_SEC:
            out.append(_run(kind, held, alert))
            groups[key] = held = []
        held.append(each)
    return out + [_run(kind, held, alert) for held in groups.values()]


def _run(kind: Kind, held: Sequence[Refusal], alert: str) -> Moment:
    first, count = held[0], len(held)
    names = [it.plan_id for it in held[:MOST_NAMED]] + (["…"] if count > MOST_NAMED else [])
    symbols = {it.symbol for it in held}
    what = f"{count:,} {first.noun}{'' if count == 1 else 's'} {first.verb}: {first.reason}"
    return Moment(
        at=first.at, kind=kind, what=f"{what} ({', '.join(names)})", by=first.by,
        symbol=symbols.pop() if len(symbols) == 1 else "", alert=alert, count=count,
        until=held[-1].at if count > 1 else None, id=first.id,
    )  # fmt: skip


class Run(msgspec.Struct, frozen=True):
    """A note of a service: that it started, with its settings, or stopped."""

    at: float
    started: bool
    service: str
    name: str
    version: str = ""
    host: str = ""
    pid: str = ""
    settings: Mapping[str, Any] = {}
    id: str = ""

    @property
    def who(self) -> str:
        """`governor:prod-1`, as in events."""
        return f"{self.service}:{self.name}"


def of_runs(notes: Iterable[Run]) -> list[Moment]:
    """Starts and stops in their order, and between two starts what changed in the settings."""
    out: list[Moment] = []
    last: dict[str, Run] = {}
    running: set[str] = set()
    for note in notes:
        if not note.started:
            running.discard(note.who)
            out.append(_of_service(note, "stopped"))
            continue
        unclean = note.who in running
        out.append(_of_service(note, "started" + (" again: it had not stopped" if unclean else "")))
        if changes := changed(last.get(note.who, note), note):
            what, id_ = f"settings of {note.who} changed", f"{note.id}:settings"
            out.append(Moment(at=note.at, kind="settings", what=what, changes=changes, id=id_))
        last[note.who] = note
        running.add(note.who)
    return out


def changed(before: Run, after: Run) -> tuple[Change, ...]:
    """What is different between two runs of a service: its version and its settings."""
    found = []
    if before.version != after.version:
        found.append(Change("version", before.version, after.version))
    # A version may have added or dropped a setting, which nobody has changed.
    for key in before.settings:
        was, now = before.settings[key], after.settings.get(key, before.settings[key])
        if was != now:
            found.append(Change(f"{after.service}.{key}", was, now))
    return tuple(found)


def _of_service(note: Run, what: str) -> Moment:
    where = f" on {note.host}" if note.host not in ("", note.name) else ""
    about = f" (qtctl {note.version}, pid {note.pid}{where})" if what != "stopped" else ""
    alert = "QtctlRestarting" if "again" in what else ""
    return Moment(
        at=note.at, kind="service", what=f"{note.who} {what}{about}", id=note.id, alert=alert
    )
