"""The table at the top of the atomic step, what the step calls its keys and arguments, and the
order in which Python sends them: three lists that must be one."""

import re
from typing import Any

import pytest

from qtctl.domain.gates import GATES
from qtctl.wire.client.scripts import source
from qtctl.wire.client.store import Store
from qtctl.wire.governor import commit
from qtctl.wire.schema import keys
from qtctl.wire.schema.decision import DECISION_DYNAMIC, static_fields
from tests.support import plans

SCRIPT = source(commit.STEP)
HEADER = SCRIPT[: SCRIPT.index("local ")]


def table(name: str) -> list[str]:
    """The names in the first column of a part of the header."""
    part = HEADER[HEADER.index(f"\n-- {name} ") :].split("\n--\n")[0]
    return [row for row in re.findall(r"^--   (\S+)", part, re.MULTILINE) if row != "…"]


def unpacked(name: str) -> list[str]:
    """What the script itself calls them."""
    (names,) = re.findall(rf"^local ([\w\s,]+?) = unpack\({name}\)", SCRIPT, re.MULTILINE)
    return re.split(r",\s*", names)


@pytest.fixture
def sent(store: Store) -> tuple[list[str], list[str]]:
    """The names of the keys and arguments, in the order in which they are sent."""
    case: Any = plans.case(plans.read(plans.fields()), "1-0")
    settings = plans.settings(store)
    static = static_fields(case)
    names = [*commit.own_keys(store, case.plan), *commit.shared_keys(store, settings)]
    arguments = [
        *commit.shared_arguments(settings, commit.ServerMarks()),
        *commit.own_arguments(case, static, settings.limits),
    ]
    return names, arguments


def test_every_key_is_in_the_table_in_the_order_in_which_it_is_sent(
    sent: tuple[list[str], list[str]],
) -> None:
    assert table("KEYS") == unpacked("KEYS") == sent[0]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "btcUSDT", "ßıétc"])
def test_the_keys_of_a_plan_are_those_of_the_contract(store: Store, symbol: str) -> None:
    plan: Any = plans.read(plans.fields(symbol=symbol, plan_id="p:é"))
    specs = {"PERMIT": keys.PERMIT, "DECISION": keys.DECISION, "BLOCK": keys.BLOCK,
             "LEDGER": keys.LEDGER, "LAST_CLOSE": keys.LAST_CLOSE,
             "EFFICIENCY": keys.EFFICIENCY}  # fmt: skip
    assert commit.own_keys(store, plan) == {
        name: store.keys.at(spec, plan.symbol if "{symbol}" in spec.template else plan.plan_id)
        for name, spec in specs.items()
    }


def test_every_argument_is_in_the_table_in_the_order_in_which_it_is_sent(
    sent: tuple[list[str], list[str]],
) -> None:
    assert (
        table("ARGV")
        == unpacked("ARGV")
        == [*sent[1], "permit_from", "history_from", "record_from", "hint_from"]
    )


def test_what_the_step_finds_has_the_order_of_the_record() -> None:
    (found,) = re.findall(r"^local dynamic = \{\n(.*?)^\}", SCRIPT, re.MULTILINE | re.DOTALL)
    names = {"decided_at": "now", "queued_before_server": "before_server",
             "opens_total_5min": "opens_total"}  # fmt: skip
    rows = found.splitlines()
    assert len(rows) == len(DECISION_DYNAMIC)
    for (name, _), row in zip(DECISION_DYNAMIC, rows, strict=True):
        assert re.search(rf"\b{names.get(name, name.removesuffix('_sec'))}", row), name


def test_the_step_has_every_gate_that_is_its_own_in_their_order() -> None:
    words = re.findall(r"'(\w+)'", SCRIPT)
    order = [word for word in words if word in {gate.reason.value for gate in GATES}]
    first_seen = list(dict.fromkeys(order))
    expected = [gate.reason.value for gate in GATES if not gate.plan_alone]
    assert first_seen == [word for word in expected if word != "invalid_plan"]
