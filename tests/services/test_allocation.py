"""The allocation loop on the real server: shadow only, and one symbol's trouble is its own."""

import json
import logging
from typing import Any

import pytest
from prometheus_client import generate_latest

from qtctl.services.allocation import AllocationLoop
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import PROPOSED, TARGET
from qtctl.wire.schema.records import pairs, text
from tests.services.helpers import allocation, messages, metric, score, target
from tests.support.plans import dump


@pytest.fixture
def loop(store: Store) -> Any:
    service = allocation(store)
    service.open()
    yield service
    service.close()


def proposal(store: Store, symbol: str) -> dict[str, str]:
    return pairs(store.run("HGETALL", store.keys.at(PROPOSED, symbol)))


def test_each_symbol_gets_one_entry_a_pass_and_the_latest_as_a_hash(
    store: Store, loop: AllocationLoop
) -> None:
    for symbol, value in (("BTCUSDT", "0.9"), ("ETHUSDT", "0.3"), ("币安人生USDT", "0.5")):
        target(store, symbol)
        score(store, symbol, value)
    before = store.now_ms() // 1000
    assert loop.step() == 3
    assert loop.step() == 3
    entries = [pairs(raw) for _, raw in store.run("XRANGE", store.keys.proposed_stream, "-", "+")]
    assert len(entries) == 6
    assert {e["symbol"]: e["proposed_target"] for e in entries} == {
        "BTCUSDT": "1400.00", "ETHUSDT": "800.00", "币安人生USDT": "1000.00",
    }  # fmt: skip
    assert proposal(store, "BTCUSDT")["multiplier"] == "1.4000"
    assert before <= int(entries[0]["ts_epoch"]) <= store.now_ms() // 1000
    assert 570 <= store.run("TTL", store.keys.at(PROPOSED, "BTCUSDT")) <= 600


def test_live_targets_stay_to_the_byte(store: Store, loop: AllocationLoop) -> None:
    target(store, "BTCUSDT")
    score(store, "BTCUSDT", "0.9")
    keys = [store.keys.at(TARGET, "BTCUSDT"), "quantum:capital:efficiency:BTCUSDT"]
    before = dump(store, keys)
    loop.step()
    assert dump(store, keys) == before


def test_a_proposal_is_not_taken_for_a_target(store: Store, loop: AllocationLoop) -> None:
    target(store, "BTCUSDT")
    store.run("HSET", "quantum:allocation:target:proposed:ETHUSDT", "target_usd", "5")
    store.run("HSET", "quantum:allocation:target:A B", "target_usd", "5")
    assert loop.step() == 1
    assert loop.step() == 1


def test_a_key_that_can_be_no_target_is_counted_and_named(
    store: Store, loop: AllocationLoop, caplog: pytest.LogCaptureFixture
) -> None:
    target(store, "BTCUSDT")
    store.run("HSET", "quantum:allocation:target:A B", "target_usd", "5")
    store.run("HSET", "quantum:allocation:target:proposed:X", "target_usd", "5")
    assert loop.step() == 1
    assert metric(loop, "p29_shadow_errors_total", kind="target") == 1
    (record,) = [r for r in caplog.records if "can't be used" in r.getMessage()]
    assert record.__dict__["fields"]["key"] == "quantum:allocation:target:A B"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("BTC/USDT:USDT", "has a colon"),
        ("old:BTCUSDT", "has a colon"),
        ("B*", "has '*' in it"),
        ("", "is empty"),
        ("X" * 70_000, "is longer than 64 characters"),
    ],
)
def test_only_our_own_proposals_are_silent_under_the_template(
    store: Store, loop: AllocationLoop, caplog: pytest.LogCaptureFixture, name: str, problem: str
) -> None:
    target(store, "BTCUSDT")
    target(store, name)
    target(store, "proposed:ETH/USDT:USDT")
    assert loop.step() == 1
    assert metric(loop, "p29_shadow_errors_total", kind="target") == 1
    (record,) = [r for r in caplog.records if "can't be used" in r.getMessage()]
    assert record.__dict__["fields"]["problem"] == f"its symbol {problem}"
    assert record.__dict__["fields"]["key"].startswith(f"quantum:allocation:target:{name[:80]}")
    assert len(record.__dict__["fields"]["key"]) < 130


