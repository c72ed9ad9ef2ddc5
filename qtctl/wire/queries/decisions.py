"""Decisions as they lie in Redis, and the limits they were judged by.

Source: docs/redis-contract.md#decision.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from qtctl import errors
from qtctl.domain.entry_ids import time_of
from qtctl.domain.facts import limits_of
from qtctl.domain.gates import Limits
from qtctl.domain.reasons import Reason, Verdict
from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_error
from qtctl.wire.client.store import Store
from qtctl.wire.control import forgotten
from qtctl.wire.queries import streams
from qtctl.wire.schema.keys import DECISION, DECISION_TTL_SEC, LIMITS
from qtctl.wire.schema.records import pairs, text, texts

FIRST_PAGE = 50
"""Events that are read at first; later pages grow."""
Hint = Callable[[Mapping[str, str]], bool]
"""From the event, symbol, reason and ts of a decision's event to False where nobody wants the
decision; it may be wrong the other way round only."""
Decision = dict[str, str]
"""A record by field; plan_id is always whole (the key has it, the field may be shortened)."""
_OF_EVENTS = ("event", "symbol", "reason", "ts")
_EXPIRING_SEC = 60.0
"""What expires while a list is read counts as gone."""


def every(store: Store, hint: Hint | None = None, known: Collection[str] = ()) -> list[Decision]:
    """All decisions of the last 24 h that may be wanted, the latest first; without the known."""
    ids = [plan_id for plan_id in store.scan(DECISION) if plan_id not in known]
    found = by_id(store, ids if hint is None else _sifted(store, ids, hint))
    return sorted(found.values(), key=_decided_at, reverse=True)


def _sifted(store: Store, ids: Sequence[str], hint: Hint) -> list[str]:
    """Those whose decisions may be wanted: four fields of each are read, where it has forty."""
    fields = ("verdict", "symbol", "reason", "decided_at")
    replies = store.batch([("HMGET", store.keys.at(DECISION, id_), *fields) for id_ in ids])
    return [
        id_
        for id_, reply in zip(ids, replies, strict=True)
        # An error (no right to HMGET) says nothing about the decision.
        if is_error(reply) or hint(dict(zip(_OF_EVENTS, texts(reply), strict=True)))
    ]


def latest(
    store: Store, *, after: float | None = None, hint: Hint | None = None
) -> Iterator[Decision]:
    """The decisions of the last 24 h, or since a time (epoch seconds), the latest first, read as
    far as the caller goes on.

    The events of the governors come in the order of their decisions, so that a few pages of them
    name the latest. Where they end before the caller does (they are trimmed to about 10,000; a
    decision may lack its event where the server refused it), all keys are scanned for the rest."""
    seen: set[str] = set()
    # An id is never below the clock it was made by: none of these decisions has an older one.
    for page in _events(store, after):
        ids = []
        for event in page:
            plan_id = event.fields.get("plan_id", "")
            if plan_id not in seen and _is_decision(event.fields):
                seen.add(plan_id)
                if hint is None or hint(event.fields):
                    ids.append(plan_id)
        yield from sorted(by_id(store, ids).values(), key=_decided_at, reverse=True)
    if after is None or not _reaches_back(store, after):
        yield from every(store, hint, seen)


def _is_decision(event: Mapping[str, str]) -> bool:
    """True for the event of a decision; a duplicate or a conflict is blocked without one."""
    about_another = (Reason.DUPLICATE_PLAN, Reason.PLAN_CONFLICT)
    return (
        event.get("event") in (Verdict.PERMITTED, Verdict.BLOCKED)
        and event.get("reason") not in about_another
    )


def _events(store: Store, after: float | None) -> Iterator[list[streams.StreamEntry]]:
    """Pages of events, newest first; none where they can't be read (another type, no right): the
    keys of the decisions have everything."""
    with suppress(errors.WireError):
        yield from streams.pages(store, store.keys.events, after=after, size=FIRST_PAGE)


def _reaches_back(store: Store, at: float) -> bool:
    """True if the events can be read and begin before a time."""
    try:
        first = store.run("XRANGE", store.keys.events, "-", "+", "COUNT", 1)
    except errors.WireError:
        return False
    return bool(first) and time_of(text(first[0][0])) < at


def by_id(store: Store, plan_ids: Sequence[str]) -> dict[str, Decision]:
    """The decisions about these plans; those without one are left out."""
    replies = store.batch([("HGETALL", store.keys.at(DECISION, id_)) for id_ in plan_ids])
    found = zip(plan_ids, replies, strict=True)
    return {id_: pairs(it) | {"plan_id": id_} for id_, it in found if it and not is_error(it)}


def known_since(store: Store, now_ms: int) -> float:
    """Since when Redis has every decision (epoch seconds): the last 24 h, unless it lost or never
    had the first of them (its events begin later, or it was found emptied or older)."""
    lost = forgotten.emptied(store)
    times = [now_ms / 1000 - DECISION_TTL_SEC + _EXPIRING_SEC]
    if lost is not None and lost.is_loss:
        times.append(lost.at)
    (reply,) = store.batch([("XINFO", "STREAM", store.keys.events)])
    if is_error(reply) and xinfo.is_missing(reply):
        times.append(now_ms / 1000)
    elif not is_error(reply):
        events = xinfo.stream(reply)
        if events.added == events.length and events.first:
            times.append(time_of(events.first))
    return min(max(times), now_ms / 1000)


def limits(store: Store, digest: str) -> Limits | None:
    """The limits with this digest, None where they are forgotten or unreadable."""
    return limits_by_digest(store, [digest])[digest]


def limits_by_digest(store: Store, digests: Iterable[str]) -> dict[str, Limits | None]:
    """The limits with these digests, None for those that are forgotten or unreadable."""
    wanted = sorted(set(digests))
    replies = store.batch([("GET", store.keys.at(LIMITS, digest)) for digest in wanted])
    return {
        digest: None if raw is None or is_error(raw) else limits_of(raw)
        for digest, raw in zip(wanted, replies, strict=True)
    }


def _decided_at(decision: Decision) -> float:
    try:
        return float(decision.get("decided_at", ""))
    except ValueError:
        return 0.0
