"""The decision on the wire: the facts that a verdict rests on; `domain.facts` is the way back."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from qtctl.domain import numbers
from qtctl.domain.downsize import DownsizeRules, Hint
from qtctl.domain.gates import Limits
from qtctl.domain.passes import kept_number
from qtctl.domain.plans import EXECUTE, Plan, PlanRules, notional
from qtctl.domain.readings import NOTHING_READ, AsRead
from qtctl.domain.stored import MAX_STORED_BYTES, stored
from qtctl.wire.schema.packing import Fixed, fixed, texts
from qtctl.wire.schema.records import HINT, Flat


class CommitRequest(msgspec.Struct, frozen=True):
    """What the governor knows of a plan before the atomic step. hint: None where the step reads the
    score itself; score: what it was made from, where it is given."""

    plan: Plan
    entry_id: str
    hint: Hint | None
    deliveries: int
    attempts: int
    instance: str
    version: str
    limits: str
    permitted_before: bool = False
    score: AsRead = NOTHING_READ


_OF_PLAN: tuple[tuple[str, str], ...] = (
    ("plan_id", "the plan_id"),
    ("entry_id", "of the stream entry that was judged"),
    ("symbol", "the symbol"),
    ("kind", "open or close"),
    ("action", "as sent"),
    ("side", "as sent"),
    ("qty", "number, empty if unknown"),
    ("price", "price, else entry_price"),
    ("source", "as sent"),
    ("kill_score", "0 to 1, all its digits"),
    ("notional_usd", "abs(qty) × price, USD"),
)
_OF_CASE: tuple[tuple[str, str], ...] = (
    ("eff_age_sec", "age of the score when it was read"),
    ("deliveries", "how often the group delivered the entry"),
    ("attempts", "how often this governor tried it"),
    ("instance", "host or name of the governor"),
    ("version", "of qtctl"),
    ("limits", "digest: governor:limits:{digest}"),
    (
        "permitted_before",
        "1 if this governor had permitted the entry, or its plan_id, in the minute before",
    ),
)
HINT_AT = 2 * len(_OF_PLAN)
"""Where the hint begins in `static_fields`; eff_age_sec is behind it."""
SYMBOL_AT = 2 * [name for name, _ in _OF_PLAN].index("symbol") + 1
"""Where the stored form of the symbol is, likewise."""
_INF = float("inf")


def _compact(text: str) -> str:
    """Empty for a number of hundreds of digits: no gate compares these."""
    return text if len(text) <= MAX_STORED_BYTES else ""


def static_fields(case: CommitRequest) -> Flat:
    """What Python writes into a decision. Where the step reads the score, the hint has no values
    yet."""
    return plan_fields(case) + texts(case_fields(case))


def plan_fields(case: CommitRequest) -> Flat:
    """Its first part, which is of the plan. One function for all fields: a plan alone waits for
    each call."""
    plan = case.plan
    texts: Sequence[str] = plan.plan_id, plan.symbol, plan.action, plan.side, plan.source
    if not "".join(texts).isascii() or max(map(len, texts)) > MAX_STORED_BYTES:
        texts = [stored(text) for text in texts]
    plan_id, symbol, action, side, source = texts
    worth = notional(plan.qty, plan.price)
    return [
        "plan_id", plan_id,
        "entry_id", case.entry_id,
        "symbol", symbol,
        "kind", plan.kind,
        "action", action,
        "side", side,
        "qty", "" if plan.qty is None else repr(plan.qty),
        "price", "" if plan.price is None else repr(plan.price),
        "source", source,
        "kill_score", "" if plan.kill_score is None else repr(plan.kill_score),
        "notional_usd", "" if worth in (None, _INF) else _compact(numbers.usd(worth)),
    ]  # fmt: skip


def case_fields(case: CommitRequest) -> Flat | Fixed:
    """The fields of a decision behind those of the plan: the hint, its age, and the case. Without a
    hint nearly all plans have the same."""
    words = _of_case(
        case.deliveries, case.attempts, case.instance, case.version, case.limits,
        case.permitted_before,
    )  # fmt: skip
    if case.hint is None:
        return words
    age = case.hint.efficiency.age_sec
    hint = [
        *HINT.flat(case.hint), "eff_age_sec", "" if age is None else _compact(numbers.millis(age)),
    ]  # fmt: skip
    return [*hint, *words.words[len(hint) :]]


@lru_cache(maxsize=64)
def _of_case(
    deliveries: int, attempts: int, instance: str, version: str, limits: str, permitted_before: bool
) -> Fixed:
    return fixed(
        (
            *(part for field in HINT for part in (field.name, "")),
            "eff_age_sec", "",
            "deliveries", str(deliveries),
            "attempts", str(attempts),
            "instance", stored(instance),
            "version", version,
            "limits", limits,
            "permitted_before", "1" if permitted_before else "0",
        )
    )  # fmt: skip


HISTORY: tuple[tuple[str, str], ...] = (
    ("decision", "as sent: EXECUTE, but for a plan in conflict"),
    ("full_close", "1 if it closes all, as far as it says"),
    ("plan_at", "its own timestamp, epoch seconds, all digits"),
    ("score", "efficiency_score as read, unrounded"),
    ("confidence", "as read, unrounded"),
    ("score_at", "the score's time that counts, as read"),
    (
        "score_read_at",
        "the server's clock when it was read, epoch seconds, all digits; 0.0 if it was not",
    ),
    ("withdrawn", "1 if a permit was withdrawn"),
)
"""What `stream:governor.decisions` has beside the fields of a decision. `withdrawn` is last: the
atomic step finds it."""


def history_fields(case: CommitRequest) -> Flat:
    """Those, as far as they are known before the atomic step."""
    return history_of_plan(case.plan) + history_of_score(case.score)


def history_of_plan(plan: Plan) -> Flat:
    """The history's fields that are of the plan; those of the score stand behind them."""
    return [
        "decision", EXECUTE if plan.decision == EXECUTE else stored(plan.decision),
        "full_close", "1" if plan.full_close else "0",
        "plan_at", "" if plan.at is None else repr(plan.at),
    ]  # fmt: skip


