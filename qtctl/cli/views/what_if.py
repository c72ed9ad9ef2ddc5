"""`--what-if KEY=VALUE`: decisions judged again, on their own facts, under other limits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from qtctl.cli.output import Filter, Listed, format
from qtctl.cli.output.columns import age, money, plan_id, recent, text
from qtctl.domain.facts import facts_of, unrecorded
from qtctl.domain.gates import Limits
from qtctl.domain.reasons import DECISION_REASONS, Kind, Verdict
from qtctl.domain.what_if import LIMIT_NAMES, Again, Changes, Recorded, again
from qtctl.errors import ConfigError, UsageError
from qtctl.settings.catalog import by_path, checked, from_text
from qtctl.settings.sources import nearest, shown_name
from qtctl.wire.schema.decision import DECISION_FIELDS

NOT_SIMULATED = "Each is judged on its own facts; the counts of later plans stay as they were."


def changes_asked(given: Sequence[str] | None) -> dict[str, float | int]:
    """The limits of `--what-if` by name; the last of a name wins. Errors: UsageError naming what
    is wrong, the range, and the nearest name."""
    asked: dict[str, float | int] = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not equals:
            raise UsageError(f"--what-if {each!r} is not KEY=VALUE, as max_exec_per_hour=5")
        key = _limit_name(name.strip().removeprefix("governor."))
        field = by_path()[f"governor.{key}"]
        try:
            asked[key] = checked(field, from_text(field, value), "--what-if", value)
        except ConfigError as wrong:
            raise UsageError(str(wrong)) from None
    return asked


def _limit_name(key: str) -> str:
    if key in LIMIT_NAMES:
        return key
    known = f"; limits: {', '.join(LIMIT_NAMES)}"
    if f"governor.{key}" in by_path():
        raise UsageError(f"--what-if {key}: no gate compares with that setting{known}")
    raise UsageError(
        f"--what-if {shown_name(key)}: no such limit{nearest(key, LIMIT_NAMES) or known}"
    )


Known = Mapping[str, Limits | None]
"""Limits by their digest, None for those that are forgotten."""


def judged_again(
    known: Known, decisions: Sequence[Mapping[str, str]], changes: Changes
) -> list[Again]:
    """Each of these records judged again, in their order."""
    recorded = (
        Recorded(
            row.get("verdict", ""),
            row.get("reason", ""),
            facts_of(row),
            known[row.get("limits", "")],
            unrecorded(row),
        )
        for row in decisions
    )
    return [again(each, changes) for each in recorded]


def fields_of(decision: Mapping[str, str], again: Again) -> dict[str, Any]:
    """What --what-if adds to the JSON of a decision: the other verdict and reason ("" if unknown),
    whether the verdict changes (null if unknown), and why it is unknown."""
    new = again.judgement
    return {
        "what_if_verdict": "" if new is None else new.verdict.value,
        "what_if_reason": "" if new is None else new.reason.value,
        "what_if_changed": None if new is None else new.verdict != decision.get("verdict"),
        "what_if_unknown": again.unknown,
    }


def shown_again(decision: Mapping[str, str], again: Again, changes: Changes) -> dict[str, Any]:
    """The JSON of one decision judged again: limits as asked, verdict, reason, changed, unknown."""
    fields = fields_of(decision, again).items()
    return {"limits": dict(changes), **{name.removeprefix("what_if_"): it for name, it in fields}}


def describe(again: Again, changes: Changes) -> str:
    """The other verdict in one line."""
    new = again.judgement
    if new is None:
        return f"unknown: {again.unknown}"
    limits = ", ".join(f"{name}={value:.10g}" for name, value in changes.items())
    return f"{new.verdict.value}, {new.reason.value}, under {limits}"


def compared(
    known: Known, decisions: Sequence[Mapping[str, str]], changes: Changes
) -> list[dict[str, Any]]:
    """The decisions with the other verdict beside their own: those whose verdict changes first,
    then those whose reason does, then the unknown, then the rest."""
    found = judged_again(known, decisions, changes)
    rows = [{**row, **fields_of(row, again)} for row, again in zip(decisions, found, strict=True)]
    return sorted(rows, key=_rank)


def differs(row: Mapping[str, Any]) -> bool:
    """True for another verdict or reason, or an unknown one."""
    return _rank(row) < _SAME


_SAME = 3


def _rank(row: Mapping[str, Any]) -> int:
    if row["what_if_changed"] is None:
        return 2
    if row["what_if_changed"]:
        return 0
    return 1 if row["what_if_reason"] != row.get("reason") else _SAME


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """`2 of 7 verdicts would change: 2 to permitted (2 symbol_cooldown).`, in one line."""
    ranks = Counter(_rank(row) for row in rows)
    parts = [
        f"{count:,} to {verdict} ({_gates(rows, verdict)})"
        for verdict in ("permitted", "blocked")
        if (count := sum(_turns(row, verdict) for row in rows))
    ]
    if ranks[1]:
        stay = "stays" if ranks[1] == 1 else "stay"
        parts.append(f"{ranks[1]:,} {stay} blocked for another reason")
    if ranks[2]:
        why = Counter(row["what_if_unknown"] for row in rows if _rank(row) == 2)
        listed = "; ".join(f"{count:,}: {text}" for text, count in why.most_common())
        parts.append(f"{ranks[2]:,} unknown ({listed})")
    listed = f": {', '.join(parts)}" if parts else ""
    return f"{ranks[0]:,} of {format.count(len(rows), 'verdict')} would change{listed}."


def _turns(row: Mapping[str, Any], verdict: str) -> bool:
    return bool(row["what_if_changed"]) and row["what_if_verdict"] == verdict


def _gates(rows: Sequence[Mapping[str, Any]], verdict: str) -> str:
    """The gates that no longer block, or that would."""
    field = "reason" if verdict == "permitted" else "what_if_reason"
    found = Counter(row.get(field, "") for row in rows if _turns(row, verdict))
    return ", ".join(f"{count:,} {reason}" for reason, count in found.most_common())


def _in_words(verdict: str, reason: str) -> str:
    return verdict if reason in ("ok", "") else f"{verdict} {reason}"


def _style(value: Any) -> str:
    return {"permitted": "green", "blocked": "red"}.get(str(value).partition(" ")[0], "yellow")


DECISION_FILTERS = {
    "verdict": Filter("verdict", (Verdict.PERMITTED, Verdict.BLOCKED)),
    "kind": Filter("kind", tuple(Kind)),
    "reason": Filter("reason", DECISION_REASONS),
}
LISTED = Listed(
    (
        recent("decided", "decided_at", drop=2),
        plan_id("plan", "plan_id"),
        text("symbol", "symbol"),
        text("kind", "kind", drop=3),
        text(
            "was",
            lambda row: _in_words(row.get("verdict", ""), row.get("reason", "")),
            fold=True,
            style=_style,
        ),
        text(
            "would be",
            lambda row: (
                f"unknown: {row['what_if_unknown']}"
                if row["what_if_unknown"]
                else _in_words(row["what_if_verdict"], row["what_if_reason"])
            ),
            fold=True,
            style=_style,
        ),
        money("notional USD", "notional_usd", drop=4),
        age("in queue", "queue_age_sec", drop=4),
    ),
    fields=[
        *(name for name, _ in DECISION_FIELDS),
        *(f"what_if_{name}" for name in ("verdict", "reason", "changed", "unknown")),
    ],
    at="decided_at",
    filters=DECISION_FILTERS,
)
"""As `plan list`, with what the verdict would be behind what it was."""
