"""The page of `qtctl readiness`."""

from collections.abc import Iterator
from typing import Literal

from qtctl import svg
from qtctl.cli.output.columns import Column, text
from qtctl.cli.output.format import count
from qtctl.cli.views.html import about, page
from qtctl.cli.views.html.allocation import WORST
from qtctl.cli.views.html.replay import DIFFERENCES
from qtctl.cli.views.html.words import are, share
from qtctl.cli.views.readiness import figure_of, limit_of
from qtctl.evidence.policy import RULES, Policy, load
from qtctl.evidence.readiness import Gate, Readiness, SymbolReadiness
from qtctl.svg import Bar, Part

KIND = "qtctl readiness"
TITLE = "Is the history good enough to enforce on?"
STYLES: dict[str, Literal["good", "bad", "warn"]] = {
    "READY": "good", "NOT READY": "bad", "CAN'T TELL": "warn",
}  # fmt: skip
WHAT = (
    "The allocation loop proposes targets in shadow: nothing trades on them. Before anybody does, "
    "the records must show that it works as it should. Each gate below compares one figure of the "
    "records with a limit that was fixed beforehand, the policy.",
    "READY: every gate passes, for the whole and for each symbol. NOT READY: a gate fails. CAN'T "
    "TELL: none fails, and of one it is not known.",
)
CANT_TELL = (
    "Whether the proposals make money: the gates ask whether the loop is steady, complete and "
    "reproducible.",
    "What upstream would do once proposals are in force: it would see other targets.",
    "What a gap hid: nothing is extrapolated.",
    "Who decides: qtctl judges, and enforces nothing. The live target is not its to write.",
)
_RESULTS = {True: "✓ pass", False: "✗ FAIL", None: "? unknown"}
_COLOURS = {True: "green", False: "red", None: "yellow"}


def readiness_page(found: Readiness, policy: Policy) -> str:
    """The whole page."""
    window = found.window
    waiting = [one for one in found.symbols if one.verdict != "READY"]
    head = [
        about.warnings(synthetic=window.synthetic, weaker=found.weaker),
        page.verdict(found.verdict, STYLES[found.verdict]),
    ]
    sections = [
        about.words(WHAT, _says(found), CANT_TELL),
        page.section(
            "gates", "Gates", "Gate by gate",
            page.table("Gates of the whole", found.gates, GATES, "In the order of the policy."),
        ),
        page.section("symbols", "Symbols", "Symbol by symbol", *_symbols(found, waiting)),
        page.section(
            "basis", "Basis", "What the verdict rests on",
            about.facts(window, _policy(found, policy)), about.gaps(window.gaps),
            page.table(
                "Comes out otherwise when judged again", found.parity.listed, DIFFERENCES[:-1],
                f"{found.parity.differences:,} in all; the first {len(found.parity.listed):,}.",
            ),
        ),
    ]  # fmt: skip
    lead = about.span(window.since_ms, window.until_ms)
    strip = about.strip(
        window.gaps, window.chain, window.rules, window.limits,
        count(len(found.symbols), "symbol"), count(found.parity.proposals, "proposal"),
        count(found.parity.decisions, "decision"), f"policy {found.policy}",
    )  # fmt: skip
    return page.document(KIND, TITLE, lead, head, sections, strip=strip)


def _says(found: Readiness) -> Iterator[str]:
    failing = [gate for gate in found.gates if gate.passed is False]
    unknown = [gate for gate in found.gates if gate.passed is None]
    passing = len(found.gates) - len(failing) - len(unknown)
    yield f"The verdict is {found.verdict}: {passing} of {len(found.gates)} gates pass."
    yield from map(_shortfall, failing)
    yield from map(_shortfall, unknown)
    ready = sum(one.verdict == "READY" for one in found.symbols)
    yield f"{ready:,} of {count(len(found.symbols), 'symbol')} {are(ready)} ready."
    parity = found.parity
    yield (
        f"{count(parity.proposals, 'proposal')} and {count(parity.decisions, 'decision')} were "
        f"judged again by the settings that were in force: {parity.differences:,} came out "
        f"otherwise, and {sum(parity.unproven.values()):,} more could not be judged again."
    )


def _shortfall(gate: Gate) -> str:
    """Why a gate does not pass."""
    what = "fails" if gate.passed is False else "is unknown"
    remark = _remark(gate).strip()
    return (
        f"{gate.gate} {what}: {figure_of(gate.value, gate.unit)}, where {limit_of(gate)} is asked "
        f"for ({RULES[gate.gate].means}){f'; {remark}' if remark else ''}."
    )


