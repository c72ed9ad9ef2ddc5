"""What `qtctl why` shows: its record, as JSON has it, and the page made of that."""

from typing import Any

from msgspec.structs import asdict

from qtctl.cli.framework.context import Context
from qtctl.cli.output import Fields, Rows, emit_one, format, verdict_style
from qtctl.cli.output.columns import Column, age, number, text
from qtctl.cli.views import halts, nearest
from qtctl.cli.views.why_commands import next_command
from qtctl.cli.views.why_facts import Answer
from qtctl.cli.views.why_narrator import Narrator
from qtctl.cli.views.why_sentences import sentence
from qtctl.doctor.command_lines import own_words
from qtctl.domain.causes import CONSUMER_WAITS_SEC, causes
from qtctl.domain.diagnosis import Diagnosis, PermitState
from qtctl.domain.readings import producer_flags
from qtctl.wire.client.store import Store
from qtctl.wire.control import forgotten
from qtctl.wire.queries import upstream
from qtctl.wire.schema.keys import EFFICIENCY, TARGET

VERDICTS = (
    text("verdict", "verdict", style=verdict_style),
    text("reason", "reason"),
    number("plans", "count"),
    age("ago", "last_age_s"),
    text("last plan", "last_plan_id"),
)
ANSWER = (text("why", "sentence", style="bold"),)
NEXT = (text("next", "command"),)
ALSO = (text("also", "sentence", fold=True, width=40), text("next", "command"))


def show(ctx: Context, record: dict[str, Any], facts: Diagnosis) -> None:
    """Print the record, which was made of these facts."""
    emit_one(
        ctx,
        record,
        Fields(head(facts)),
        Rows(record["verdicts"], VERDICTS),
        Rows(record["also"], ALSO),
        Fields(ANSWER),
        Fields(NEXT, unbroken=True),
    )


def unknown(store: Store, symbol: str, since_sec: float) -> str:
    """Nothing is known of it: the nearest that is."""
    near = nearest.nearest(store, symbol)
    lost = forgotten.emptied(store)
    if lost is not None and lost.is_loss:
        ago = format.span(max(0.0, store.now_ms() / 1000 - lost.at))
        return (
            f"nothing is known of {symbol}, and {ago} ago {lost.what}: 'qtctl doctor' says what to "
            "do"
        )
    did = f": did you mean {near}?" if near else "; see 'qtctl target list'"
    now = store.now_ms() / 1000
    shadows = (
        [upstream.shadow(store, spec, now) for spec in (TARGET, EFFICIENCY)] if not near else []
    )
    modes = "".join(f". {each.sentence}" for each in shadows if each is not None)
    return (
        f"nothing is known of {symbol}: no target, no score, no proposal, and no plan in the last "
        f"{format.span(since_sec)}{did}{modes}"
    )


def record(ctx: Context, store: Store, answer: Answer) -> dict[str, Any]:
    """The answer as JSON has it."""
    facts = answer.facts
    utc = ctx.utc or ctx.output != "table"
    it = Narrator(facts, store.keys.at(TARGET, facts.symbol), utc)
    first, *also = causes(facts)
    own = own_words(ctx.redis_url, ctx.config, ctx.sets, ctx.context)
    return {
        "symbol": facts.symbol,
        "now": round(facts.now, 3),
        "since_s": facts.since_sec,
        **_answer(first, it, own),
        "also": [_answer(cause, it, own) for cause in also],
        **_state(answer),
        "plans": _plans_json(facts),
        "verdicts": _verdicts(facts),
        "permits": _permits_json(facts),
    }


def _answer(cause: str, it: Narrator, own: str) -> dict[str, str]:
    """own: `qtctl` with the options of this call, so that the command asks the same Redis."""
    return {
        "cause": cause,
        "sentence": sentence(cause, it),
        "command": own + next_command(cause, it).removeprefix("qtctl"),
    }


def _state(answer: Answer) -> dict[str, Any]:
    """How things stand now."""
    facts, seen = answer.facts, answer.hint.efficiency
    target, kill = facts.target, asdict(facts.kill)
    return {
        "target": {
            "target_usd": target.usd,
            "age_s": _round(target.age_sec),
            "ttl_s": _round(target.ttl_sec),
            "problem": target.problem,
            "shadow": target.shadow,
        },
        "score": {
            "efficiency_score": seen.score,
            "confidence": seen.confidence,
            "age_s": _round(seen.age_sec),
            "counts_as": seen.reason.value,
            "problem": seen.problem,
            "eff_action": answer.hint.action.value,
            "eff_factor": round(answer.hint.factor, 4),
            "extra_cooldown_sec": answer.hint.extra_cooldown_sec,
            "stale_flags": answer.score.get("stale_flags", ""),
            "inputs_ok": answer.score.get("inputs_ok", ""),
            "shadow": answer.score_shadow,
        },
        "kill_switch": {"mode": ("normal", "reduce_only", "halted")[kill.pop("level")], **kill},
        "governors": [
            {
                "name": it.name,
                "version": it.version,
                "host": it.host,
                "last_pass_age_s": _round(it.last_pass_age_sec),
                "silent": it.silent or None,
            }
            for it in facts.governors
        ],
        "group": {"there": facts.group_there, "lag": facts.lag, "pending": facts.pending},
    }