def test_troubles_cost_no_other_symbol_its_proposal_and_are_counted(
    store: Store, loop: AllocationLoop
) -> None:
    for symbol in ("GOOD", "WRONGTYPE", "RENAMED", "NAN", "BLOCKEDKEY"):
        target(store, symbol)
    target(store, "NEGATIVE", "-5")
    target(store, "HUGE", "1.7e308")
    target(store, "WORD", "much")
    store.run("RPUSH", "quantum:allocation:target:LIST", "x")
    store.run("HSET", "quantum:allocation:target:NOFIELD", "usd", "5")
    score(store, "GOOD", "0.9")
    score(store, "HUGE", "1")
    score(store, "NAN", "nan")
    store.run("SET", "quantum:capital:efficiency:WRONGTYPE", "0.9")
    store.run("HSET", "quantum:capital:efficiency:RENAMED", "score", "0.9")
    store.run("SET", "quantum:allocation:target:proposed:BLOCKEDKEY", "in the way")
    assert loop.step() == 5
    reasons = {s: proposal(store, s)["reason"] for s in ("GOOD", "WRONGTYPE", "RENAMED", "NAN")}
    assert reasons == {
        "GOOD": "ok", "WRONGTYPE": "redis_error", "RENAMED": "redis_error", "NAN": "redis_error",
    }  # fmt: skip
    assert proposal(store, "NAN")["proposed_target"] == "1000.00"
    assert store.run("GET", store.keys.at(PROPOSED, "BLOCKEDKEY")) == b"in the way"
    assert metric(loop, "p29_shadow_errors_total", kind="efficiency") == 3
    assert metric(loop, "p29_shadow_errors_total", kind="target") == 5
    assert metric(loop, "p29_shadow_errors_total", kind="write") == 1
    loop.step()
    assert metric(loop, "p29_shadow_errors_total", kind="efficiency") == 6, "counted every time"