# The gates ----------------------------------------------------------------------------------------


def _remark(gate: Gate) -> str:
    parts = [gate.why] if gate.why else []
    if gate.failing:
        fail = "fails" if gate.failing == 1 else "fail"
        parts.append(f"{count(gate.failing, 'symbol')} {fail}, the worst {gate.worst}")
    if gate.unknown:
        parts.append(f"unknown for {count(gate.unknown, 'symbol')}")
    return "; ".join(parts) or " "


GATES = (
    text("gate", "gate"),
    Column(
        "result", "passed", lambda value, utc: _RESULTS[value],
        style=lambda value: _COLOURS[value],
    ),
    text("figure", lambda gate: figure_of(gate.value, gate.unit), right=True, named="figure"),
    text("threshold", limit_of, right=True, named="threshold"),
    text("what is measured", lambda gate: RULES[gate.gate].means, named="means"),
    text("remark", _remark, named="why", fold=True),
)  # fmt: skip


# The symbols --------------------------------------------------------------------------------------


def _symbols(found: Readiness, waiting: list[SymbolReadiness]) -> Iterator[str]:
    if not waiting:
        yield page.paragraph(
            f"Each of {count(len(found.symbols), 'symbol')} passes each of its gates."
        )
        return
    yield _failing(found, waiting)
    yield page.table("Symbols that are not ready", waiting[:WORST], SYMBOLS)
    rest = waiting[WORST:]
    yield page.folded(
        f"The other {count(len(rest), 'symbol')} that {are(len(rest))} not ready",
        page.table("The other symbols that are not ready", rest, SYMBOLS),
    )


def _failing(found: Readiness, waiting: list[SymbolReadiness]) -> str:
    """How many symbols each gate holds back."""
    held = {
        gate.gate: (gate.failing, sum(
            each.passed is None
            for one in waiting for each in one.gates if each.gate == gate.gate
        ))
        for gate in found.gates
    }  # fmt: skip
    shown = {name: each for name, each in held.items() if sum(each)}
    worst = max(shown, key=lambda name: sum(shown[name]), default=None)
    if worst is None:
        return ""
    fails, unknown = shown[worst]
    whole = len(found.symbols)
    sentence = (
        f"{len(waiting):,} of {count(whole, 'symbol')} {are(len(waiting))} not ready; the gate "
        f"that holds back the most is {worst}: {fails:,} fail it"
        f"{f', and for {unknown:,} it is unknown' * bool(unknown)}."
    )
    most = max(map(sum, shown.values()))
    bars = [
        Bar(
            [Part(fail, "c2", f"{name}: {fail:,} fail"),
             Part(open_, "c0", f"{name}: {open_:,} unknown")],
            name=name, figure=f"{fail:,}" + f" + {open_:,} unknown" * bool(open_),
        )
        for name, (fail, open_) in shown.items()
    ]  # fmt: skip
    x = svg.amount_axis("symbols", 0, 1.25 * most, ticks=4)
    legend = [page.Mark("fail", "c2"), page.Mark("unknown", "c0")]
    return page.charts(
        page.figure(sentence, svg.rows("Symbols by gate", sentence, x, bars), legend)
    )


def _shortfalls(one: SymbolReadiness) -> str:
    return "; ".join(
        f"{gate.gate} {figure_of(gate.value, gate.unit)}{_wanted(gate)}"
        for gate in one.gates
        if gate.passed is not True
    )


def _wanted(gate: Gate) -> str:
    return f" (must be {limit_of(gate)})" if gate.passed is False else ""


SYMBOLS = (
    text("symbol", "symbol", wrap="id"),
    text(
        "verdict", "verdict",
        style=lambda value: {"good": "green", "bad": "red", "warn": "yellow"}[STYLES[value]],
    ),
    text("gates that it does not pass", _shortfalls, named="gates", fold=True),
)  # fmt: skip


# The basis ----------------------------------------------------------------------------------------


def _policy(found: Readiness, policy: Policy) -> dict[str, str]:
    unproven = "; ".join(f"{count_:,}: {why}" for why, count_ in found.parity.unproven.items())
    return {
        "Policy": f"{policy.digest}{' (the default)' * (policy.digest == load(None).digest)}",
        "Followed with": f"a deadband of {share(policy.deadband)} and {share(policy.step_limit)} a "
        "pass at most, of the multiplier",
        "Could not be judged again": unproven or "none",
    }