def _plans_json(facts: Diagnosis) -> dict[str, Any]:
    latest = facts.plans[0] if facts.plans else None
    return {
        "seen": len(facts.plans),
        "meant": sum(plan.meant for plan in facts.plans),
        "waiting": sum(bool(plan.waits) for plan in facts.plans),
        "last_age_s": None if latest is None else _since(facts.now, latest.at),
        "last_plan_id": None if latest is None else latest.plan_id,
        "looked_at": facts.looked_at,
        "looked_back_s": _round(facts.looked_back_sec),
        "from_history": facts.from_history,
        "unreadable_without_symbol": facts.nameless,
    }


def _verdicts(facts: Diagnosis) -> list[dict[str, Any]]:
    """How many plans got which verdict for which reason, the most frequent first."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for plan in facts.plans:
        verdict = plan.verdict or ("waiting" if plan.waits else "unknown")
        row = rows.setdefault(
            (verdict, plan.reason),
            {
                "verdict": verdict,
                "reason": plan.reason,
                "count": 0,
                "last_age_s": _since(facts.now, plan.at),
                "last_plan_id": plan.plan_id,
            },
        )
        row["count"] += 1
    return sorted(rows.values(), key=lambda row: -row["count"])


def _permits_json(facts: Diagnosis) -> dict[str, Any]:
    issued = list(facts.permits.values())
    counts = {state.value: sum(it.state is state for it in issued) for state in PermitState}
    late = sum(it.queue_age_sec > CONSUMER_WAITS_SEC for it in issued)
    return {"issued": len(issued), **counts, "late": late}


def _since(now: float, at: float) -> float:
    """An event may be younger than the look at the clock."""
    return round(max(0.0, now - at), 3)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def head(facts: Diagnosis) -> tuple[Column, ...]:
    """How things stand now, a line each."""
    columns = (
        text("symbol", "symbol"),
        text("target", lambda row: _target(row["target"])),
        text("score", lambda row: _score(row["score"])),
        text("kill switch", lambda row: _kill(row["kill_switch"])),
        text("governor", lambda _: _governors(facts)),
        text("group", lambda row: _group(row["group"])),
        text("plans", lambda row: _plans(row["plans"], facts)),
    )
    permits = text("permits", lambda row: _permits(row["permits"]))
    return (*columns, permits) if facts.permits else columns


def _target(target: dict[str, Any]) -> str:
    if target["problem"]:
        return f"unreadable: {target['problem']}"
    if target["target_usd"] is None:
        return f"none{': ' * bool(target['shadow'])}{target['shadow']}"
    left = (
        "never expires" if target["ttl_s"] is None else f"expires in {format.span(target['ttl_s'])}"
    )
    old = "of unknown age" if target["age_s"] is None else f"{format.span(target['age_s'])} old"
    return f"{format.money(target['target_usd'])} USD, {old}, {left}"


def _score(score: dict[str, Any]) -> str:
    if score["efficiency_score"] is None:
        why = score["problem"] or score["shadow"]
        return f"{score['counts_as']}{': ' * bool(why)}{why}"
    hint = format.size_hint(score["eff_action"])
    if score["eff_action"] != "NONE":
        hint = f"{hint} × {score['eff_factor']:.4f}, {score['extra_cooldown_sec']} s extra cooldown"
    flags = producer_flags(score)
    return (
        f"{score['efficiency_score']:.4f}, confidence {score['confidence']:g}, "
        f"{format.span(score['age_s'])} old: {score['counts_as']}, {hint}"
        f"{f'; its producer says {flags}' if flags else ''}"
    )


def _kill(kill: dict[str, Any]) -> str:
    if kill["mode"] == "normal":
        return "normal"
    what = "opens" if kill["mode"] == "reduce_only" else "opens and closes"
    of = f" of {kill['symbol']}" if kill["symbol"] else ""
    return f"HALTED {what}{of}: {kill['key']}={halts.quoted(kill['value'])}"


def _governors(facts: Diagnosis) -> str:
    if not facts.governors:
        return "none running"
    return ", ".join(
        f"{it.name} {it.version}, {'LATE, ' if it.late else 'NO ANSWER, ' * it.gone}last pass "
        f"{format.span(it.last_pass_age_sec)} ago"
        for it in facts.governors
    )


def _group(group: dict[str, Any]) -> str:
    if not group["there"]:
        return "none"
    lag = "unknown" if group["lag"] is None else f"{group['lag']:,}"
    return f"lag {lag}, {group['pending']:,} pending"


def _plans(plans: dict[str, Any], facts: Diagnosis) -> str:
    # What the stream no longer holds is known by its events.
    past = plans["from_history"]
    named = sum(bool(plan.entry_id) for plan in facts.plans) - past
    there = min(named, plans["looked_at"])
    more = plans["seen"] - there - past
    looked = f"of {plans['looked_at']:,} in the stream"
    if plans["looked_back_s"] is not None:
        looked += f" (read back only {format.span(plans['looked_back_s'])}: the cap was reached)"
    if not plans["seen"]:
        return f"none {looked}"
    by_events = f", {more:,} more by their events" if more else ""
    by_events += f", {past:,} more in the history" if past else ""
    last = format.span(plans["last_age_s"])
    return f"{there:,} {looked}{by_events}, the last {last} ago"


def _permits(permits: dict[str, Any]) -> str:
    parts = [
        f"{permits[state]:,} {words}"
        for state, words in (
            ("open", "open"),
            ("taken", "taken"),
            ("withdrawn", "withdrawn"),
            ("taken_or_expired", "taken or expired (a take leaves no trace)"),
            ("late", "issued too late for the Apply Layer"),
        )
        if permits[state]
    ]
    return f"{permits['issued']:,} issued: {', '.join(parts)}"
