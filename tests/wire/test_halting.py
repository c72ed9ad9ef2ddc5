"""The steps of a halt: what is set, what it covers, which permits go, and what puts it back."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from qtctl.domain.reasons import Reason, Verdict
from qtctl.errors import ServerRefusedError
from qtctl.wire.client import scripts
from qtctl.wire.client.store import Store
from qtctl.wire.control import halt, kill_switch
from qtctl.wire.control.halt import HaltRequest, Refused
from qtctl.wire.control.kill_switch import Mode
from qtctl.wire.control.permits import take_permit
from qtctl.wire.queries import permits
from qtctl.wire.schema.keys import PERMIT, Keys
from qtctl.wire.schema.kill_names import KillNames
from qtctl.wire.schema.service import ServiceRecord
from tests.support.plans import NAMES, decision, dump, events, fields, judge, permit
from tests.support.processes import until

OWN = "quantum:governor:halt"
CLOSE = {"action": "FULL_CLOSE_PROPOSED", "reduceOnly": "true"}


def order(symbol: str = "", why: str = "test", names: KillNames = NAMES) -> HaltRequest:
    return HaltRequest("operator:alice@desk", why, names, 10_000, symbol)


def get(store: Store, key: str = OWN) -> str | None:
    found = store.run("GET", key)
    return None if found is None else found.decode()


def verdicts(store: Store, tag: str = "x") -> tuple[str, str]:
    """What becomes of an open and of a close now."""
    opens = judge(store, fields(plan_id=f"o{tag}"))
    closes = judge(store, fields(plan_id=f"c{tag}", **CLOSE))
    return opens.verdict.value, closes.verdict.value


@pytest.mark.parametrize(
    ("everything", "value", "expected"),
    [(False, "reduce_only", ("blocked", "permitted")), (True, "all", ("blocked", "blocked"))],
    ids=["opens", "everything"],
)
def test_a_halt_stops_the_very_next_plan(
    store: Store, everything: bool, value: str, expected: tuple[str, str]
) -> None:
    assert verdicts(store, "1") == ("permitted", "permitted")
    set_ = halt.stop(store, order(), everything)
    assert (set_.name, set_.was, set_.value, get(store)) == (
        "governor:halt",
        "normal",
        value,
        value,
    )
    assert verdicts(store, "2") == expected
    assert decision(store, "o2")["kill_key"] == OWN
    assert decision(store, "o2")["kill_value"] == value


def test_who_why_since_and_what_was_there_before_are_kept_and_told(store: Store) -> None:
    store.run("SET", OWN, "off")
    at = store.now_ms() / 1000
    halt.stop(store, order(why="feed is wrong"), False)
    (row,) = [row for row in kill_switch.read(store, NAMES) if row.mode is not Mode.NORMAL]
    assert (row.key, row.mode, row.who, row.why) == (
        OWN, Mode.REDUCE_ONLY, "operator:alice@desk", "feed is wrong",
    )  # fmt: skip
    assert row.since is not None
    assert 0 <= row.since - at < 60
    assert row.record is not None
    assert row.record.before == "off"
    assert [event for event in events(store) if event["event"] == "halted"] == [
        {"event": "halted", "plan_id": "", "symbol": "", "reason": "feed is wrong",
         "ts": str(int(row.since)), "actor": "operator:alice@desk", "key": "governor:halt",
         "value": "reduce_only", "before": "off"}
    ]  # fmt: skip


@pytest.mark.parametrize("there", ["all", " ALL "])
@pytest.mark.parametrize("everything", [False, True], ids=["opens", "everything"])
def test_a_halt_never_loosens_what_is_there(store: Store, there: str, everything: bool) -> None:
    store.run("SET", OWN, there, "EX", 100)
    set_ = halt.stop(store, order(), everything)
    assert (set_.was, set_.value, get(store)) == ("other", there, there)
    assert store.run("PTTL", OWN) == -1, "a value that runs out would end the stop"
    assert verdicts(store) == ("blocked", "blocked")


def test_a_halt_over_what_the_drawdown_guard_set_does_not_trap_closes(store: Store) -> None:
    store.run("SET", OWN, "1")
    assert verdicts(store, "1") == ("blocked", "permitted")
    assert halt.stop(store, order(), False).value == "1"
    assert verdicts(store, "2") == ("blocked", "permitted"), "its record vouches for no more"
    assert halt.stop(store, order(), True).value == "all"
    assert verdicts(store, "3") == ("blocked", "blocked")
    assert resumed(store) == [("governor:halt", "all", "1")]
    assert verdicts(store, "4") == ("blocked", "permitted")


def test_under_a_kill_key_everything_is_stopped_by_1(store: Store) -> None:
    order_ = order(names=KillNames(("ours",)))
    assert (halt.stop(store, order_, True).name, get(store, "quantum:ours")) == ("ours", "1")


def test_a_halt_again_keeps_who_and_since_and_a_stricter_one_takes_over(store: Store) -> None:
    halt.stop(store, order(why="first"), False)
    first = kill_switch.strictest(kill_switch.read(store, NAMES))
    again = halt.stop(store, order(why="second"), False)
    assert (again.was, again.record.why) == ("ours", "first")
    assert kill_switch.strictest(kill_switch.read(store, NAMES)) == first
    assert halt.stop(store, order(why="third"), True).record.why == "third"
    assert (halt.stop(store, order(why="fourth"), False).value, get(store)) == ("all", "all")
    assert [event["before"] for event in events(store)] == ["", "reduce_only", "reduce_only", "all"]


def test_a_reason_that_comes_later_is_kept_with_the_first_halt(store: Store) -> None:
    since = halt.stop(store, order(why=""), False).record.since
    record = halt.stop(store, order(why="feed is wrong"), False).record
    assert (record.why, record.since) == ("feed is wrong", since)


def test_a_key_of_another_type_is_left_alone_and_stops_everything(store: Store) -> None:
    store.run("SADD", OWN, "x")
    before = dump(store, [OWN])
    assert halt.stop(store, order(), False).was == "another_type"
    assert dump(store, [OWN]) == before
    assert verdicts(store) == ("blocked", "blocked")
    row = kill_switch.strictest(kill_switch.read(store, NAMES))
    assert row is not None
    assert (row.key, row.mode, row.record) == (OWN, Mode.HALTED, None)
    assert isinstance(halt.resume(store, order()), Refused)


@pytest.mark.parametrize("broken", ["halt_records", "events"])
def test_the_stop_stands_where_its_record_or_event_can_not_be_written(
    store: Store, broken: str
) -> None:
    store.run("SET", getattr(store.keys, broken), "in the way")
    set_ = halt.stop(store, order(), False)
    assert "WRONGTYPE" in set_.problem
    assert get(store) == "reduce_only"


@pytest.fixture
def full(store: Store) -> Iterator[None]:
    """No memory is left: every command that needs some is refused."""
    store.run("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(ServerRefusedError, match="memory"):
        store.run("SET", "x", "y")
    yield
    store.run("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.usefixtures("full")
def test_a_halt_needs_no_memory_to_be_left(store: Store) -> None:
    assert halt.stop(store, order(), False).problem == ""
    assert get(store) == "reduce_only"


def test_a_server_that_knows_no_flags_of_scripts_is_given_none(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget() -> None:
        scripts.source.cache_clear()
        scripts.digest.cache_clear()

    with monkeypatch.context() as patch:
        patch.setitem(scripts.FLAGS, "halt", "a line that is no Lua\n")
        forget()
        try:
            halt.stop(store, order(), False)
        finally:
            forget()
    assert get(store) == "reduce_only"


# One symbol ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("everything", "expected"),
    [(False, ("blocked", "permitted")), (True, ("blocked", "blocked"))],
    ids=["opens", "everything"],
)
def test_a_symbol_is_stopped_for_itself(
    store: Store, everything: bool, expected: tuple[str, str]
) -> None:
    judge(store, fields(plan_id="eth", symbol="ETHUSDT"))
    judge(store, fields(plan_id="btc"))
    order_ = order("BTCUSDT")
    halt.stop(store, order_, everything)
    assert halt.withdraw(store, order_).opens == 1
    assert (permit(store, "btc"), permit(store, "eth") is not None) == (None, True)
    assert verdicts(store) == expected
    record = decision(store, "ox")
    assert (record["kill_key"], record["kill_value"]) == (
        store.keys.halted_symbols, "all" if everything else "reduce_only",
    )  # fmt: skip
    assert judge(store, fields(plan_id="e2", symbol="ETHUSDT")).verdict is Verdict.PERMITTED
    (row,) = [row for row in kill_switch.read(store, NAMES) if row.symbol]
    assert (row.symbol, row.who, row.why) == ("BTCUSDT", "operator:alice@desk", "test")
    assert kill_switch.strictest([row]) is None, "not all of them"
    assert kill_switch.strictest([row], "BTCUSDT") == row
    assert kill_switch.strictest([row], "ETHUSDT") is None


def test_the_strictest_of_symbol_and_kill_keys_wins(store: Store) -> None:
    store.run("SET", "quantum:kill", "reduce_only")
    halt.stop(store, order("BTCUSDT"), True)
    assert verdicts(store) == ("blocked", "blocked")
    assert decision(store, "ox")["kill_key"] == store.keys.halted_symbols
    assert judge(store, fields(plan_id="e", symbol="E", **CLOSE)).verdict is Verdict.PERMITTED


def test_stopped_symbols_of_another_type_stop_every_symbol(store: Store) -> None:
    store.run("SET", store.keys.halted_symbols, "x")
    assert verdicts(store) == ("blocked", "blocked")
    row = kill_switch.strictest(kill_switch.read(store, NAMES))
    assert row is not None
    assert (row.key, row.mode) == (store.keys.halted_symbols, Mode.HALTED)


@pytest.mark.parametrize("symbol", ["Z" * 64, "Ω" * 64])
def test_a_long_symbol_is_stopped_and_its_permit_taken_back(store: Store, symbol: str) -> None:
    judge(store, fields(plan_id="before", symbol=symbol))
    halt.stop(store, order(symbol), False)
    assert halt.withdraw(store, order(symbol)).opens == 1
    assert judge(store, fields(plan_id="after", symbol=symbol)).reason is Reason.KILL_SWITCH
    (taken, _) = halt.resume(store, order(symbol))  # type: ignore[misc]
    assert len(taken) == 1
    assert judge(store, fields(plan_id="again", symbol=symbol)).verdict is Verdict.PERMITTED


# Permits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["json", "hash"])
def test_open_permits_that_nobody_has_taken_are_withdrawn(store: Store, encoding: str) -> None:
    for number in range(5):
        judge(store, fields(plan_id=f"o{number}"), encoding=encoding)
    judge(store, fields(plan_id="c", **CLOSE), encoding=encoding)
    assert take_permit(store, "o0") is not None
    store.run("DEL", store.keys.at(PERMIT, "o1"))  # As a consumer that knows no index takes it.
    assert halt.withdraw(store, order(), dry_run=True).opens == 3
    assert len(permits.listed(store)) == 4
    done = halt.withdraw(store, order())
    assert (done.opens, done.closes, done.unknown, done.problems) == (3, 1, (), ())
    assert [held.plan_id for held in permits.listed(store)] == ["c"]
    assert store.run("ZRANGE", store.keys.permits, 0, -1) == [b"o1", b"c"]
    for plan_id, withdrawn in (("o0", False), ("o1", False), ("o2", True), ("c", False)):
        record = decision(store, plan_id)
        assert record["verdict"] == "permitted"
        assert ("withdrawn_at" in record) == withdrawn
    told = [event for event in events(store) if event["event"] == "withdrawn"]
    assert sorted(event["plan_id"] for event in told) == ["o2", "o3", "o4"]
    assert {(event["reason"], event["actor"], event["symbol"]) for event in told} == {
        ("kill_switch_active", "operator:alice@desk", "BTCUSDT")
    }
    assert halt.withdraw(store, order()).opens == 0
    again = judge(store, fields(plan_id="o2"))
    assert again.reason is Reason.DUPLICATE_PLAN, "withdrawn is issued: never a second one"


def test_a_permit_whose_decision_is_gone_is_left_and_named(store: Store) -> None:
    judge(store, fields(plan_id="lost"))
    store.run("DEL", "quantum:governor:decision:lost")
    store.run("ZADD", store.keys.permits, store.now_ms() / 1000 + 60, "p33:theirs")
    store.run("SET", "quantum:permit:p33:theirs", "x")
    assert halt.withdraw(store, order()).unknown == ("lost",)
    assert get(store, "quantum:permit:p33:theirs") == "x"


def test_many_permits_are_withdrawn_in_small_steps(store: Store) -> None:
    count = 3_000
    at = store.now_ms() / 1000 + 60
    flat = ("verdict", "permitted", "kind", "open", "symbol", "BTCUSDT")
    for number in range(count):
        store.run("ZADD", store.keys.permits, at, f"p{number}")
    store.batch([("SET", store.keys.at(PERMIT, f"p{n}"), "{}") for n in range(count)])
    store.batch([("HSET", f"quantum:governor:decision:p{n}", *flat) for n in range(count)])
    assert halt.withdraw(store, order()).opens == count
    assert permits.listed(store) == []


def test_a_permit_is_taken_or_withdrawn_and_never_both(redis_url: str, store: Store) -> None:
    ids = [f"p{number}" for number in range(400)]
    for plan_id in ids:
        judge(store, fields(plan_id=plan_id))
    taken: list[str] = []
    begin = threading.Barrier(3)

    def take(mine: list[str]) -> None:
        own = Store(redis_url, Keys())
        begin.wait()
        taken.extend(plan_id for plan_id in mine if take_permit(own, plan_id) is not None)
        own.close()

    takers = [threading.Thread(target=take, args=(order_,)) for order_ in (ids, ids[::-1])]
    for taker in takers:
        taker.start()
    begin.wait()
    halt.stop(store, order(), False)
    done = halt.withdraw(store, order())
    for taker in takers:
        taker.join()
    withdrawn = {plan_id for plan_id in ids if "withdrawn_at" in decision(store, plan_id)}
    assert len(taken) == len(set(taken))
    assert withdrawn.isdisjoint(taken)
    assert withdrawn | set(taken) == set(ids)
    assert len(withdrawn) == done.opens


# Governors that read other keys ----------------------------------------------------------------


def governor(name: str, **settings: Any) -> ServiceRecord:
    return ServiceRecord("governor", name, "0.1.0", "h", "1", 1, 1, settings, "", "")


@pytest.mark.parametrize(
    ("read", "more"),
    [
        ([["kill", "governor:halt"]], []),
        ([["mine"]], ["mine"]),
        ([["mine", "other"], ["other"]], ["mine", "other"]),
        ([["mine", "governor:halt"], ["mine"], ["mine"]], ["mine"]),
        ([[]], []),
        (["?"], []),
    ],
)
def test_every_governor_gets_a_key_that_it_reads(read: list[Any], more: list[str]) -> None:
    alive = [governor(f"g{i}", kill_keys=names) for i, names in enumerate(read)]
    assert halt.lacking(alive, ["governor:halt"]) == more


# Going on --------------------------------------------------------------------------------------


def resumed(store: Store, **more: Any) -> list[tuple[str, str, str]]:
    done = halt.resume(store, order(), **more)
    assert not isinstance(done, Refused), done
    return [(each.name, each.value, each.restored) for each in done[0]]


def test_a_resume_takes_back_what_halt_has_set_and_says_so(store: Store) -> None:
    halt.stop(store, order(), False)
    assert resumed(store, dry_run=True) == [("governor:halt", "reduce_only", "")]
    assert get(store) == "reduce_only"
    assert resumed(store) == [("governor:halt", "reduce_only", "")]
    assert get(store) is None
    assert store.run("EXISTS", store.keys.halt_records) == 0
    assert verdicts(store) == ("permitted", "permitted")
    (event,) = [event for event in events(store) if event["event"] == "resumed"]
    assert event["reason"] == "test"
    assert (event["key"], event["value"], event["before"]) == ("governor:halt", "", "reduce_only")
    assert resumed(store) == []


@pytest.mark.parametrize("lifetime", [False, True], ids=["for ever", "with a lifetime"])
def test_a_resume_puts_back_what_was_there_before(store: Store, lifetime: bool) -> None:
    store.run("SET", OWN, "reduce_only", *(("EX", 100) if lifetime else ()))
    halt.stop(store, order(), True)
    halt.stop(store, order(), True)
    assert resumed(store) == [("governor:halt", "all", "reduce_only")]
    assert get(store) == "reduce_only"
    left = store.run("PTTL", OWN)
    assert 90_000 < left <= 100_000 if lifetime else left == -1
    assert isinstance(halt.resume(store, order()), Refused)


def test_what_would_have_run_out_meanwhile_is_not_put_back(store: Store) -> None:
    store.run("SET", OWN, "1", "PX", 30)
    halt.stop(store, order(), False)
    until(lambda: not resumed(store, dry_run=True)[0][2])
    assert resumed(store) == [("governor:halt", "1", "")]
    assert get(store) is None


@pytest.mark.parametrize("key", ["quantum:kill", "quantum:global:kill_switch"])
@pytest.mark.parametrize("symbol", ["", "BTCUSDT"])
def test_a_resume_is_refused_while_somebody_elses_stop_is_in_force(
    store: Store, key: str, symbol: str
) -> None:
    halt.stop(store, order(symbol), False)
    store.run("SET", key, "true")
    before = dump(store, [OWN, store.keys.halted_symbols, store.keys.halt_records])
    for forced in (False, True):
        assert halt.resume(store, order(symbol), forced=forced) == Refused(key, "true")
    assert dump(store, list(before)) == before


def test_a_value_by_hand_under_our_key_is_refused_unless_forced(store: Store) -> None:
    halt.stop(store, order(), False)
    store.run("SET", OWN, "stop!")
    row = kill_switch.strictest(kill_switch.read(store, NAMES))
    assert row is not None
    assert row.record is None, "the record is about another value"
    assert halt.resume(store, order()) == Refused(OWN, "stop!")
    assert resumed(store, forced=True) == [("governor:halt", "stop!", "")]
    assert get(store) is None


def test_a_resume_finds_keys_that_only_the_record_names(store: Store) -> None:
    """Set because a governor read no other; the operator's own settings do not name it."""
    halt.stop(store, order(), False)
    halt.stop(store, order(), False, "theirs")
    rows = kill_switch.read(store, NAMES)
    assert [row.key for row in rows if row.mode.level] == [OWN, "quantum:theirs"]
    assert {name for name, _, _ in resumed(store)} == {"governor:halt", "theirs"}
    assert get(store, "quantum:theirs") is None


@pytest.mark.parametrize("record", ["", "{", "[]", '{"value": 1}', "null", '{"value":"\\ud800"}'])
def test_a_broken_record_breaks_nothing(store: Store, record: str) -> None:
    store.run("SET", OWN, "1")
    store.run("HSET", store.keys.halt_records, "governor:halt", record, b"\xff", b"\xff")
    (row,) = [row for row in kill_switch.read(store, NAMES) if row.mode.level]
    assert row.record is None
    assert isinstance(halt.resume(store, order()), Refused)
    assert halt.stop(store, order(), False).was == "other"
