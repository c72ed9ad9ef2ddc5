"""Bad input at volume: whatever lies in Redis, no loop stops, nothing is dropped without a trace,
and a second reading of the rules agrees on every entry.

`TESTS_LONG=1` makes 100,000 inputs of the 5,000, `TESTS_SEED` another series of them.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from qtctl.services.governor import Governor
from qtctl.wire.client.store import Store
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.schema.keys import (
    BLOCK,
    DECISION,
    EFFICIENCY,
    GROUP,
    LEDGER,
    LIMITS,
    PERMIT,
    PROPOSED,
    TARGET,
    Keys,
)
from qtctl.wire.schema.records import pairs, text
from tests.faults import hostile, reference, scenes
from tests.faults.reference import Raw
from tests.services.helpers import allocation, governor, send

LONG = os.environ.get("TESTS_LONG") == "1"
SEED = int(os.environ.get("TESTS_SEED", hostile.SEED))
TIMES = 20 if LONG else 1
PLANS, HASHES, EXAMPLES = 3_000 * TIMES, 700 * TIMES, 150 * TIMES
BATCH = 250

pytestmark = pytest.mark.timeout(1800 if LONG else 120)


@pytest.fixture
def service(store: Store) -> Iterator[Governor]:
    made = governor(store)
    yield made
    made.close()


# Plans ------------------------------------------------------------------------------------------


def put(store: Store, entries: list[Raw]) -> list[str]:
    added = store.batch([("XADD", store.keys.plans, "*", *_flat(entry)) for entry in entries])
    return [text(id_) for id_ in added]


def _flat(entry: Raw) -> list[bytes]:
    return [part for pair in entry for part in pair]


def serve_and_check(store: Store, service: Governor, entries: list[Raw]) -> int:
    """Puts these entries on an empty stream and serves them; how many could be read."""
    store.run("FLUSHALL")
    ids = put(store, entries)
    service.open()
    assert service.once(), "something stayed pending"
    rejected = store.run("XRANGE", store.keys.rejected, "-", "+")
    told: dict[str, Any] = {}
    for _, row in rejected:
        assert told.setdefault(text(row[3]), row) is row, "kept twice"
    read = [reference.plan(entry) for entry in entries]
    execute = [plan for plan in read if plan is not None and plan.execute]
    found = dict(zip(execute, _decisions(store, execute), strict=True))
    for id_, entry, plan in zip(ids, entries, read, strict=True):
        assert (id_ in told) == (plan is None), f"{id_}: {_short(entry)}"
        if plan is None:
            assert told[id_] == _as_kept(id_, entry, told[id_][7]), _short(entry)
        elif plan.execute:
            _check_decision(id_, plan, found[plan], entry)
    return sum(plan is not None for plan in read)


def _decisions(store: Store, plans: list[reference.Read]) -> list[dict[str, str]]:
    keys = [store.keys.at(DECISION, plan.plan_id) for plan in plans]
    return [pairs(raw) for raw in store.batch([("HGETALL", key) for key in keys])]


def _as_kept(id_: str, entry: Raw, problem: bytes) -> list[bytes]:
    assert problem.decode(), "the reason stands there, in words"
    head = [b"reason", b"invalid_plan", b"entry_id", id_.encode(), b"sha256",
            reference.digest(entry), b"problem", problem]  # fmt: skip
    return head + _flat(reference.kept(entry))


def _check_decision(id_: str, plan: reference.Read, record: dict[str, str], entry: Raw) -> None:
    assert record.get("verdict") in ("permitted", "blocked"), f"lost: {_short(entry)}"
    if record["entry_id"] != id_:
        return  # Another entry of the same plan came before.
    assert record["kind"] == plan.kind, _short(entry)
    for name in ("qty", "price", "kill_score"):
        value = getattr(plan, name)
        assert record[name] == ("" if value is None else repr(value)), (name, _short(entry))


def _short(entry: Raw) -> str:
    return repr([(name[:80], value[:80]) for name, value in entry[:40]])


def test_whatever_is_sent_as_a_plan_is_decided_or_kept_as_rejected(
    store: Store, service: Governor
) -> None:
    print(f"seed {SEED}, {PLANS} plans")  # noqa: T201 - shown where it fails
    fuzzer = hostile.Fuzzer(SEED)
    readable = 0
    for _ in range(PLANS // BATCH):
        readable += serve_and_check(store, service, [fuzzer.plan() for _ in range(BATCH)])
    assert PLANS * 0.2 < readable < PLANS * 0.8, "the fuzzer makes only one sort"


odd_values = (
    st.sampled_from([*hostile.NUMERALS, *hostile.CONTROL, *hostile.NOT_UTF8, *hostile.WORDS])
    | st.binary(max_size=80)
    | st.text(max_size=70).map(lambda value: value.encode("utf-8", "surrogatepass"))
    | st.floats().map(lambda value: repr(value).encode())
    | st.datetimes().map(lambda value: value.isoformat().encode())
)
plain = st.fixed_dictionaries(
    {
        b"plan_id": st.sampled_from([b"h1", b"h2", b"h3"]),
        b"symbol": st.just(b"BTCUSDT"),
        b"decision": st.just(b"EXECUTE"),
    }
)
odd_entries = st.builds(
    lambda known, odd, more: [*(known | odd).items(), *more],
    plain,
    st.dictionaries(st.sampled_from(hostile.NAMES), odd_values, max_size=3),
    st.lists(st.tuples(st.sampled_from(hostile.NAMES) | odd_values, odd_values), max_size=2),
)


@given(entries=st.lists(odd_entries, min_size=1, max_size=6))
@example(entries=[[(b"plan_id", b"h"), (b"symbol", b"B"), (b"decision", b"EXECUTE"), (b"", b"")]])
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_shape_of_a_plan_is_lost_or_stops_the_governor(
    store: Store, service: Governor, entries: list[Raw]
) -> None:
    serve_and_check(store, service, entries)


@pytest.mark.parametrize(
    "entry_id",
    ["0-1", "1-18446744073709551615", "99999999999-0", "9007199254740993-0",
     "18446744073709551614-1", "18446744073709551615-18446744073709551615"],
)  # fmt: skip
def test_an_entry_with_an_odd_id_is_settled_and_what_follows_too(
    store: Store, service: Governor, entry_id: str
) -> None:
    bad = ("plan_id", "o2", "symbol", "", "decision", "EXECUTE")
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, "0", "MKSTREAM")
    good = ("plan_id", "o1", "symbol", "BTCUSDT", "decision", "EXECUTE")
    store.run("XADD", store.keys.plans, entry_id, *good)
    follows = not entry_id.endswith("18446744073709551615") or entry_id.startswith("1-")
    if follows:
        store.run("XADD", store.keys.plans, "*", *bad)
        store.run("XADD", store.keys.plans, "*", *("plan_id", "o3"), *good[2:])
    service.open()
    assert service.once()
    if follows:
        assert store.run("EXISTS", store.keys.at(DECISION, "o3")) == 1
        assert store.run("XLEN", store.keys.rejected) == 1


# Scores and targets -----------------------------------------------------------------------------


def test_whatever_lies_under_scores_and_targets_a_pass_makes_the_proposals_that_can_be_made(
    store: Store,
) -> None:
    print(f"seed {SEED}, {HASHES} targets and as many scores")  # noqa: T201
    fuzzer = hostile.Fuzzer(SEED)
    loop = allocation(store)
    made = 0
    for _ in range(HASHES // BATCH + 1):
        store.run("FLUSHALL")
        made += _one_pass(store, loop, fuzzer, min(BATCH, HASHES))
    loop.close()
    assert made > 0.2 * HASHES, "the fuzzer spoils everything"


def _one_pass(store: Store, loop: Any, fuzzer: hostile.Fuzzer, count: int) -> int:
    now = store.now_ms() / 1000
    scores: dict[str, Any] = {}
    targets: dict[str, Any] = {}
    for number in range(count):
        at = b"%d" % (int(now) - (40 if number % 7 else 4_000))
        value, confidence = b"0.%d" % (number % 10), b"0.%d" % (9 - number % 5)
        scores[f"S{number}"] = fuzzer.hash(
            {b"efficiency_score": value, b"confidence": confidence, b"ts": at}
        )
        targets[f"S{number}"] = fuzzer.hash({b"target_usd": b"%d.5" % number, b"timestamp": at})
    _write(store, EFFICIENCY, scores)
    _write(store, TARGET, targets)
    before = scenes.live(store)
    loop.open()
    loop.step()
    assert scenes.live(store) == before
    wanted = {}
    for symbol, target in targets.items():
        if not target:
            continue
        reason, score = reference.score(scores[symbol], now)
        usd = b"" if isinstance(target, str) else target.get(b"target_usd", b"")
        expected = reference.proposal(usd, reason, score)
        if expected is not None:
            wanted[symbol] = (*expected, reason)
    found = {}
    for symbol in store.scan(PROPOSED):
        row = pairs(store.run("HGETALL", store.keys.at(PROPOSED, symbol)))
        found[symbol] = (row["base_target"], row["proposed_target"], row["reason"])
    assert found == wanted
    return len(found)


def _write(store: Store, spec: Any, hashes: dict[str, Any]) -> None:
    """Writes them; now and then a key is of another type, which the mapping then says."""
    for number, (symbol, fields) in enumerate(hashes.items()):
        key = store.keys.at(spec, symbol)
        if number % 25 == 3:
            store.run(*OTHER_TYPES[number % len(OTHER_TYPES)](key))
            hashes[symbol] = "other"
        elif fields:
            store.run("HSET", key, *[part for pair in fields.items() for part in pair])


def _a_hash(key: str) -> tuple[Any, ...]:
    return ("HSET", key, "x", "y")


OTHER_TYPES = (
    lambda key: ("SET", key, "x"),
    lambda key: ("RPUSH", key, "x"),
    lambda key: ("SADD", key, "x"),
    lambda key: ("ZADD", key, 1, "x"),
    lambda key: ("XADD", key, "*", "x", "y"),
    _a_hash,
)


# Keys of a wrong type ---------------------------------------------------------------------------

KEYS = Keys()
IN_THE_WAY = {
    "decision": KEYS.at(DECISION, "p1"),
    "permit": KEYS.at(PERMIT, "p1"),
    "block": KEYS.at(BLOCK, "p1"),
    "ledger": KEYS.at(LEDGER, "S1"),
    "efficiency": KEYS.at(EFFICIENCY, "S1"),
    "limits": KEYS.at(LIMITS, "*"),
    "presence": KEYS.service("governor", "g1"),
    "rejected": KEYS.rejected,
}


@pytest.mark.parametrize("other", range(len(OTHER_TYPES)), ids=["string", "list", "set", "zset",
                                                                "stream", "hash"])  # fmt: skip
@pytest.mark.parametrize("name", IN_THE_WAY)
def test_a_key_of_a_wrong_type_costs_at_most_its_own_plan_and_only_while_it_is_there(
    store: Store, name: str, other: int
) -> None:
    service = governor(store)
    key = IN_THE_WAY[name].replace("*", service._limits_digest)
    store.run(*OTHER_TYPES[other](key))
    good = {"decision": "EXECUTE", "kill_score": "0.1"}
    for plan_id, symbol in (("p1", "S1"), ("p2", "S2"), ("bad", "")):
        send(store, good | {"plan_id": plan_id, "symbol": symbol})
    service.open()
    service.once()
    assert store.run("EXISTS", store.keys.at(PERMIT, "p2")) == 1, "another plan must not suffer"
    assert store.run("TYPE", store.keys.at(PERMIT, "p2")) == b"string"
    store.run("DEL", key)
    service.close()
    service.open()
    assert service.once()
    if (name, other) != ("decision", OTHER_TYPES.index(_a_hash)) and name != "permit":
        assert pairs(store.run("HGETALL", store.keys.at(DECISION, "p1"))).get("verdict")
    state = group_state(store)
    assert state is not None
    assert state.pending == 0
    service.close()
