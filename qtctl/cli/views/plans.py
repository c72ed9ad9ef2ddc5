"""Decisions of the governor: a row for each, and one explained gate by gate."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.cli.framework.listing import Listing
from qtctl.cli.output import Fields, Listed, Rows, emit, emit_one, format, verdict_style
from qtctl.cli.output.columns import (
    Column,
    age,
    moment,
    money,
    number,
    plan_id,
    recent,
    size_hint,
    text,
    texts,
    word,
)
from qtctl.cli.views import halts, what_if
from qtctl.cli.views.in_force import InForce
from qtctl.domain import gates
from qtctl.domain.diagnosis import PlanSeen
from qtctl.domain.entry_ids import time_of
from qtctl.domain.facts import facts_of
from qtctl.domain.gates import Judgement, Limits
from qtctl.domain.names import ascii_upper
from qtctl.domain.plans import EXECUTE, PlanRules
from qtctl.domain.reasons import SKIPPED_DECISIONS, Verdict
from qtctl.domain.stored import stored
from qtctl.domain.what_if import Again, Changes
from qtctl.wire.client.store import Store
from qtctl.wire.queries import decisions, diagnosis
from qtctl.wire.queries.plan_ids import AHEAD, trouble_of
from qtctl.wire.schema.decision import DECISION_FIELDS

LISTED = Listed(
    (
        recent("decided", "decided_at"),
        plan_id("plan", "plan_id"),
        text("symbol", "symbol"),
        text("kind", "kind"),
        text("verdict", "verdict", style=verdict_style),
        word("reason", "reason"),
        word("action", "action"),
        money("notional USD", "notional_usd", drop=4),
        size_hint("eff_action", drop=3),
        age("in queue", "queue_age_sec", drop=4),
    ),
    fields=[*(name for name, _ in DECISION_FIELDS), "from"],
    at="decided_at",
    filters=what_if.DECISION_FILTERS,
)
NONE = "No decisions match (Redis keeps them for 24 h, the history longer)."
HEAD = (
    text("plan", "plan_id"),
    text("verdict", "verdict", style=verdict_style),
    text("reason", "reason"),
    moment("decided", "decided_at"),
    *texts("symbol", "kind", "action", "side", "qty"),
    text("price USD", "price"),
    money("notional USD", "notional_usd"),
    text("source", "source"),
    text("in queue", lambda row: _in_queue(row)),
    text("hint", lambda row: _hint(row)),
    text("entry", "entry_id"),
    text("governor", lambda row: f"{row.get('instance', '')} {row.get('version', '')}".strip()),
)
UNDECIDED = (
    text("plan", "plan_id"),
    text("verdict", lambda row: row["verdict"] or "none", style=verdict_style),
    text("why", "note"),
    moment("queued", lambda row: time_of(row["entry_id"])),
    *texts("decision", "symbol", "kind", "action", "side", "qty", "source"),
    text("entry", "entry_id"),
    number("entries", "entries"),
)
"""What there is of a plan without a decision."""
WITHDRAWN: tuple[Column, ...] = (moment("withdrawn", "withdrawn_at", style="yellow"),)
GATES = (
    text("gate", "gate"),
    text("result", "result", style=verdict_style),
    text("value", "value", right=True, fold=True),
    text("limit", "limit", right=True),
)
GATES_AGAIN = (
    *GATES,
    text("what-if result", "what_if_result", style=verdict_style),
    text("what-if limit", "what_if_limit", right=True),
)


def found(store: Store, listing: Listing, symbols: Collection[str]) -> Iterator[Mapping[str, str]]:
    """The decisions asked for, the latest first, read no further than they are asked for."""
    matches = LISTED.matches(listing)
    narrowed = bool(symbols or listing.only or listing.before)
    hint = _hint_of(listing, symbols) if narrowed else None
    every = listing.limit is None or bool(listing.order)
    if every and listing.after is None:
        rows: Iterable[Mapping[str, str]] = decisions.every(store, hint)
    else:
        rows = decisions.latest(store, after=listing.after, hint=hint)
    for row in rows:
        if (not symbols or ascii_upper(row.get("symbol", "")) in symbols) and matches(row):
            yield row


def _hint_of(listing: Listing, symbols: Collection[str]) -> decisions.Hint:
    """Whether a decision may be wanted, by what its event has."""
    verdicts, reasons = listing.only.get("verdict"), listing.only.get("reason")
    before = listing.before

    def may_be_wanted(event: Mapping[str, str]) -> bool:
        if verdicts and event.get("event") not in verdicts:
            return False
        if reasons and event.get("reason") not in reasons:
            return False
        # An event has whole seconds, so it is never later than its decision.
        at = format.as_number(event.get("ts"))
        if before is not None and at is not None and at > before:
            return False
        return not symbols or ascii_upper(stored(event.get("symbol", ""))) in symbols

    return may_be_wanted


def show_again(ctx: Context, rows: list[dict[str, Any]], all_: bool) -> None:
    """Print decisions judged again."""
    listed = rows if all_ else [row for row in rows if what_if.differs(row)]
    emit(ctx, listed, what_if.LISTED)
    ctx.say(what_if.summary(rows))
    if ctx.output == "table":
        ctx.say(what_if.NOT_SIMULATED)


def show(
    ctx: Context,
    decision: Mapping[str, str],
    limits: Limits,
    changes: Changes,
    again: Again | None,
) -> None:
    """Print one decision with its gates."""
    worksheet = _gates(gates.judge(facts_of(decision), limits))
    kind = decision.get("kind", "")
    rows = [_gate_row(gate, kind) for gate in worksheet]
    head = HEAD + (WITHDRAWN if decision.get("withdrawn_at") else ())
    json: dict[str, Any] = {**decision, "gates": worksheet}
    columns: tuple[Column, ...] = GATES
    if again is not None:
        new = [] if again.judgement is None else _gates(again.judgement)
        json["what_if"] = what_if.shown_again(decision, again, changes) | {"gates": new}
        head += (text("what if", lambda row: what_if.describe(again, changes), style="bold"),)
        if new:
            rows, columns = (
                _side_by_side(rows, [_gate_row(gate, kind) for gate in new]),
                GATES_AGAIN,
            )
    emit_one(ctx, decision, Fields(head), Rows(rows, columns), as_json=json)


def gate_rows(decision: Mapping[str, str], limits: Limits) -> list[dict[str, str]]:
    """Rows for GATES: the decision judged by these limits."""
    kind = decision.get("kind", "")
    return [_gate_row(gate, kind) for gate in _gates(gates.judge(facts_of(decision), limits))]


def _in_queue(row: Mapping[str, str]) -> str:
    """How long it waited; by an id of another clock that is unknown."""
    waited = row.get("queue_age_sec")
    decided_ms = int((format.as_number(row.get("decided_at")) or 0.0) * 1000)
    entry_id = row.get("entry_id", "")
    trouble = trouble_of(entry_id, decided_ms) if decided_ms and entry_id else None
    if trouble is None:
        return format.span(waited)
    by = "is ahead of Redis's clock" if trouble == AHEAD else f"is in {trouble}, not in ms"
    return f"unknown (the id of its entry {by})"


def undecided(
    ctx: Context, store: Store, plan_id: str, entry_id: str = ""
) -> dict[str, Any] | None:
    """The JSON of a plan that has no decision; None where nothing is known of it. entry_id: of its
    entry, where that is known; else it is looked for."""
    rules, _ = InForce(ctx, store).of("governor", PlanRules)
    entries, fields = diagnosis.undecided(store, plan_id, rules, entry_id)
    if not entries:
        return None
    last = entries[0]
    return {
        "verdict": last.verdict,
        "reason": last.reason,
        "plan_id": plan_id,
        "entry_id": last.entry_id,
        "decision": last.decision,
        "kind": last.kind,
        **{name: fields.get(name, "") for name in ("symbol", "action", "side", "qty", "source")},
        "entries": len(entries),
        "note": _without_decision(last),
        "gates": [],
    }


def _without_decision(plan: PlanSeen) -> str:
    """Why a plan has no record of a decision."""
    if plan.verdict == Verdict.REJECTED:
        return f"it could not be read: {plan.problem}; see 'qtctl tail rejected'"
    if plan.waits == "queue":
        return "no governor has read it yet"
    if plan.waits:
        return "it was delivered and is not settled; see 'qtctl group list'"
    if plan.decision in SKIPPED_DECISIONS:
        return f"its publisher sent it as {plan.decision}: acknowledged, nothing to judge"
    if plan.decision != EXECUTE:
        return (
            f"its decision {plan.decision!r} is an unknown word: acknowledged, not "
            "carried out; only EXECUTE is"
        )
    return UNKNOWN


UNKNOWN = (
    "it was read, and no decision is known: skipped as too old (over 1 h; see backlog_skipped "
    "in 'qtctl tail events'), or forgotten after 24 h"
)
"""The note of a plan whose decision may have been forgotten."""


def _side_by_side(rows: list[dict[str, str]], again: list[dict[str, str]]) -> list[dict[str, str]]:
    both = []
    for row, other in zip(rows, again, strict=True):
        # `age` has two values to compare; the one that fails, or decides, is shown.
        same = row["value"] == other["value"]
        value = row["value"] if same else f"{row['value']}, then {other['value']}"
        beside = {"what_if_limit": other["limit"], "what_if_result": other["result"]}
        both.append({**row, "value": value, **beside})
    return both


def limits_of(ctx: Context, store: Store, decision: Mapping[str, str]) -> tuple[Limits, str]:
    """The limits that it was judged by; where they are forgotten, those in force now."""
    digest = decision.get("limits", "")
    limits = decisions.limits(store, digest)
    if limits is not None:
        return limits, f"in force at decision time ({digest})"
    found, source = InForce(ctx, store).of("governor", Limits)
    return found, f"of {source}; those in force at decision time ({digest}) are forgotten"


def _gates(judged: Judgement) -> list[dict[str, Any]]:
    """The worksheet as JSON has it: a list of {gate, value, limit, passed}."""
    return [
        {"gate": check.gate, "value": check.value, "limit": check.limit, "passed": check.passed}
        for check in judged.worksheet
    ]


def _gate_row(gate: Mapping[str, Any], kind: str) -> dict[str, str]:
    about = next(each for each in gates.GATES if each.name == gate["gate"])
    unit = about.unit
    value = _shown(gate["value"], unit)
    if about.facts[:1] == ("kill_key",) and value:
        key, _, held = value.partition("=")
        value = f"{key}={halts.quoted(held)}"
    return {
        "gate": gate["gate"],
        "result": "not recorded" if not about.recorded else _result(gate, kind),
        "value": value,
        "limit": _shown(gate["limit"], unit),
    }


def _result(gate: Mapping[str, Any], kind: str) -> str:
    """Pass, FAIL, or why the gate was not judged."""
    if gate["passed"] is not None:
        return "pass" if gate["passed"] else "FAIL"
    if kind == "close":
        return "not for closes"
    return "off" if gate["limit"] == 0 else "no input"


def _shown(value: Any, unit: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:,.10g} {unit}".rstrip()


def _hint(decision: Mapping[str, str]) -> str:
    """What the score made of it, in a few words."""
    action, reason = decision.get("eff_action", ""), decision.get("eff_reason", "")
    score = decision.get("eff_score") or "no score"
    if action == "DOWNSIZE":
        factor, cooldown = decision.get("eff_factor", ""), decision.get("extra_cooldown_sec", "")
        return f"DOWNSIZE × {factor}, {cooldown} s extra cooldown (score {score})"
    return f"{format.size_hint(action)} ({reason}, {score})"
