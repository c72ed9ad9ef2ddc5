"""The atomic step as Python calls it: cases in, what became of them out, in one batch.

The step itself is commit_permit.lua. Source: section 3 of the specification.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from qtctl import errors
from qtctl.domain.gates import Facts, Limits, static_reason
from qtctl.domain.plans import Plan
from qtctl.domain.reasons import Reason, Verdict
from qtctl.wire.connect import reply_error
from qtctl.wire.decisions import DECISION_DYNAMIC, DECISION_STATIC, Case
from qtctl.wire.keys import (
    BLOCK,
    BLOCK_TTL_SEC,
    DECISION,
    DECISION_TTL_SEC,
    GROUP,
    LEDGER,
    LEDGER_KEEP_SEC,
    PERMIT,
)
from qtctl.wire.permits import Permit, permit_hash, permit_json
from qtctl.wire.records import Flat, flat, text
from qtctl.wire.store import Store

_FAR_MS = 9_000_000_000_000_000
"""Beyond this a double is no longer exact in milliseconds; no honest time is."""
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


class Outcome(msgspec.Struct, frozen=True):
    """What the step did. facts: the dynamic fields of the decision, empty unless it wrote one;
    static: those that were known before. decided_at: the server's clock, epoch seconds; withdrawn:
    an open permit was taken back."""

    verdict: Verdict
    reason: Reason
    decided_at: float | None = None
    withdrawn: bool = False
    facts: dict[str, str] = {}
    static: dict[str, str] = {}


def commit(
    store: Store, cases: Sequence[Case], settings: CommitSettings, server_since_ms: int
) -> list[Outcome | errors.WireError]:
    """Takes the final verdict on each case and writes what follows; in the order of the cases.

    Where Redis refuses one, its place holds the error: nothing became of that plan, and it stays
    pending. Errors: RedisUnreachable, after which each is done wholly or not at all.
    """
    statics = [flat(DECISION_STATIC, case) for case in cases]
    calls = (
        (_keys(store, case.plan, settings), _arguments(case, static, settings, server_since_ms))
        for case, static in zip(cases, statics, strict=True)
    )
    replies = store.scripts("commit_permit", calls)
    return [_outcome(reply, static) for reply, static in zip(replies, statics, strict=True)]


def _keys(store: Store, plan: Plan, settings: CommitSettings) -> list[str]:
    keys = store.keys
    return [
        keys.at(DECISION, plan.plan_id),
        keys.at(PERMIT, plan.plan_id),
        keys.at(BLOCK, plan.plan_id),
        keys.at(LEDGER, plan.symbol),
        keys.ledger_total,
        keys.permits,
        keys.events,
        keys.plans,
        keys.halted_symbols,
        *settings.kill_keys,
    ]


def _arguments(
    case: Case, static: Flat, settings: CommitSettings, server_since_ms: int
) -> list[Any]:
    plan, limits = case.plan, settings.limits
    symbol = static[static.index("symbol") + 1]
    permit = Permit(plan, case.hint)
    encoded = permit_hash(permit) if settings.encoding == "hash" else permit_json(permit)
    return [
        GROUP, case.entry_id, plan.plan_id, plan.symbol, symbol, plan.kind.value,
        "1" if plan.execute else "0", _millis(plan.at), _judged_so_far(plan, limits),
        server_since_ms,
        limits.max_queue_age_sec, limits.max_plan_age_sec, limits.symbol_cooldown_sec,
        limits.max_exec_per_5min, limits.max_exec_per_hour, limits.max_opens_per_5min_total,
        settings.permit_ttl_sec, DECISION_TTL_SEC, BLOCK_TTL_SEC, LEDGER_KEEP_SEC,
        settings.events_maxlen, settings.actor, msgspec.json.encode(plan.symbol),
        settings.encoding, len(encoded), *encoded, "verdict", "", "reason", "", *static, *_TO_FIND,
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


def _outcome(reply: Any, static: Flat) -> Outcome | errors.WireError:
    if isinstance(reply, Exception):
        return reply_error(reply)
    verdict, reason, *rest = (text(part) for part in reply)
    if not rest:
        return Outcome(Verdict(verdict), Reason(reason))
    facts = dict(zip(_DYNAMIC, rest[2:], strict=True)) if rest[2:] else {}
    known = dict(zip(static[::2], static[1::2], strict=True))
    return Outcome(Verdict(verdict), Reason(reason), float(rest[0]), rest[1] == "1", facts, known)
