"""What Redis still knows of what happened, as sources of `domain.moments.rows`.

Bounded: the newest MOST_EVENTS events and rejected plans, and the decisions that they name.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from qtctl.domain.entry_ids import time_of
from qtctl.domain.event_moments import STREAM as EVENTS
from qtctl.domain.event_moments import moment
from qtctl.domain.gates import CLOSE_REASONS, Limits
from qtctl.domain.moments import Change, Moment, Refusal, Run, Source, of_runs, runs
from qtctl.domain.plans import PlanRules, unreadable
from qtctl.domain.reasons import Kind, Reason
from qtctl.errors import WireError
from qtctl.settings import RECORDER, SERVICES
from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.control.runs import STARTED
from qtctl.wire.queries import decisions, services, streams
from qtctl.wire.queries.streams import StreamEntry
from qtctl.wire.schema.keys import DECISION
from qtctl.wire.schema.records import from_json, texts

MOST_EVENTS = 20_000
RAW = "raw:"
CLOSE_REFUSED = "QtctlCloseRefused"
_ASKED = ("kind", "instance", "limits", "version")


class Judged(msgspec.Struct, frozen=True):
    """An event of a plan beside its decision. at: when; the rest as in the record, "" where it is
    forgotten."""

    at: float
    kind: str
    instance: str
    limits: str
    version: str


def sources(store: Store, since: float, rules: PlanRules) -> list[Source]:
    """Everything that Redis knows since a time (epoch seconds); rules: what counts as a close.
    What can't be read is said in its source. Errors: RedisUnreachable."""
    return [
        _part("events", lambda: _events(store, since)),
        _part("notes of services", lambda: _runs(store, since)),
        _part("rejected plans", lambda: _rejected(store, since, rules)),
        _part("service records", lambda: _running(store)),
        _part("the server", lambda: _server(store)),
    ]


def _part(name: str, read: Callable[[], Source]) -> Source:
    try:
        return read()
    except WireError as problem:
        return Source(name, problem=str(problem))


def _window(
    store: Store, stream: str, since: float
) -> tuple[list[StreamEntry], float | None, bool]:
    """Entries since a time, oldest first; how far back the stream goes; whether it was trimmed."""
    window = streams.since(store, stream, since, MOST_EVENTS)
    entries = list(reversed(window.entries))
    if window.back_to is not None:
        return entries, window.back_to, True
    (reply,) = store.batch([("XINFO", "STREAM", stream)])
    if is_error(reply):
        return entries, None, False
    found = xinfo.stream(reply)
    trimmed = found.added is None or found.added > found.length
    return entries, time_of(found.first) if found.first else None, trimmed


def _events(store: Store, since: float) -> Source:
    entries, back_to, trimmed = _window(store, store.keys.events, since)
    found = (moment(each.id, time_of(each.id), each.fields) for each in entries)
    out = [it for it in found if it is not None]
    plans = [each for each in entries if each.fields.get("event") in ("permitted", "blocked")]
    judged = _judged(store, plans)
    refused = (
        refusal(each, EVENTS, "close", "refused")
        for each, about in zip(plans, judged, strict=True)
        if about.kind == Kind.CLOSE
        and each.fields.get("event") == "blocked"
        and each.fields.get("reason") in CLOSE_REASONS
        and each.fields.get("reason") != Reason.DUPLICATE_PLAN
    )
    gone = (each for each in entries if each.fields.get("event") == "withdrawn")
    withdrawn = (refusal(each, EVENTS, "permit", "withdrawn") for each in gone)
    out += runs("refused", refused, CLOSE_REFUSED) + runs("permits", withdrawn)
    out += _of_limits(store, judged)
    return Source("events", out, back_to, trimmed)


def refusal(entry: StreamEntry, stream: str, noun: str, verb: str) -> Refusal:
    known = entry.fields
    return Refusal(
        at=time_of(entry.id), noun=noun, verb=verb, reason=known.get("reason", ""),
        plan_id=known.get("plan_id", ""), symbol=known.get("symbol", ""),
        by=known.get("actor", ""), id=f"{stream}:{entry.id}",
    )  # fmt: skip


