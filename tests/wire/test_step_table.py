"""The table at the top of the atomic step, what the step calls its keys and arguments, and the
order in which Python sends them: three lists that must be one."""

import re
from typing import Any

import msgspec
import pytest

from qtctl.domain.gates import GATES
from qtctl.wire.client.scripts import source
from qtctl.wire.client.store import Store
from qtctl.wire.governor import commit
from qtctl.wire.schema import keys
from qtctl.wire.schema.decision import DECISION_DYNAMIC, history_fields, static_fields
from qtctl.wire.schema.packing import packed_parts, packed_words, words_of
from qtctl.wire.schema.records import HINT
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


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("maxlen", [0, 1_000])
@pytest.mark.parametrize("encoding", ["json", "hash"])
def test_each_list_behind_the_own_arguments_begins_where_the_step_is_told(
    store: Store, encoding: str, maxlen: int, scored: bool
) -> None:
    plan = plans.read(plans.fields(symbol="ßıét" * 16, source="x" * 100))
    request = plans.case(plan, "1-0") if scored else plans.unscored(plan, "1-0")
    settings, marks = plans.settings(store, encoding=encoding), commit.ServerMarks()
    marks = msgspec.structs.replace(marks, decisions_maxlen=maxlen)
    shared = [str(each) for each in commit.shared_arguments(settings, marks).values()]
    own = commit.own_parts(request, settings, marks, len(shared))
    sent = words_of(own.parts)
    assert len(sent) == own.count
    assert packed_parts(own.parts) == packed_words(sent), "also of what is packed once for all"
    assert own.static == static_fields(request)
    argv = [*shared, *sent]
    names = unpacked("ARGV")
    permit, history, record, hint = (int(word) - 1 for word in argv[len(names) - 4 : len(names)])
    assert permit == len(names)
    assert len(argv[permit:history]) == (2 if encoding == "json" else 14)
    assert argv[history:record] == (history_fields(request) if maxlen else [])
    found = [part for name, _ in DECISION_DYNAMIC for part in (name, "")]
    assert argv[record:] == ["verdict", "", "reason", "", *static_fields(request), *found]
    assert argv[hint : hint + 16 : 2] == [field.name for field in HINT]
    assert argv[hint + 16] == "eff_age_sec"
