"""Readiness: each gate by its formula; each fault of the synthetic market fails its own gate."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from qtctl.errors import ConfigError, NotFoundError
from qtctl.evidence import policy as policies
from qtctl.evidence.policy import Policy
from qtctl.evidence.readiness import Gate, Readiness, assess
from qtctl.history.reader import History
from qtctl.history.rows import Batch, Gap, HaltRow, PassEntry, ServiceRow
from tests.evidence.made import INTERVAL, a_pass, passes, plan, simulated, written
from tests.history.samples import NOON

S = "BTCUSDT"
HOUR_MS = 3_600_000
DEFAULT = policies.load(None)


def lax(hours: float = 4, **gates: float) -> Policy:
    """A policy for short histories: scores of the synthetic market take hours to walk."""
    return replace(DEFAULT, gates=DEFAULT.gates | {"window": hours, "span": 0.001} | gates)


def gates(found: Readiness) -> dict[str, Gate]:
    return {gate.gate: gate for gate in found.gates}


def failing(found: Readiness) -> set[str]:
    return {gate.gate for gate in found.gates if gate.passed is False}


def halted(at_ms: int, what: str) -> HaltRow:
    return HaltRow(at_ms, what, "opens", "k", "1", "op", "drill")


def judged(folder: Path, entries: list[PassEntry], **batch: object) -> Readiness:
    drill = [halted(NOON, "halted"), halted(NOON + 1, "resumed")]
    values = {"passes": entries, "halts": drill} | batch
    history = written(folder, Batch(**values))  # type: ignore[arg-type]
    lasted = entries[-1].value.ts_ms - entries[0].value.ts_ms + INTERVAL
    return assess(history, lax(lasted / HOUR_MS))


def moving(count: int = 20) -> list[PassEntry]:
    return passes(*([(S, 100.0, 1.0 + 0.01 * (n % 3))] for n in range(count)))


def test_a_clean_history_passes_every_gate(tmp_path: Path) -> None:
    found = assess(simulated(tmp_path), lax())
    assert failing(found) == set()
    assert found.verdict == "READY"
    assert {each.verdict for each in found.symbols} == {"READY"}
    assert (found.parity.share, found.parity.unproven) == (1.0, {})
    assert found.parity.proposals == 4 * 360 * 12


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("stale", {"ok", "stale"}),
        ("flat", {"span"}),
        ("oscillating", {"flips"}),
        ("compounding", {"written_back"}),
        ("gap", {"gap"}),
        ("drift", {"clamps", "gross"}),
    ],
)
def test_each_fault_fails_its_own_gates(tmp_path: Path, fault: str, expected: set[str]) -> None:
    more = {"span": 0.02} if fault == "flat" else {}
    found = assess(simulated(tmp_path, fault), lax(**more))
    assert failing(found) - {"step"} == expected
    assert found.verdict == "NOT READY"


def test_settings_that_changed_begin_the_window_anew(tmp_path: Path) -> None:
    def row(at_ms: int, what: str, settings: str) -> ServiceRow:
        return ServiceRow(at_ms, what, "governor", "g", "0.1", "h", 1, at_ms, settings)

    rows = [row(NOON, "started", "a"), row(NOON + 50_000, "started", "a"),
            row(NOON + 95_000, "changed", "b")]  # fmt: skip
    gate = gates(judged(tmp_path, moving(), services=rows))["window"]
    assert gate.value == pytest.approx((190_000 - 95_000) / HOUR_MS, abs=0.001)
    assert gate.passed is False
    assert gate.why == "governor: other settings"


def test_a_gap_is_what_is_recorded_or_a_pause_between_passes(tmp_path: Path) -> None:
    entries = [a_pass(n, (S, 100.0, 1.0 + 0.01 * n), at=n if n < 5 else n + 40) for n in range(10)]
    found = gates(judged(tmp_path / "pause", entries))["gap"]
    assert (found.value, found.passed) == (410.0, False)
    gap = Gap("trimmed", NOON - 900_000, NOON + 60_000, "s", None, "", NOON)
    found = gates(judged(tmp_path / "row", moving(), gaps=[gap]))["gap"]
    assert (found.value, found.passed) == (60.0, True)


def test_passes_that_may_have_been_made_are_unknown_and_no_failure(tmp_path: Path) -> None:
    entries = [a_pass(n, (S, 100.0, 1.0), at=n if n < 10 else n + 5) for n in range(20)]
    gap = Gap("trimmed", NOON + 9 * INTERVAL, NOON + 15 * INTERVAL, "", 5, "", NOON)
    found = gates(judged(tmp_path / "a", entries, gaps=[gap]))["passes"]
    assert (found.value, found.passed) == (20 / 25, None)
    found = gates(judged(tmp_path / "b", entries))["passes"]
    assert (found.value, found.passed) == (20 / 25, False)


def test_a_drill_that_nobody_recorded_is_unknown(tmp_path: Path) -> None:
    for name, rows in (("none", []), ("open", [halted(NOON, "halted")])):
        found = judged(tmp_path / name, moving(), halts=rows)
        gate = gates(found)["drill"]
        assert (gate.passed, gate.value) == (None, None)
    found = judged(tmp_path / "old", moving(), halts=[
        halted(NOON - 31 * 24 * HOUR_MS, "halted"), halted(NOON, "resumed"),
    ])  # fmt: skip
    assert gates(found)["drill"].passed is False


def test_a_target_that_is_the_last_proposal_was_written_back(tmp_path: Path) -> None:
    batch = passes(
        [(S, 100.0, 1.1), ("ETHUSDT", 50.0, 1.004), ("XRPUSDT", 10.0, 1.1)],
        [(S, 110.0, 1.1), ("ETHUSDT", 50.2, 1.004), ("XRPUSDT", 11.01, 1.1)],
        [(S, 121.0, 1.1), ("ETHUSDT", 50.4, 1.004), ("XRPUSDT", 11.01, 1.1)],
    )
    found = judged(tmp_path, batch)
    assert gates(found)["written_back"].value == 2
    assert gates(found)["written_back"].worst == S


def test_flips_are_counted_after_deadband_and_step_limit(tmp_path: Path) -> None:
    swings = passes(*([(S, 100.0, 1.03 if n % 2 else 0.97)] for n in range(40)))
    history = written(tmp_path, Batch(passes=swings))

    def flips(deadband: float, step_limit: float) -> float | None:
        policy = replace(lax(), deadband=deadband, step_limit=step_limit)
        return gates(assess(history, policy))["flips"].value

    hours = 39 * INTERVAL / HOUR_MS
    assert flips(0.0, 1.0) == pytest.approx(39 / hours, rel=1e-3)
    assert flips(0.07, 1.0) == 0.0
    assert flips(0.0, 0.01) == 0.0


def test_a_proposal_that_comes_out_otherwise_fails_parity(tmp_path: Path) -> None:
    entries = moving()
    entries[7] = a_pass(7, (S, "100", "ok", "1.2345", "0.5"))
    found = judged(tmp_path, entries)
    assert gates(found)["parity"].passed is False
    assert [each.again for each in found.parity.listed] == ["1.0000"]
    assert found.parity.differences == 1
    assert "parity" in {gate.gate for gate in found.symbols[0].gates if gate.passed is False}


def test_a_score_that_grew_stale_while_nothing_changed_is_judged_again(tmp_path: Path) -> None:
    first = a_pass(0, (S, 100.0, 1.1))
    later = [replace(a_pass(n, (S, 100.0, 1.1)), value=replace(
        first.value, number=n + 1, ts_ms=NOON + n * INTERVAL)) for n in range(1, 70)]  # fmt: skip
    found = judged(tmp_path, [first, *later])
    assert found.parity.listed[0].again == "stale_eff"
    assert found.parity.listed[0].at_ms == NOON + 60 * INTERVAL
    assert gates(found)["parity"].passed is False


def test_a_decision_that_comes_out_otherwise_fails_parity(tmp_path: Path) -> None:
    decisions = [plan(1, last_open_age_sec="20.000"), plan(2), plan(3, reason="duplicate_plan",
                                                                    verdict="blocked")]  # fmt: skip
    found = judged(tmp_path, moving(), decisions=decisions)
    assert [each.again for each in found.parity.listed] == ["symbol_cooldown"]
    assert gates(found)["parity"].passed is False


def test_what_can_not_be_judged_again_is_unknown(tmp_path: Path) -> None:
    found = judged(tmp_path, moving(), decisions=[plan(1, limits="gone")])
    gate = gates(found)["parity"]
    assert (gate.passed, gate.value) == (None, 20 / 21)
    assert found.verdict == "CAN'T TELL"


def test_one_symbol_that_fails_fails_the_whole_and_can_be_left_out(tmp_path: Path) -> None:
    without = ("ETHUSDT", "50", "redis_error", "1.0000", "")
    entries = [a_pass(n, (S, 100.0, 1.0 + 0.01 * (n % 3)), without) for n in range(20)]
    drill = [halted(NOON, "halted"), halted(NOON + 1, "resumed")]
    history = written(tmp_path, Batch(passes=entries, halts=drill))
    policy = lax(20 * INTERVAL / HOUR_MS)
    found = assess(history, policy)
    gate = gates(found)["ok"]
    assert (gate.failing, gate.worst) == (1, "ETHUSDT")
    assert gate.value == pytest.approx(0.5)
    verdicts = {each.symbol: each.verdict for each in found.symbols}
    assert verdicts == {S: "READY", "ETHUSDT": "NOT READY"}
    assert [each.symbol for each in assess(history, policy, [S]).symbols] == [S]
    assert failing(assess(history, policy, [S])) == set()


def test_nothing_is_known_without_passes(tmp_path: Path) -> None:
    found = assess(written(tmp_path, Batch(decisions=[plan(1), plan(2)])), DEFAULT)
    assert gates(found)["ok"].passed is None
    assert gates(found)["gross"].passed is None
    assert gates(found)["passes"].passed is None
    assert found.verdict == "CAN'T TELL"
    with pytest.raises(NotFoundError):
        assess(History(tmp_path), DEFAULT, ["XRPUSDT"])


def test_a_policy_is_the_defaults_with_what_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("[gates]\nflips = 2\n[follow]\ndeadband = 0.05\n")
    found = policies.load(file)
    assert found.gates == DEFAULT.gates | {"flips": 2.0}
    assert (found.deadband, found.step_limit) == (0.05, DEFAULT.step_limit)
    file.write_text("# other words\n[gates]\nflips = 2.0\n[follow]\ndeadband = 0.05\n")
    assert policies.load(file).digest == found.digest != DEFAULT.digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[gates]\nluck = 1\n", "unknown gate 'luck': known are window, passes"),
        ("[follow]\nspeed = 1\n", "unknown setting 'speed'"),
        ("[limits]\n", r"unknown table \[limits\]"),
        ("[gates]\nok = 1.5\n", "gates.ok = 1.5: allowed are 0 to 1"),
        ("[gates]\nok = -1\n", "allowed are 0 to 1"),
        ("[gates]\nok = true\n", "allowed"),
        ("[gates]\nok = 'much'\n", "allowed"),
        ("[gates]\nflips = nan\n", "allowed"),
        ("gates = 1\n", "must be a table"),
        ("[gates", "is not TOML"),
        (None, "can't be read"),
    ],
)
def test_a_bad_policy_is_one_line(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "policy.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=words) as problem:
        policies.load(file)
    assert str(file) in str(problem.value)
    assert "\n" not in str(problem.value)


def test_the_verdict_is_the_same_on_a_copy(tmp_path: Path) -> None:
    import shutil

    history = simulated(tmp_path / "a", hours=1)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    one, other = (assess(each, lax(1)) for each in (history, History(tmp_path / "b")))
    assert msgspec.json.encode(one) == msgspec.json.encode(other)
