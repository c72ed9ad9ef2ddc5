"""Whether a history is good enough to enforce on, gate by gate, for the whole and each symbol.

Whoever judges does not act: this gives a verdict, and writes no target. docs/evidence.md has each
gate's formula.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import msgspec

from qtctl.domain.names import ascii_upper
from qtctl.evidence import gate_values
from qtctl.evidence import window as windows
from qtctl.evidence.gate_values import Value
from qtctl.evidence.governing import Governing
from qtctl.evidence.parity import Parity, decisions_checked
from qtctl.evidence.policy import RULES, Policy
from qtctl.evidence.quantiles import weighted
from qtctl.evidence.report import HOUR_MS, About, about, gross, per_hour, refuse_unknown, shares
from qtctl.evidence.shadow import Shadow
from qtctl.evidence.track import ONE, Follow, Track, of_all
from qtctl.evidence.window import Change, Window
from qtctl.history.reader import History

Verdict = Literal["READY", "NOT READY", "CAN'T TELL"]


class Gate(msgspec.Struct, frozen=True):
    """A gate. value None: unknown, and `why` says why. passed None: unknown. failing, unknown: of
    the whole, how many symbols fail it, and of how many it is not known; worst: one of those."""

    gate: str
    passed: bool | None
    value: float | None
    limit: float
    unit: str
    why: str = ""
    failing: int = 0
    unknown: int = 0
    worst: str = ""


class SymbolReadiness(msgspec.Struct, frozen=True):
    """A symbol's verdict and gates."""

    symbol: str
    verdict: Verdict
    gates: list[Gate]


class Readiness(msgspec.Struct, frozen=True):
    """The verdict. policy: its digest; symbols: those that are not ready first; weaker: what the
    policy has that lets more pass than the default, see Policy."""

    verdict: Verdict
    policy: str
    window: About
    gates: list[Gate]
    parity: Parity
    symbols: list[SymbolReadiness]
    weaker: list[str] = []


def window_of(history: History, policy: Policy, until_ms: int | None = None) -> Window:
    """The window of a policy: so many hours up to a time, by default to the newest record. Errors:
    NotFoundError."""
    last = windows.end_ms(history)
    end = last if until_ms is None else min(until_ms, last)
    # To within a pass: a pass stands for the time until the next one, which is not there yet.
    return windows.choose(history, end - round(policy.gates["window"] * HOUR_MS), until_ms)


def assess(
    history: History, policy: Policy, symbols: Collection[str] = (), until_ms: int | None = None
) -> Readiness:
    """The verdict on a history, as it was at a time; symbols: only these. Errors: NotFoundError."""
    window = window_of(history, policy, until_ms)
    checker = decisions_checked(history, window.since_ms, window.until_ms)
    follow = Follow(round(policy.deadband * ONE), max(1, round(policy.step_limit * ONE)))
    shadow = Shadow(history, window, symbols, follow, checker.proposals).read()
    governing = Governing(history, window, symbols)
    governing.read()
    refuse_unknown(symbols, shadow.tracks, governing.symbols)
    seen = {ascii_upper(name) for name in shadow.tracks}
    # Plans alone are no evidence: what was never proposed is not ready.
    unseen = {ascii_upper(symbol) for symbol in symbols} - seen
    tracks = shadow.tracks | {name: Track() for name in sorted(unseen)}
    judged = [
        _symbol(name, track, shadow, policy, checker.differing[name])
        for name, track in tracks.items()
    ]
    changes = [*shadow.changes, *governing.changes, *gate_values.service_changes(history)]
    parity = checker.result()
    gates = _whole(history, shadow, changes, parity, policy, judged)
    order = {"NOT READY": 0, "CAN'T TELL": 1, "READY": 2}
    judged.sort(key=lambda one: (order[one.verdict], one.symbol))
    return Readiness(
        verdict(gates), policy.digest, about(history, shadow, governing), gates, parity, judged,
        policy.weaker(),
    )  # fmt: skip


def verdict(gates: Iterable[Gate]) -> Verdict:
    """NOT READY where a gate fails, else CAN'T TELL where one is unknown."""
    passed = [gate.passed for gate in gates]
    if False in passed:
        return "NOT READY"
    return "CAN'T TELL" if None in passed else "READY"


def _gate(name: str, policy: Policy, found: Value) -> Gate:
    rule, limit = RULES[name], policy.gates[name]
    return Gate(name, _passed(found, limit, least=rule.least), found.value, limit, rule.unit,
                found.why)  # fmt: skip


