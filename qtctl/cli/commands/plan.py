"""`qtctl plan`: decisions, and why each fell as it did, gate by gate."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, group
from qtctl.cli.framework.context import Context
from qtctl.cli.output import format
from qtctl.cli.output.columns import Column, age, moment, money, text
from qtctl.cli.output.render import Fields, Rows, emit, emit_one
from qtctl.cli.output.styles import verdict_style
from qtctl.cli.views import what_if
from qtctl.cli.views.what_if import WhatIf
from qtctl.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from qtctl.domain.gates import Judgement, Limits
    from qtctl.domain.what_if import Again, Changes
    from qtctl.wire.client.store import Store

app = group(
    "plan",
    help="Decisions of the governor, kept for 24 h, and the gates behind each.",
    default="list",
    examples="""
    qtctl plan list BTCUSDT --blocked --since 1h
    qtctl plan list --since 1h --what-if max_exec_per_hour=5
    qtctl plan show p1
    """,
)


HEAD = (
    text("plan", "plan_id"),
    text("verdict", "verdict", style=verdict_style),
    text("reason", "reason"),
    moment("decided", "decided_at"),
    text("symbol", "symbol"),
    text("kind", "kind"),
    text("action", "action"),
    text("side", "side"),
    text("qty", "qty"),
    text("price USD", "price"),
    money("notional USD", "notional_usd"),
    text("source", "source"),
    age("in queue", "queue_age_sec"),
    text("hint", lambda row: _hint(row)),
    text("entry", "entry_id"),
    text("governor", lambda row: f"{row.get('instance', '')} {row.get('version', '')}".strip()),
)
WITHDRAWN: tuple[Column, ...] = (moment("withdrawn", "withdrawn_at", style="yellow"),)
GATES = (
    text("gate", "gate"),
    text("result", "result", style=verdict_style),
    text("value", "value", right=True, fold=True),
    text("limit", "limit", right=True),
)
GATES_AGAIN = (
    text("gate", "gate"),
    text("value", "value", right=True, fold=True),
    text("limit", "limit", right=True),
    text("result", "result", style=verdict_style),
    text("what-if limit", "what_if_limit", right=True),
    text("what-if result", "what_if_result", style=verdict_style),
)


@command(app, "list")
def list_plans(
    ctx: Context,
    symbols: Annotated[list[str] | None, typer.Argument(metavar="SYMBOL")] = None,
    blocked: Annotated[bool, typer.Option("--blocked", help="Only what was blocked.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="AGO", help="Not older than: 90, 5m, 1h.")
    ] = None,
    given: WhatIf = None,
    all_: Annotated[
        bool, typer.Option("--all", help="With --what-if: also those that stay as they are.")
    ] = False,
) -> None:
    """Decisions, the latest first.

    With --what-if each is judged again on its own stored facts, and only those are listed that
    would get another verdict, then those with another reason, then those that can't be told (their
    limits are forgotten, or their record lacks a fact). What follows is not simulated: one permit
    more would have raised the counts of later plans. Keys are the governor's limits:
    max_exec_per_hour, max_exec_per_5min, max_opens_per_5min_total, symbol_cooldown_sec,
    reopen_cooldown_sec, max_notional_per_trade_usd, kill_score_critical, max_queue_age_sec,
    max_plan_age_sec.

    Examples:
        qtctl plan list
        qtctl plan list BTCUSDT --blocked --since 1h
        qtctl plan list --since 1h --what-if max_exec_per_hour=5
    """
    from qtctl.cli.views import plans as view

    wanted = set(arguments.symbols(symbols))
    changes = what_if.changes_asked(given)
    if all_ and not changes:
        raise UsageError("--all goes with --what-if: without it all decisions are listed anyway")
    since_sec = None if since is None else arguments.duration(since, "--since", 0, 86_400)
    with ctx.store() as store:
        after = 0.0 if since_sec is None else store.now_ms() / 1000 - since_sec
        found = [
            row
            for row in view.rows(store)
            if (not wanted or row.get("symbol") in wanted)
            and (not blocked or row.get("verdict") == "blocked")
            and (format.as_number(row.get("decided_at")) or 0.0) >= after
        ]
        empty = "No decisions match (they are kept for 24 h)."
        if changes and found:
            _emit_again(ctx, what_if.compared(store, found, changes), all_)
        else:
            emit(ctx, found, view.LISTED, empty=empty)


def _emit_again(ctx: Context, rows: list[dict[str, Any]], all_: bool) -> None:
    listed = rows if all_ else [row for row in rows if what_if.differs(row)]
    emit(ctx, listed, what_if.LISTED)
    ctx.say(what_if.summary(rows))
    if ctx.output == "table":
        ctx.say(what_if.NOT_SIMULATED)


def show(
    ctx: Context, plan_id: Annotated[str, typer.Argument(metavar="ID")], given: WhatIf = None
) -> None:
    """One decision, explained gate by gate from the facts that it rests on.

    `explain` is another name for it. With --what-if it is judged again on these facts under other
    limits, and both worksheets stand side by side.

    Examples:
        qtctl plan show p1
        qtctl plan explain p1 -o json
        qtctl plan show p1 --what-if max_exec_per_hour=5 --what-if symbol_cooldown_sec=30
    """
    from qtctl.wire.queries import decisions

    arguments.plan_id(plan_id)
    changes = what_if.changes_asked(given)
    with ctx.store() as store:
        decision = decisions.by_id(store, [plan_id]).get(plan_id)
        if decision is None:
            raise NotFoundError(
                f"no decision about {plan_id} (they are kept for 24 h): "
                "see 'qtctl tail plans' and 'qtctl tail rejected'"
            )
        limits, source = _limits(ctx, store, decision)
        again = what_if.judged_again(store, [decision], changes)[0] if changes else None
        if ctx.output == "table":
            ctx.say(f"Limits: {source}")
        _emit_shown(ctx, decision, limits, changes, again)


def _emit_shown(
    ctx: Context,
    decision: Mapping[str, str],
    limits: "Limits",
    changes: "Changes",
    again: "Again | None",
) -> None:
    from qtctl.domain.gates import judge
    from qtctl.wire.schema.decision import facts_of

    gates = _gates(judge(facts_of(decision), limits))
    kind = decision.get("kind", "")
    rows = [_gate_row(gate, kind) for gate in gates]
    head = HEAD + (WITHDRAWN if decision.get("withdrawn_at") else ())
    json: dict[str, Any] = {**decision, "gates": gates}
    columns: tuple[Column, ...] = GATES
    if again is not None:
        new = [] if again.judgement is None else _gates(again.judgement)
        json["what_if"] = what_if.shown_again(decision, again, changes) | {"gates": new}
        head += (text("what if", lambda row: what_if.told(again, changes), style="bold"),)
        if new:
            rows, columns = (
                _side_by_side(rows, [_gate_row(gate, kind) for gate in new]),
                GATES_AGAIN,
            )
    emit_one(ctx, decision, Fields(head), Rows(rows, columns), as_json=json)


def _side_by_side(rows: list[dict[str, str]], again: list[dict[str, str]]) -> list[dict[str, str]]:
    both = []
    for row, other in zip(rows, again, strict=True):
        # `age` has two values to compare; the one that fails, or decides, is shown.
        same = row["value"] == other["value"]
        value = row["value"] if same else f"{row['value']}, then {other['value']}"
        beside = {"what_if_limit": other["limit"], "what_if_result": other["result"]}
        both.append({**row, "value": value, **beside})
    return both


command(app)(show)
command(app, "explain", hidden=True)(show)


def _limits(ctx: Context, store: "Store", decision: Mapping[str, str]) -> "tuple[Limits, str]":
    """The limits that it was judged by; where they are forgotten, those in force now."""
    from qtctl.cli.views.in_force import InForce
    from qtctl.domain.gates import Limits
    from qtctl.wire.queries import decisions

    digest = decision.get("limits", "")
    limits = decisions.limits(store, digest)
    if limits is not None:
        return limits, f"in force at decision time ({digest})"
    found, source = InForce(ctx, store).of("governor", Limits)
    return found, f"of {source}; those it win force at decision time ({digest}) are forgotten"


def _gates(judged: "Judgement") -> list[dict[str, Any]]:
    """The worksheet as JSON has it: a list of {gate, value, limit, passed}."""
    return [
        {"gate": check.gate, "value": check.value, "limit": check.limit, "passed": check.passed}
        for check in judged.worksheet
    ]


def _gate_row(gate: Mapping[str, Any], kind: str) -> dict[str, str]:
    from qtctl.domain.gates import GATES

    about = next(each for each in GATES if each.name == gate["gate"])
    unit = about.unit
    return {
        "gate": gate["gate"],
        "result": "not recorded" if not about.recorded else _result(gate, kind),
        "value": _shown(gate["value"], unit),
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
