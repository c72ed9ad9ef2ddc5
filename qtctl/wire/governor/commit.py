"""The atomic step (commit_permit.lua) as Python calls it: requests in, results out."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from qtctl import errors
from qtctl.domain.downsize import DownsizeRules
from qtctl.domain.gates import GATES, Facts, Limits, static_reason
from qtctl.domain.names import ascii_upper
from qtctl.domain.plans import EXECUTE, Plan
from qtctl.domain.readings import NOTHING_READ
from qtctl.domain.reasons import Reason, Verdict
from qtctl.wire.client.connect import reply_error
from qtctl.wire.client.scripts import digest
from qtctl.wire.client.store import Store
from qtctl.wire.schema.decision import (
    DECISION_DYNAMIC,
    HINT_AT,
    HISTORY,
    SYMBOL_AT,
    CommitRequest,
    case_fields,
    history_of_plan,
    history_of_score,
    plan_fields,
)
from qtctl.wire.schema.keys import (
    BLOCK,
    BLOCK_TTL_SEC,
    DECISION,
    DECISION_TTL_SEC,
    EFFICIENCY,
    GROUP,
    LAST_CLOSE,
    LEDGER,
    LEDGER_KEEP_SEC,
    MARK,
    PERMIT,
    Keys,
)
from qtctl.wire.schema.kill_names import KillNames
from qtctl.wire.schema.packing import (
    Part,
    Word,
    fixed,
    packed,
    packed_parts,
    packed_words,
    texts,
    without_numbers,
)
from qtctl.wire.schema.permit import permit_hash, permit_json
from qtctl.wire.schema.records import HINT, Flat, text

FAR_MS = 9_000_000_000_000_000
"""Beyond this a double is no longer exact in milliseconds; no honest time is."""
STEP = "commit_permit"
PROBE = "qtctl-probe"
"""Stands for plan_id and symbol where it is only asked what is allowed; no such key is made."""
_ENCODERS: dict[str, Callable[[Plan], Sequence[str | bytes]]] = {
    "json": permit_json, "hash": permit_hash,
}  # fmt: skip
_DYNAMIC = tuple(name for name, _ in DECISION_DYNAMIC)
_TO_FIND = fixed(part for name in _DYNAMIC for part in (name, ""))
"""The end of the record, whose values the step finds."""
_HEAD = fixed(("verdict", "", "reason", ""))
"""Its beginning, likewise."""
_UNREAD_SCORE = fixed((*history_of_score(NOTHING_READ), *_HEAD.words))
"""The score's part of the history where the step reads it, and that beginning behind it."""
_HINT_VALUES = slice(HINT_AT + 1, HINT_AT + 2 * (len(HINT) + 1), 2)
"""Of the hint and its age, within the static fields."""
_HINTS = len(HINT) + 1
_SCORE = b"score"
_HINT_PLACES = {field.name: HINT_AT + 2 * place + 1 for place, field in enumerate(HINT)}
_LIMITS = tuple(name for gate in GATES if not gate.plan_alone for name in gate.limits)
"""The limits that the step compares with, in the order of the gates."""
_DOWNSIZE = (
    "eff_ttl_sec", "min_conf", "downsize_threshold", "min_factor", "max_extra_cooldown_sec",
)  # fmt: skip
"""The rules of the hint, likewise."""


class ServerMarks(msgspec.Struct, frozen=True):
    """What the governor knows of the server. before: an entry with an id up to this one may have
    been decided on another server, see ids.order; jumped_after_ms: a clock of the server beyond it
    has jumped ahead, epoch ms; marked: nothing is permitted while the mark of the last look is
    gone; decisions_maxlen: how many entries the stream of decisions may keep, 0: none are written.
    """

    before: tuple[int, int] = (0, 0)
    jumped_after_ms: int = FAR_MS
    marked: bool = True
    decisions_maxlen: int = 0


class CommitSettings(msgspec.Struct, frozen=True, eq=False):
    """What is the same for every plan. Equal to itself only: what is packed for it is found by its
    identity."""

    limits: Limits
    names: KillNames
    encoding: str
    permit_ttl_sec: int
    events_maxlen: int
    instance: str
    downsize: DownsizeRules = DownsizeRules()

    @property
    def actor(self) -> str:
        """Who does it, in events."""
        return f"governor:{self.instance}"


class CommitResult(msgspec.Struct, frozen=True):
    """What the step did. facts: the dynamic fields of the decision, empty unless it wrote one;
    static: those that were known before and the hint, flat. decided_at: the server's clock, epoch
    seconds; withdrawn: an open permit was taken back; unwritten: why the step could not note a
    close, and unkept: why it could not write to the stream of decisions, neither of which costs a
    verdict."""

    verdict: Verdict
    reason: Reason
    decided_at: float | None = None
    withdrawn: bool = False
    unwritten: str = ""
    unkept: str = ""
    facts: dict[str, str] = {}
    static: Sequence[str] = ()

    def hint(self, name: str) -> str:
        """One value of the hint, as it is in the decision."""
        return self.static[_HINT_PLACES[name]]