def _passed(found: Value, limit: float, *, least: bool) -> bool | None:
    if found.value is None:
        return None
    if not least:
        return found.value <= limit
    if found.value >= limit:
        return True
    unknown = found.at_most is not None and found.at_most >= limit
    return None if unknown else False


# Symbols ------------------------------------------------------------------------------------------


def _symbol(
    name: str, track: Track, shadow: Shadow, policy: Policy, differing: int
) -> SymbolReadiness:
    observed = track.observed_ms
    values = {
        "passes": Value(observed / shadow.clock if shadow.clock else None),
        **_shares(track.ms),
        "flips": _known(per_hour(track.flips, observed), "no time was observed"),
        **_spread(track.multipliers(), track.at_clamps_ms, track.clamps_known_ms),
        "step": Value(track.highest_step[0] if track.highest_step else 0.0),
        "written_back": Value(track.written_back),
        "parity": Value(0.0 if differing else 1.0),
    }
    gates = [_gate(rule, policy, values[rule]) for rule in RULES if rule in values]
    return SymbolReadiness(name, verdict(gates), gates)


def _known(value: float | None, why: str) -> Value:
    return Value(value, why if value is None else "")


def _shares(times: dict[str, int]) -> dict[str, Value]:
    found = shares(times)
    if not found:
        return dict.fromkeys(("ok", "stale"), Value(None, "no time was observed"))
    return {"ok": Value(found.get("ok", 0.0)), "stale": Value(found.get("stale_eff", 0.0))}


def _spread(weights: dict[int, int], at_clamps: int, known: int) -> dict[str, Value]:
    low, high = weighted(weights, (0.1, 0.9))
    span = None if low is None or high is None else (high - low) / ONE
    return {
        "span": _known(span, "no score was ok"),
        "clamps": _known(at_clamps / known if known else None,
                         "no score was ok, or the rules are not in the history"),
    }  # fmt: skip


# The whole ----------------------------------------------------------------------------------------


def _whole(
    history: History,
    shadow: Shadow,
    changes: Sequence[Change],
    parity: Parity,
    policy: Policy,
    symbols: Sequence[SymbolReadiness],
) -> list[Gate]:
    tracks = shadow.tracks.values()
    times, weights = of_all(tracks)
    at_clamps = sum(track.at_clamps_ms for track in tracks)
    known = sum(track.clamps_known_ms for track in tracks)
    steps = [track.highest_step[0] for track in tracks if track.highest_step]
    covered = windows.coverage(shadow.times, shadow.window)
    values = {
        "window": gate_values.settled(shadow, changes),
        "passes": Value(covered.share, "" if covered.due else "no passes", covered.at_most),
        "gap": gate_values.longest_gap(shadow),
        **_shares(times),
        "flips": _known(
            per_hour(sum(track.flips for track in tracks), sum(times.values())), "no passes"
        ),
        **_spread(weights, at_clamps, known),
        "gross": _known(gross(shadow).p99, "no pass with live exposure"),
        "step": _known(max(steps, default=0.0) if tracks else None, "no passes"),
        "written_back": _known(
            sum(track.written_back for track in tracks) if tracks else None, "no passes"
        ),
        "parity": gate_values.came_out_again(parity),
        "chain": gate_values.chain_breaks(history, shadow.window),
        "drill": gate_values.last_drill(history, shadow.window),
    }
    return [_with_symbols(_gate(name, policy, values[name]), symbols) for name in RULES]


def _with_symbols(gate: Gate, symbols: Sequence[SymbolReadiness]) -> Gate:
    """The whole passes a gate once every symbol does."""
    own = [(one.symbol, each) for one in symbols for each in one.gates if each.gate == gate.gate]
    failing = [(symbol, each) for symbol, each in own if each.passed is False]
    unknown = [(symbol, each) for symbol, each in own if each.passed is None]
    if not failing and not unknown:
        return gate
    passed = False if failing or gate.passed is False else None
    shown = _worst(failing or unknown, least=RULES[gate.gate].least)
    return msgspec.structs.replace(
        gate, passed=passed, failing=len(failing), unknown=len(unknown), worst=shown
    )


def _worst(found: Sequence[tuple[str, Gate]], *, least: bool) -> str:
    def badness(each: tuple[str, Gate]) -> float:
        value = each[1].value
        return 0.0 if value is None else -value if least else value

    return max(found, key=badness)[0]