def test_a_trouble_is_logged_when_it_comes_changes_and_goes(
    store: Store, loop: AllocationLoop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    target(store, "BTCUSDT")
    score(store, "BTCUSDT", "high")
    for _ in range(3):
        loop.step()
    assert len(messages(caplog, "can't be used")) == 1
    fields = next(r.fields for r in caplog.records if hasattr(r, "fields"))
    assert fields["key"] == "quantum:capital:efficiency:BTCUSDT"
    assert "'high'" in fields["problem"]
    score(store, "BTCUSDT", "nan")
    loop.step()
    assert len(messages(caplog, "can't be used")) == 2
    score(store, "BTCUSDT", "0.5")
    loop.step()
    assert len(messages(caplog, "can be used again")) == 1


def test_without_permission_for_a_score_or_a_proposal_the_others_go_on(store: Store) -> None:
    for symbol in ("AAA", "BBB", "CCC"):
        target(store, symbol)
        score(store, symbol, "0.9")
    store.run(
        "ACL", "SETUSER", "alloc", "reset", "on", ">pw", "+@all",
        "%R~quantum:allocation:target:*", "%R~quantum:capital:efficiency:A*",
        "%R~quantum:capital:efficiency:C*", "~quantum:stream:*", "~quantum:qtctl:*",
        "%RW~quantum:allocation:target:proposed:A*", "%RW~quantum:allocation:target:proposed:B*",
    )  # fmt: skip
    limited = Store(store.url.replace("unix://", "unix://alloc:pw@"), store.keys)
    loop = allocation(limited)
    loop.open()
    assert loop.step() == 3
    assert proposal(store, "AAA")["reason"] == "ok"
    assert proposal(store, "BBB")["reason"] == "redis_error"
    assert proposal(store, "CCC") == {}
    assert metric(loop, "p29_shadow_errors_total", kind="write") == 1
    entries = [pairs(raw) for _, raw in store.run("XRANGE", store.keys.proposed_stream, "-", "+")]
    assert [e["symbol"] for e in entries] == ["AAA", "BBB"]
    loop.close()
    store.run("ACL", "DELUSER", "alloc")


def exposed(loop: AllocationLoop) -> str:
    return generate_latest(loop.registry).decode()


def test_the_nine_metrics_are_there_from_the_start(loop: AllocationLoop) -> None:
    page = exposed(loop)
    for name in (
        "p29_shadow_loops_total", "p29_shadow_proposed_total", "p29_shadow_multiplier",
        "p29_shadow_eff_confidence", "p29_shadow_eff_score", "p29_shadow_loop_duration_seconds",
        "p29_shadow_symbols", "p29_shadow_errors_total",
        "p29_shadow_last_success_timestamp_seconds",
    ):  # fmt: skip
        assert f"# TYPE {name} " in page
    assert "_created" not in page


def test_series_go_with_their_symbol_and_their_score(store: Store, loop: AllocationLoop) -> None:
    target(store, "BTCUSDT")
    target(store, "ETHUSDT")
    score(store, "BTCUSDT", "0.9")
    loop.step()
    assert metric(loop, "p29_shadow_eff_score", symbol="BTCUSDT") == 0.9
    assert metric(loop, "p29_shadow_eff_score", symbol="ETHUSDT") is None
    store.run("DEL", "quantum:capital:efficiency:BTCUSDT", store.keys.at(TARGET, "ETHUSDT"))
    loop.step()
    assert metric(loop, "p29_shadow_eff_score", symbol="BTCUSDT") is None
    assert metric(loop, "p29_shadow_multiplier", symbol="BTCUSDT") == 1.0
    assert metric(loop, "p29_shadow_multiplier", symbol="ETHUSDT") is None
    assert metric(loop, "p29_shadow_symbols") == 1


def test_too_many_symbols_are_left_out_and_one_gauge_says_so(store: Store) -> None:
    loop = allocation(store, metrics_max_symbols=2)
    for symbol in "ABC":
        target(store, symbol)
    loop.step()
    assert metric(loop, "p29_shadow_multiplier", symbol="A") is None
    assert metric(loop, "p29_shadow_symbol_series_left_out") == 3
    loop.close()


def test_the_stream_is_bounded_by_three_passes_or_its_limit(store: Store) -> None:
    loop = allocation(store, stream_maxlen=10)
    for number in range(300):
        target(store, f"S{number}")
    for _ in range(6):
        loop.step()
    length = store.run("XLEN", store.keys.proposed_stream)
    assert 900 <= length <= 1100
    loop.close()


def test_round_trips_go_by_the_batch_and_not_by_the_symbol(
    store: Store, loop: AllocationLoop
) -> None:
    store.batch([("HSET", store.keys.at(TARGET, f"S{n}"), "target_usd", "5") for n in range(2000)])
    before = _reads(store)
    assert loop.step() == 2000
    assert _reads(store) - before < 400


def _reads(store: Store) -> int:
    info = text(store.run("INFO", "stats"))
    return int(info.partition("total_reads_processed:")[2].partition("\r")[0])


def test_its_record_says_what_runs(store: Store, loop: AllocationLoop) -> None:
    loop.step()
    record = pairs(store.run("HGETALL", store.keys.service("allocation", "a1")))
    assert json.loads(record["settings"])["min_conf"] == 0.65
    assert len(record["digest"]) == 16
    assert 0 < store.run("TTL", store.keys.service("allocation", "a1")) <= 60