class ScoreUnread(msgspec.Struct, frozen=True):
    """The score is written in a way that the step does not read, or can't be read: nothing was
    done, and the request needs a hint."""


def commit(
    store: Store, requests: Sequence[CommitRequest], settings: CommitSettings, marks: ServerMarks
) -> Iterator[tuple[CommitRequest, CommitResult | ScoreUnread | errors.WireError]]:
    """Takes the final verdict on each request and writes what follows; yields each request with its
    result as it comes, in their order unless Redis had forgotten the script.

    The result is an error where Redis refused one: nothing was done, and the plan stays pending.
    Errors: RedisUnreachable, after which each request is carried out wholly or not at all.
    """
    statics: list[Flat] = []
    calls = packed_calls(store, requests, settings, marks, statics)
    for place, reply in store.calls(STEP, calls):
        try:
            yield requests[place], _result_of(reply, statics[place])
        except ValueError as problem:
            refused = errors.ServerRefusedError(f"the reply to the atomic step is odd: {problem}")
            yield requests[place], refused


def packed_calls(
    store: Store,
    requests: Sequence[CommitRequest],
    settings: CommitSettings,
    marks: ServerMarks,
    statics: list[Flat],
) -> Iterator[bytes]:
    """A call for each request, packed for the wire; its static fields go to `statics`. What is the
    same for all of them is packed once, and goes in the middle."""
    keys_count, arguments_count, *parts = _same(
        store.keys, settings, marks.before, marks.marked, marks.decisions_maxlen
    )
    same = packed_words([str(marks.jumped_after_ms)]).join(parts)
    step = digest(STEP)
    for request in requests:
        keys = own_keys(store, request.plan).values()
        own = own_parts(request, settings, marks, arguments_count)
        statics.append(own.static)
        head = ("EVALSHA", step, str(len(keys) + keys_count), *keys)
        more = keys_count + arguments_count + own.count
        yield packed(head, more) + same + packed_parts(own.parts)


class OwnParts(msgspec.Struct, frozen=True):
    """The arguments of one plan. count: of their words; static: the fields of the decision among
    them that are known before."""

    parts: Sequence[Part]
    count: int
    static: Flat


def own_parts(
    request: CommitRequest, settings: CommitSettings, marks: ServerMarks, behind: int
) -> OwnParts:
    """behind: how many arguments stand before them."""
    plan, case = plan_fields(request), case_fields(request)
    static = plan + texts(case)
    own = own_arguments(request, static, settings.limits)
    permit = _ENCODERS[settings.encoding](request.plan)
    # Behind what is shared, its own, and these four places themselves.
    permit_from = behind + len(own) + 5
    history_from = record_from = permit_from + len(permit)
    history: Flat = []
    found: Part = _HEAD
    if marks.decisions_maxlen:
        history = history_of_plan(request.plan)
        found = (
            _UNREAD_SCORE
            if request.score is NOTHING_READ
            else [*history_of_score(request.score), *_HEAD.words]
        )
        record_from += 2 * len(HISTORY)
    hint_from = record_from + len(_HEAD.words) + HINT_AT
    first = [
        *own.values(), str(permit_from), str(history_from), str(record_from), str(hint_from),
        *permit, *history,
    ]  # fmt: skip
    count = hint_from - HINT_AT + len(static) + len(_TO_FIND.words) - behind - 1
    return OwnParts((first, found, plan, case, _TO_FIND), count, static)


@lru_cache(maxsize=4)
def _same(
    keys: Keys, settings: CommitSettings, before: tuple[int, int], marked: bool, maxlen: int
) -> tuple[int, int, bytes, bytes]:
    """What is the same for every plan: how many keys, how many arguments, and both packed, before
    and after the one that moves with the clock. A plan alone must not wait for this to be put
    together again."""
    shared = [*_shared_keys(keys, settings).values(), *keys.kills(settings.names.names)]
    arguments = shared_arguments(settings, ServerMarks(before, FAR_MS, marked, maxlen))
    words = without_numbers([*shared, *arguments.values()])
    moves = len(shared) + [*arguments].index("jumped_after_ms")
    front, back = packed_words(words[:moves]), packed_words(words[moves + 1 :])
    return len(shared), len(arguments), front, back


def step_problem(store: Store, settings: CommitSettings) -> str | None:
    """Why the atomic step can't run on this server as this user, None where it can; nothing is
    changed. Errors: RedisUnreachable."""
    at = store.keys.at
    own = [at(spec, PROBE) for spec in (DECISION, PERMIT, BLOCK, LEDGER, LAST_CLOSE, EFFICIENCY)]
    shared = shared_keys(store, settings).values()
    try:
        reply = store.script(
            "probe_step", [*own, *shared, *store.keys.kills(settings.names.names)], ()
        )
    except errors.WireError as problem:
        return str(problem)
    return text(reply) or None


