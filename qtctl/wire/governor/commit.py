"""The atomic step as Python calls it: cases in, what became of them out, in one batch.

The step itself is commit_permit.lua. Source: section 3 of the specification.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from qtctl import errors
from qtctl.domain.gates import Facts, Limits, static_reason
from qtctl.domain.plans import Plan
from qtctl.domain.reasons import Reason, Verdict
from qtctl.wire.client.connect import reply_error
from qtctl.wire.client.scripts import digest
from qtctl.wire.client.store import Store
from qtctl.wire.schema.decision import DECISION_DYNAMIC, CommitRequest, static_fields
from qtctl.wire.schema.keys import (
    BLOCK,
    BLOCK_TTL_SEC,
    DECISION,
    DECISION_TTL_SEC,
    GROUP,
    LEDGER,
    LEDGER_KEEP_SEC,
    PERMIT,
)
from qtctl.wire.schema.permit import permit_hash, permit_json
from qtctl.wire.schema.records import HINT, Flat, packed, packed_words, text

_FAR_MS = 9_000_000_000_000_000
"""Beyond this a double is no longer exact in milliseconds; no honest time is."""
STEP = "commit_permit"
_ENCODERS: dict[str, Callable[[Plan, Flat], Sequence[str | bytes]]] = {
    "json": permit_json, "hash": permit_hash,
}  # fmt: skip
_DYNAMIC = tuple(name for name, _ in DECISION_DYNAMIC)
_TO_FIND = tuple(part for name in _DYNAMIC for part in (name, ""))
"""The end of the record, whose values the step finds."""


class CommitSettings(msgspec.Struct, frozen=True):
    """What is the same for every plan. server_since_ms: epoch ms before which an entry of the
    plan stream was queued under another server."""

    limits: Limits
    kill_keys: tuple[str, ...]
    encoding: str
    permit_ttl_sec: int
    events_maxlen: int
    actor: str


class CommitResult(msgspec.Struct, frozen=True):
    """What the step did. facts: the dynamic fields of the decision, empty unless it wrote one;
    static: those that were known before, flat. decided_at: the server's clock, epoch seconds;
    withdrawn: an open permit was taken back."""

    verdict: Verdict
    reason: Reason
    decided_at: float | None = None
    withdrawn: bool = False
    facts: dict[str, str] = {}
    static: Sequence[str] = ()


def commit(
    store: Store, cases: Sequence[CommitRequest], settings: CommitSettings, server_since_ms: int
) -> Iterator[tuple[CommitRequest, CommitResult | errors.WireError]]:
    """Takes the final verdict on each case and writes what follows; each with what became of it,
    as it comes: in the order of the cases, but where Redis had forgotten the step.

    Where Redis refuses one there is the error: nothing became of that plan, and it stays
    pending. Errors: RedisUnreachable, after which each is done wholly or not at all.
    """
    statics: list[Flat] = []
    calls = _calls(store, cases, settings, server_since_ms, statics)
    for place, reply in store.calls(STEP, calls):
        yield cases[place], _outcome(reply, statics[place])


def _calls(
    store: Store,
    cases: Sequence[CommitRequest],
    settings: CommitSettings,
    server_since_ms: int,
    statics: list[Flat],
) -> Iterator[bytes]:
    """A call for each case, as it stands on the wire; its static fields go to `statics`.

    What is the same for all of them is packed once, and stands in the middle.
    """
    shared = _shared_keys(store, settings)
    step, keys_count, encode = digest(STEP), 4 + len(shared), _ENCODERS[settings.encoding]
    arguments = _shared_arguments(settings, server_since_ms)
    same = packed_words([*shared, *arguments])
    for case in cases:
        plan, hint = case.plan, HINT.flat(case.hint)
        static = static_fields(case, hint)
        statics.append(static)
        own = _own_arguments(case, static, settings.limits, encode(plan, hint))
        head = ("EVALSHA", step, str(keys_count), *_own_keys(store, plan))
        yield packed(head, len(shared) + len(arguments) + len(own)) + same + packed_words(own)


def _own_keys(store: Store, plan: Plan) -> list[str]:
    keys = store.keys
    return [
        keys.at(DECISION, plan.plan_id),
        keys.at(PERMIT, plan.plan_id),
        keys.at(BLOCK, plan.plan_id),
        keys.at(LEDGER, plan.symbol),
    ]


def _shared_keys(store: Store, settings: CommitSettings) -> list[str]:
    keys = store.keys
    return [
        keys.ledger_total,
        keys.permits,
        keys.events,
        keys.plans,
        keys.halted_symbols,
        *settings.kill_keys,
    ]


def _shared_arguments(settings: CommitSettings, server_since_ms: int) -> list[Any]:
    limits = settings.limits
    return [
        GROUP, server_since_ms,
        limits.max_queue_age_sec, limits.max_plan_age_sec, limits.symbol_cooldown_sec,
        limits.max_exec_per_5min, limits.max_exec_per_hour, limits.max_opens_per_5min_total,
        settings.permit_ttl_sec, DECISION_TTL_SEC, BLOCK_TTL_SEC, LEDGER_KEEP_SEC,
        settings.events_maxlen, settings.actor, settings.encoding,
    ]  # fmt: skip


def _own_arguments(
    case: CommitRequest, static: Flat, limits: Limits, permit: Sequence[str | bytes]
) -> list[str | bytes | int]:
    plan = case.plan
    return [
        case.entry_id, plan.plan_id, plan.symbol, static[static.index("symbol") + 1], plan.kind,
        "1" if plan.execute else "0", _millis(plan.at), _judged_so_far(plan, limits),
        msgspec.json.encode(plan.symbol), len(permit), *permit,
        "verdict", "", "reason", "", *static, *_TO_FIND,
    ]  # fmt: skip


def _millis(at: float | None) -> str:
    return "" if at is None else str(round(max(-_FAR_MS, min(_FAR_MS, at * 1000))))


def _judged_so_far(plan: Plan, limits: Limits) -> str:
    facts = Facts(
        symbol=plan.symbol,
        kind=plan.kind,
        queue_age_sec=0.0,
        kill_score=plan.kill_score,
        qty=plan.qty,
        price=plan.price,
    )
    return static_reason(facts, limits) or ""


def _outcome(reply: Any, static: Flat) -> CommitResult | errors.WireError:
    if isinstance(reply, Exception):
        return reply_error(reply)
    verdict, reason, *rest = (text(part) for part in reply)
    if not rest:
        return CommitResult(Verdict(verdict), Reason(reason))
    facts = dict(zip(_DYNAMIC, rest[2:], strict=True)) if rest[2:] else {}
    return CommitResult(
        Verdict(verdict), Reason(reason), float(rest[0]), rest[1] == "1", facts, static
    )
