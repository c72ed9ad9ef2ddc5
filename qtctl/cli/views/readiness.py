"""The page of `qtctl readiness`."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.cli.output import Fields, Rows, format
from qtctl.cli.output.columns import Column, line, text, texts
from qtctl.cli.views.evidence_window import describe
from qtctl.evidence.policy import RULES, Policy
from qtctl.evidence.readiness import Gate, Readiness, SymbolReadiness
from qtctl.evidence.window import Window

_line = partial(line, width=8)
STYLES = {"READY": "bold green", "NOT READY": "bold red", "CAN'T TELL": "bold yellow",
          "pass": "green", "FAIL": "bold red", "unknown": "yellow"}  # fmt: skip


def page(
    ctx: Context, found: Readiness, window: Window, policy: Policy, limit: int
) -> Iterator[Fields | Rows]:
    """The parts of the page; limit: so many symbols that are not ready at most."""
    yield Fields(_head(ctx, found, window, policy))
    yield Rows(found.gates, GATES)
    waiting = [each for each in found.symbols if each.verdict != "READY"]
    shown = f"{min(limit, len(waiting)):,} of {len(waiting):,}; --limit N shows more"
    yield Rows(waiting[:limit], SYMBOLS, f"Symbols that are not ready ({shown})")
    yield Rows(found.parity.listed, DIFFERENCES, "Comes out otherwise when judged again")


def _head(ctx: Context, found: Readiness, window: Window, policy: Policy) -> list[Column]:
    ready = sum(each.verdict == "READY" for each in found.symbols)
    parity = found.parity
    whole = "; ".join(describe(ctx, window, found.window.gaps))
    synthetic = "; SYNTHETIC: says nothing about any market" if window.synthetic else ""
    weaker = "; by a WEAKER policy than the default" if found.weaker else ""
    lines = {
        "verdict": f"{found.verdict}{synthetic}{weaker}",
        "window": whole,
        "symbols": f"{ready:,} of {len(found.symbols):,} ready",
        "parity": f"{parity.proposals:,} proposals and {parity.decisions:,} decisions judged "
        f"again: {parity.differences:,} differ, {sum(parity.unproven.values()):,} unproven",
        "policy": f"{policy.digest}; followed with deadband {policy.deadband:g}, "
        f"step limit {policy.step_limit:g} a pass",
    }
    if found.weaker:
        lines["weaker"] = f"than the default: {', '.join(found.weaker)}"
    styles = {"verdict": STYLES[found.verdict], "weaker": "yellow"}
    return [_line(title, words, styles.get(title, "")) for title, words in lines.items()]


def figure_of(value: float | None, unit: str) -> str:
    """A figure of a gate with its unit."""
    if value is None:
        return "unknown"
    if unit == "share":
        return f"{100 * value:,.2f} %"
    return f"{value:,.{0 if unit == '' else 2}f} {unit}".strip()


def limit_of(gate: Gate) -> str:
    """What is asked for, with its sign."""
    sign = "≥" if RULES[gate.gate].least else "≤"
    return f"{sign} {figure_of(gate.limit, gate.unit)}"


def _result(gate: Gate) -> str:
    return {True: "pass", False: "FAIL", None: "unknown"}[gate.passed]


def _why(gate: Gate) -> str:
    parts = [gate.why] if gate.why else []
    if gate.failing:
        fail = "fails" if gate.failing == 1 else "fail"
        parts.append(f"{format.count(gate.failing, 'symbol')} {fail}, the worst {gate.worst}")
    elif gate.unknown:
        parts.append(f"unknown for {format.count(gate.unknown, 'symbol')}, as {gate.worst}")
    return "; ".join(parts) or RULES[gate.gate].means


def _failing(one: SymbolReadiness) -> str:
    return ", ".join(
        f"{gate.gate} {figure_of(gate.value, gate.unit)}"
        for gate in one.gates
        if gate.passed is not True
    )


def _style(value: Any) -> str:
    return STYLES.get(str(value), "")


GATES = (
    text("gate", "gate"),
    text("result", _result, named="passed", style=_style),
    text("value", lambda row: figure_of(row.value, row.unit), right=True, named="value"),
    text("limit", limit_of, right=True, named="limit"),
    text("", _why, named="why", fold=True),
)
SYMBOLS = (
    text("symbol", "symbol"),
    text("verdict", "verdict", style=_style),
    text("gates", _failing, named="gates", fold=True),
)
SELFTEST = (
    text("fault", "fault"),
    text("gate", lambda row: row.expected or "none", named="expected"),
    *texts("verdict", "failed", "unknown"),
    text("result", lambda row: "pass" if row.right else "FAIL", named="right", style=_style),
)
DIFFERENCES = (
    text("time", lambda row: format.moment(row.at_ms / 1000), named="at_ms"),
    *texts("what", "name", "field", "recorded", "again"),
)
