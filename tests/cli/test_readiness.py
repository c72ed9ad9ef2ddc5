"""`qtctl readiness`: its verdict, exit codes and the shape of its JSON."""

import os
from pathlib import Path

import pytest

from qtctl.evidence import policy as policies
from tests.evidence.made import simulated
from tests.support.cli import Cli


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """No Redis anywhere."""
    return Cli("redis://127.0.0.1:1/0", capsys)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market") / "h"
    simulated(folder, hours=1)
    return folder


def test_ready_is_0_and_anything_else_1(cli: Cli, market: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[gates]\nwindow = 1\nspan = 0.001\n")
    said = cli.ok("readiness", "--dir", str(market), "--policy", str(policy))
    assert "READY" in said.out
    assert "12 of 12 ready" in said.out
    first, weaker = (next(x for x in said.out.splitlines() if w in x) for w in ("READY", "weaker"))
    assert "SYNTHETIC" in first
    assert "WEAKER policy" in first
    assert weaker.endswith("than the default: window, span")
    page = cli.ok("readiness", "--dir", str(market), "--policy", str(policy), "--html", "-").out
    assert "WEAKER POLICY: lets more pass than the default in window, span." in page
    said = cli("readiness", "--dir", str(market))
    assert said.code == 1
    assert "NOT READY" in said.out
    assert "≥ 48.00 h" in said.out
    assert said.err == ""


def test_json_has_one_shape(cli: Cli, market: Path) -> None:
    found = cli("readiness", "--dir", str(market), "--symbols", "BTCUSDT", "-o", "json").json
    assert set(found) == {"verdict", "policy", "window", "gates", "parity", "symbols", "weaker"}
    assert set(found["gates"][0]) == {
        "gate", "passed", "value", "limit", "unit", "why", "failing", "unknown", "worst",
    }  # fmt: skip
    assert [gate["gate"] for gate in found["gates"]] == [
        "window", "passes", "gap", "ok", "stale", "flips", "span", "clamps", "gross", "step",
        "written_back", "parity", "chain", "drill",
    ]  # fmt: skip
    assert set(found["parity"]) == {
        "decisions", "proposals", "unproven", "uncounted", "differences", "listed", "limits",
        "rules",
    }  # fmt: skip
    assert [set(each) for each in found["symbols"]] == [{"symbol", "verdict", "gates"}]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--symbols", "NOSUCH"), 1, "symbol NOSUCH is in no pass"),
        (("--policy", "/nowhere.toml"), 5, "/nowhere.toml can't be read"),
        (("--dir", "/nowhere/at/all"), 1, "/nowhere/at/all"),
    ],
)
def test_bad_input_is_one_line(
    cli: Cli, market: Path, args: tuple[str, ...], code: int, words: str
) -> None:
    said = cli("readiness", "--dir", str(market), *args)
    assert (said.code, said.out) == (code, "")
    assert words in said.err
    assert len(said.err.splitlines()) == 1


def test_each_planted_fault_fails_exactly_its_own_gate(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fault for each gate; all of them with TESTS_LONG=1."""
    from qtctl.evidence.policy import RULES
    from qtctl.simulate import selftest

    if os.environ.get("TESTS_LONG") != "1":
        first = {(each.gate, each.verdict): name for name, each in selftest.FAULTS.items()}
        faults = {name: selftest.FAULTS[name] for name in first.values()}
        monkeypatch.setattr(selftest, "FAULTS", faults)
    found = cli.ok("readiness", "selftest", "-o", "json").json
    for each in found:
        own = [each["expected"]] * bool(each["expected"])
        if each["verdict"] == "NOT READY":
            assert each["failed"] == own
        else:
            assert (each["failed"], each["unknown"]) == ([], own)
    failed = {each["expected"] for each in found if each["verdict"] == "NOT READY"}
    assert failed == set(RULES)


def test_a_gate_that_sees_nothing_is_noticed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from qtctl.evidence import gate_values
    from qtctl.evidence.gate_values import Value
    from qtctl.simulate import selftest

    faults = {name: selftest.FAULTS[name] for name in ("clean", "broken seal")}
    monkeypatch.setattr(selftest, "FAULTS", faults)
    monkeypatch.setattr(gate_values, "chain_breaks", lambda history, window: Value(0))
    said = cli("readiness", "selftest")
    assert said.code == 1
    assert "Not as it must be: broken seal." in said.err


@pytest.mark.parametrize(
    ("text", "weaker"),
    [
        ("[gates]\nok = 0.95\nflips = 0.5\n[follow]\ndeadband = 0.01\nstep_limit = 0.5\n", []),
        ("[gates]\nok = 0.89\nflips = 1.1\n", ["ok", "flips"]),
        ("[follow]\ndeadband = 0.03\nstep_limit = 0.1\n", ["deadband", "step_limit"]),
    ],
)
def test_what_lets_more_pass_than_the_default_is_weaker(
    text: str, weaker: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    assert policies.load(path).weaker() == weaker