def history_of_score(score: AsRead) -> Flat:
    """The history's fields that are of the score, and `withdrawn`."""
    return [
        "score", kept_number(score.score),
        "confidence", kept_number(score.confidence),
        "score_at", kept_number(score.at),
        "score_read_at", repr(score.now),
        "withdrawn", "",
    ]  # fmt: skip


DECISION_DYNAMIC: tuple[tuple[str, str], ...] = (
    ("decided_at", "epoch seconds with milliseconds, the server's clock"),
    ("plan_age_sec", "by the plan's own timestamp, empty if it has none"),
    (
        "queue_age_sec",
        "by the id of its stream entry; empty where that is unknown: for a close whose id is by "
        "another clock (in seconds, or over 60 s ahead)",
    ),
    ("kill_key", "the strictest kill key or halt key that was set, else empty"),
    ("kill_value", "its value (a wrong type as <type>)"),
    ("kill_level", "how strict: 0 normal, 1 only closes pass, 2 everything stops"),
    ("queued_before_server", "1 if it was in the queue before this server had started"),
    ("clock_jump", "1 if the server's clock was known to have jumped ahead"),
    ("last_open_at", "last open permitted for the symbol, epoch seconds"),
    ("last_open_age_sec", "the same as an age"),
    ("last_close_age_sec", "of the last full close permitted for the symbol, where remembered"),
    ("opens_5min", "opens of the symbol permitted in the last 5 min"),
    ("opens_1h", "in the last hour"),
    ("opens_total_5min", "of all symbols in the last 5 min"),
)
"""What the atomic step finds and writes, in the order of its reply."""

DECISION_HEAD = (("verdict", "permitted or blocked"), ("reason", "ok, or the gate's word"))
DECISION_LATER = (("withdrawn_at", "when a conflicting plan or a halt withdrew the permit"),)
DECISION_FIELDS: tuple[tuple[str, str], ...] = (
    *DECISION_HEAD,
    *_OF_PLAN,
    *((field.name, field.holds) for field in HINT),
    *_OF_CASE,
    *DECISION_DYNAMIC,
    *DECISION_LATER,
)


def limits_json(limits: Limits, rules: PlanRules, downsize: DownsizeRules) -> bytes:
    """What decisions rest on, canonical: sorted lists, fields in their order."""
    plans = {name: sorted(getattr(rules, name)) for name in rules.__struct_fields__}
    asdict = msgspec.structs.asdict
    return msgspec.json.encode(asdict(limits) | plans | asdict(downsize))