# The names are those of the table at the top of the script; a test holds the two together.


def own_keys(store: Store, plan: Plan) -> dict[str, str]:
    """The keys of one plan, as `Keys.at` makes them."""
    prefix, plan_id, upper = store.keys.prefix, plan.plan_id, ascii_upper(plan.symbol)
    return {
        "DECISION": prefix + DECISION.head + plan_id,
        "PERMIT": prefix + PERMIT.head + plan_id,
        "BLOCK": prefix + BLOCK.head + plan_id,
        "LEDGER": prefix + LEDGER.head + upper,
        "LAST_CLOSE": prefix + LAST_CLOSE.head + upper,
        "EFFICIENCY": prefix + EFFICIENCY.head + plan.symbol,
    }


def shared_keys(store: Store, settings: CommitSettings) -> dict[str, str]:
    """The keys that are the same for every plan; kill keys and halt keys stand behind them."""
    return _shared_keys(store.keys, settings)


def _shared_keys(keys: Keys, settings: CommitSettings) -> dict[str, str]:
    return {
        "LEDGER_TOTAL": keys.ledger_total,
        "PERMITS": keys.permits,
        "EVENTS": keys.events,
        "DECISIONS": keys.decisions,
        "PLANS": keys.plans,
        "MARK": keys.at(MARK, settings.instance),
        "CLOCK_JUMP": keys.clock_jump,
        "HALTED_SYMBOLS": keys.halted_symbols,
        "HALT_RECORDS": keys.halt_records,
    }


def shared_arguments(settings: CommitSettings, marks: ServerMarks) -> dict[str, Any]:
    """What is the same for every plan."""
    return {
        "group": GROUP,
        "before_ms": marks.before[0],
        "before_number": marks.before[1],
        "jumped_after_ms": marks.jumped_after_ms,
        "marked": int(marks.marked),
        **{name: getattr(settings.limits, name) for name in _LIMITS},
        **{name: getattr(settings.downsize, name) for name in _DOWNSIZE},
        "permit_ttl_sec": settings.permit_ttl_sec,
        "decision_ttl_sec": DECISION_TTL_SEC,
        "block_ttl_sec": BLOCK_TTL_SEC,
        "ledger_keep_sec": LEDGER_KEEP_SEC,
        "events_maxlen": settings.events_maxlen,
        "decisions_maxlen": marks.decisions_maxlen,
        "actor": settings.actor,
        "encoding": settings.encoding,
        "kill_keys": len(settings.names.kills),
        "halt_keys": len(settings.names.halts),
    }


def own_arguments(request: CommitRequest, static: Flat, limits: Limits) -> dict[str, Word]:
    """What is known of one plan; `permit_from`, `history_from`, `record_from`, `hint_from` and
    their lists stand behind it."""
    plan = request.plan
    return {
        "entry_id": request.entry_id,
        "plan_id": plan.plan_id,
        "symbol": plan.symbol,
        "symbol_stored": static[SYMBOL_AT],
        "kind": plan.kind,
        "full_close": "1" if plan.full_close else "0",
        "execute": "1" if plan.decision == EXECUTE else "0",
        "plan_at_ms": ""
        if plan.at is None
        else str(round(max(-FAR_MS, min(FAR_MS, plan.at * 1000)))),
        "permitted_before": "1" if request.permitted_before else "0",
        "static_reason": static_reason(known_facts(plan), limits) or "",
        "block_symbol": msgspec.json.encode(plan.symbol),
        "score_given": "0" if request.hint is None else "1",
    }


def known_facts(plan: Plan) -> Facts:
    """What is known of a plan before the atomic step. An age is 0.0 where it will be known."""
    return Facts(
        symbol=plan.symbol,
        kind=plan.kind,
        queue_age_sec=0.0,
        plan_age_sec=None if plan.at is None else 0.0,
        kill_score=plan.kill_score,
        qty=plan.qty,
        price=plan.price,
    )


def _result_of(reply: Any, static: Flat) -> CommitResult | ScoreUnread | errors.WireError:
    if isinstance(reply, Exception):
        return reply_error(reply)
    if reply[0] == _SCORE:
        return ScoreUnread()
    verdict, reason = Verdict(reply[0].decode()), Reason(reply[1].decode())
    if len(reply) == 2:
        return CommitResult(verdict, reason)
    decided_at, withdrawn, *found = reply[2:]
    unkept, *found = [each.decode("utf-8", "backslashreplace") for each in found]
    static[_HINT_VALUES], found = found[:_HINTS], found[_HINTS:]
    unwritten, facts = "", {}
    if found:
        unwritten, *found = found
        facts = dict(zip(_DYNAMIC, found, strict=True))
    return CommitResult(
        verdict, reason, float(decided_at), withdrawn == 1, unwritten, unkept, facts, static
    )