def _judged(store: Store, plans: Sequence[StreamEntry]) -> list[Judged]:
    keys = [store.keys.at(DECISION, each.fields.get("plan_id", "")) for each in plans]
    replies = store.batch([("HMGET", key, *_ASKED) for key in keys])
    return [
        Judged(time_of(each.id), *([""] * 4 if is_error(reply) else texts(reply)))
        for each, reply in zip(plans, replies, strict=True)
    ]


def _of_limits(store: Store, judged: Sequence[Judged]) -> Iterator[Moment]:
    """Where a governor's decisions name other limits than the one before: the record of a change
    that nobody noted."""
    last: dict[str, Judged] = {}
    found: list[tuple[Judged, Judged]] = []
    for each in judged:
        if not each.limits or not each.instance:
            continue
        before = last.get(each.instance)
        if before is not None and before.limits != each.limits:
            found.append((before, each))
        last[each.instance] = each
    known = decisions.limits_by_digest(store, (it.limits for pair in found for it in pair))
    for before, after in found:
        was, now = known[before.limits], known[after.limits]
        changes = () if was is None or now is None else _different(was, now)
        if changes or was is None or now is None:
            limits = "" if changes else f" ({before.limits} → {after.limits}; forgotten)"
            yield Moment(
                at=after.at, kind="settings", changes=changes,
                what=f"governor:{after.instance} judges by other limits{limits}",
            )  # fmt: skip


def _different(was: Limits, now: Limits) -> tuple[Change, ...]:
    names = [name for name in was.__struct_fields__ if getattr(was, name) != getattr(now, name)]
    return tuple(Change(f"governor.{it}", getattr(was, it), getattr(now, it)) for it in names)


def _runs(store: Store, since: float) -> Source:
    """All notes there are: what a run before the window had tells what changed in it."""
    entries, back_to, trimmed = _window(store, store.keys.runs, 0.0)
    return Source("notes of services", of_runs(map(_run, entries)), back_to, trimmed)


def _run(entry: StreamEntry) -> Run:
    known = entry.fields
    settings: dict[str, Any] = from_json(known.get("settings", "{}"), dict[str, Any], {})
    return Run(
        time_of(entry.id), known.get("event") == STARTED, known.get("service", ""),
        known.get("name", ""), known.get("version", ""), known.get("host", ""),
        known.get("pid", ""), settings, f"runs:{entry.id}",
    )  # fmt: skip


def _rejected(store: Store, since: float, rules: PlanRules) -> Source:
    entries, back_to, trimmed = _window(store, store.keys.rejected, since)
    found = list(closes_unread(entries, rules))
    return Source("rejected plans", runs("refused", found, CLOSE_REFUSED), back_to, trimmed)


def closes_unread(entries: Iterable[StreamEntry], rules: PlanRules) -> Iterator[Refusal]:
    """The closes among rejected plans."""
    for each in entries:
        sent = {
            name.removeprefix(RAW): value
            for name, value in each.fields.items()
            if name.startswith(RAW)
        }
        if unreadable("", sent, rules).kind_if_executed is Kind.CLOSE:
            about = {"plan_id": sent.get("plan_id", ""), "symbol": sent.get("symbol", "")}
            named = StreamEntry(each.id, each.fields | about)
            yield refusal(named, "rejected", "close", "refused")


def _running(store: Store) -> Source:
    """The services that have a record, as of their start: of those that leave no notes."""
    notes, _, _ = _window(store, store.keys.runs, 0.0)
    noted = {(each.fields.get("service"), each.fields.get("name")) for each in notes}
    out = [
        Moment(
            at=float(it.started_at), kind="service",
            what=f"{it.service}:{it.name} started "
            f"(qtctl {it.version}, pid {it.pid}; by its record)",
        )
        for it in services.every(store, (*SERVICES, RECORDER))
        if (it.service, it.name) not in noted
    ]  # fmt: skip
    return Source("service records", out)


def _server(store: Store) -> Source:
    found = store.server()
    what = f"{found.name} {found.version} started (the server that answers now)"
    # Its start is known to the second, and started_ms is the end of that.
    at = found.started_ms / 1000 - 1
    return Source("the server", [Moment(at=at, kind="redis", what=what)])
