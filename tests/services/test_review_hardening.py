"""What once stopped the governor, or made it judge wrongly: each seen on a real server."""

import logging
import threading
import time
from typing import Any

import pytest
from msgspec.structs import replace

from qtctl import clock
from qtctl.services import intake
from qtctl.services.governor import Governor
from qtctl.services.problem_log import MAX_KNOWN, ProblemLog
from qtctl.services.server_watch import ServerWatch
from qtctl.settings import Governor as GovernorSettings
from qtctl.wire.client.server import Server
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.schema.ids import last_before
from qtctl.wire.schema.keys import DECISION, EFFICIENCY, GROUP, LAST_CLOSE, TRIES
from tests.services.helpers import governor, metric, send, serve_all
from tests.support.plans import decision, events, fields, pending, permit, queue

CLOSE = fields(plan_id="close", action="FULL_CLOSE_PROPOSED", reduceOnly="true")
SERVER = Server("redis", "7", "run", "repl", False, "master", 50_000, 10_000, 0, "noeviction")


def test_a_step_of_our_own_clock_makes_no_plan_look_an_hour_old(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gov = governor(store)
    gov.open()
    gov.step()
    send(store, CLOSE)
    gov.wait(threading.Event())
    ahead = clock.now() + 7200
    monkeypatch.setattr(clock, "now", lambda: ahead)
    gov.step()
    assert permit(store, "close") is not None
    assert not [event for event in events(store) if event["event"] == "backlog_skipped"]
    gov.close()


def test_a_close_that_can_not_be_noted_gets_its_permit_is_counted_and_logged_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.run("ACL", "SETUSER", "nonote", "reset", "on", ">secret", "+@all", "-set", "~quantum:*",
              "(+set ~quantum:permit:* ~quantum:governor:limits:* ~quantum:governor:mark:*)"
              )  # fmt: skip
    url = store.url.replace("unix://", "unix://nonote:secret@")
    gov = Governor(Store(url, store.keys), GovernorSettings(name="g1"), allow_eviction=False)
    gov.open()
    for number in range(2):
        send(store, CLOSE | {"plan_id": f"c{number}"})
        serve_all(gov)
        assert permit(store, f"c{number}") is not None
        assert decision(store, f"c{number}")["verdict"] == "permitted"
    assert pending(store) == []
    assert store.run("EXISTS", store.keys.at(LAST_CLOSE, "BTCUSDT")) == 0
    assert metric(gov, "p32_errors_total", kind="last_close") == 2
    noted = [it.message for it in caplog.records if "last close" in it.message]
    assert noted == ["last close of a symbol can't be used"]
    store.run("ACL", "SETUSER", "nonote", "+set")
    send(store, CLOSE | {"plan_id": "c2"})
    serve_all(gov)
    assert store.run("EXISTS", store.keys.at(LAST_CLOSE, "BTCUSDT")) == 1
    assert metric(gov, "p32_errors_total", kind="last_close") == 2
    gov.close()


def test_a_record_that_can_not_be_written_stops_no_permit(store: Store) -> None:
    store.run("ACL", "SETUSER", "norecord", "reset", "on", ">secret", "+@all", "~quantum:permit:*",
              "~quantum:governor:*", "~quantum:stream:*", "~quantum:capital:*", "~quantum:kill",
              "~quantum:global:kill_switch")  # fmt: skip
    url = store.url.replace("unix://", "unix://norecord:secret@")
    settings = GovernorSettings(name="g1")
    gov = Governor(Store(url, store.keys), settings, allow_eviction=False)
    gov.open()
    send(store, CLOSE)
    serve_all(gov)
    assert permit(store, "close") is not None
    gov.close()
    store.run("ACL", "DELUSER", "norecord")


def test_a_broken_count_of_tries_stops_no_permit(store: Store) -> None:
    entry_id = queue(store, CLOSE, consumer="g1")
    store.run("SADD", store.keys.at(TRIES, entry_id), "in the way")
    gov = governor(store)
    gov.open()
    serve_all(gov)
    assert permit(store, "close") is not None
    assert metric(gov, "p32_errors_total", kind="tries") == 1
    gov.close()


@pytest.mark.parametrize("restart", [False, True])
def test_new_plans_do_not_wait_behind_many_that_redis_refuses(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: Any, restart: bool
) -> None:
    monkeypatch.setattr(intake, "RETRY_SEC", 0.01)  # A round takes longer than that.
    caplog.set_level(logging.ERROR, "qtctl.governor")
    for n in range(300):
        store.run("SET", store.keys.at(DECISION, f"bad{n}"), "in the way")
        queue(store, fields(plan_id=f"bad{n}", symbol=f"S{n}"), consumer="g1")
    gov = governor(store, batch=50)
    gov.open()
    stop = threading.Event()
    for _ in range(0 if restart else 30):
        gov.step()
        gov.wait(stop)
    send(store, CLOSE)
    for _ in range(12):
        gov.step()
        gov.wait(stop)
    assert permit(store, "close") is not None
    assert len(pending(store)) == 300
    assert len([r for r in caplog.records if "pending" in r.getMessage()]) <= 101
    gov.close()


def test_what_another_governor_rejected_meanwhile_is_not_counted_again(store: Store) -> None:
    first, second = governor(store, "g1"), governor(store, "g2")
    first.open()
    second.open()
    first.step()
    second.step()
    send(store, fields(symbol="A B"))
    first.wait(threading.Event())
    (held,) = pending(store)
    store.run("XCLAIM", store.keys.plans, GROUP, "g2", 0, held)
    second.close()
    second.open()
    second.step()
    first.step()
    assert metric(second, "p32_rejected_total", reason="invalid_plan") == 1
    assert metric(first, "p32_rejected_total", reason="invalid_plan") == 0
    assert store.run("XLEN", store.keys.rejected) == 1
    first.close()
    second.close()


def test_a_megabyte_of_digits_is_read_at_once(store: Store) -> None:
    gov = governor(store)
    gov.open()
    digits = "1" * 1_000_000 + "x"
    store.run("HSET", store.keys.at(EFFICIENCY, "BTCUSDT"), "efficiency_score", digits,
              "confidence", "0.9", "ts", "1e308")  # fmt: skip
    send(store, fields(plan_id="bad", qty=digits))
    send(store, CLOSE | {"price": digits})
    started = time.process_time()
    serve_all(gov)
    assert time.process_time() - started < 5
    assert permit(store, "close") is not None
    gov.close()


def test_no_value_of_a_decision_outgrows_the_compact_encoding(store: Store) -> None:
    gov = governor(store)
    gov.open()
    store.run("HSET", store.keys.at(EFFICIENCY, "BTCUSDT"), "efficiency_score", "0.5",
              "confidence", "0.9", "ts", "-1e308")  # fmt: skip
    send(store, fields(plan_id="huge", qty="1e200", price="1"))
    serve_all(gov)
    assert decision(store, "huge")["reason"] == "notional_per_trade_exceeded"
    assert max(len(value) for value in decision(store, "huge").values()) <= 64
    assert store.run("OBJECT", "ENCODING", store.keys.at(DECISION, "huge")) == b"listpack"
    gov.close()


def test_a_governor_that_finds_a_promoted_server_trusts_it_from_now_on() -> None:
    """It may have died with the old primary: nobody told it what was decided there."""
    watch = ServerWatch(allow_eviction=False)
    watch.note(SERVER, lambda: "49000-0")
    assert watch.before == last_before(SERVER.started_ms)
    watch = ServerWatch(allow_eviction=False)
    promoted = Server("redis", "7", "run", "repl", True, "master", 50_000, 10_000, 0, "noeviction")
    watch.note(promoted, lambda: "49000-0")
    assert watch.before == last_before(50_000)


def seen_after(server: Server, last_id: str) -> tuple[int, int]:
    watch = ServerWatch(allow_eviction=False)
    watch.note(SERVER, lambda: "0-0")
    watch.note(server, lambda: last_id)
    return watch.before


def test_what_a_restarted_server_had_is_from_before_it_and_after_a_failover_all_is() -> None:
    """A plan that was decided right before a failover may have lost its decision."""
    restarted = replace(SERVER, run_id="new", started_ms=52_000, now_ms=53_000)
    assert seen_after(restarted, "51400-7") == (51_400, 7), "later in that second it is fresh"
    assert seen_after(restarted, "52800-7") == last_before(52_000), "it came to this server"
    assert seen_after(replace(restarted, promoted=True), "51400-7") == last_before(53_000)
    was_there_before = replace(SERVER, run_id="new", started_ms=40_000, now_ms=53_000)
    assert seen_after(was_there_before, "51400-7") == last_before(53_000)


def test_the_start_of_a_server_is_known_to_the_second_and_never_early(store: Store) -> None:
    """Its uptime counts the seconds of a cached clock: taken from the exact time it would be a
    second early, and plans that were queued before the start would pass."""
    before = time.time()
    with temporary() as young:
        begun = time.time()
        found = [Store(young.url, store.keys).server().started_ms / 1000 for _ in range(3)]
        time.sleep(0.7)
        found += [Store(young.url, store.keys).server().started_ms / 1000]
    assert before < min(found) == max(found) <= begun + 1.0


def test_troubles_of_ever_new_symbols_are_not_remembered_for_ever() -> None:
    troubles = ProblemLog(logging.getLogger("test"), "score")
    for n in range(0, MAX_KNOWN + 3_000, 500):
        found = {f"key{i}": "bad" for i in range(n, n + 500)}
        troubles.update(found, list(found))
    assert len(troubles._known) == MAX_KNOWN
