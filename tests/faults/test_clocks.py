"""The server's clock steps, and the ids of the plan stream with it: no plan vanishes, nothing is
permitted twice, and no close is held up."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qtctl.services.governor import Governor
from qtctl.wire.client import xinfo
from qtctl.wire.client.store import Store
from qtctl.wire.control import clock_jump
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.queries import services
from qtctl.wire.schema.ids import order
from qtctl.wire.schema.keys import DECISION, GROUP, LEDGER
from tests.services.helpers import governor, metric, score, send
from tests.support.clocks import SteppedClock, SteppedServer, stepped_server
from tests.support.plans import decision, events, fields, permit
from tests.support.processes import qtctl, until

HOUR = 3600.0


@pytest.fixture
def stepped() -> Iterator[SteppedServer]:
    with stepped_server() as server:
        yield server


@pytest.fixture
def its_store(stepped: SteppedServer) -> Iterator[Store]:
    with stepped.store() as store:
        yield store


def look(gov: Governor, times: int = 2) -> None:
    """So many looks, a second apart for the governor; what is there is served, and no read is left
    under way, which would get the next plan that another governor is to have."""
    gov._beside = False
    for _ in range(times):
        gov._look.soon()
        gov.step()
        gov._intake.poll()
        gov.step()


def named(store: Store, event: str) -> list[dict[str, str]]:
    return [each for each in events(store) if each["event"] == event]


# The group ahead of the stream --------------------------------------------------------------------


def test_a_new_group_on_an_empty_stream_begins_at_its_end(store: Store) -> None:
    gov = governor(store)
    gov.open()
    assert group_state(store).last_id == "0-0"  # type: ignore[union-attr]
    send(store, fields(), "5-1")  # A publisher's own ids, in whatever unit.
    look(gov)
    assert named(store, "backlog_skipped")
    assert named(store, "group_set_back") == []
    gov.close()


def test_a_stream_made_anew_with_small_ids_is_read(store: Store) -> None:
    """Its group is made by somebody who takes an hour ago for early enough."""
    gov = governor(store)
    gov.open()
    look(gov)
    store.run("DEL", store.keys.plans)
    send(store, fields(plan_id="first"), "1700000000-0")
    store.run("XGROUP", "CREATE", store.keys.plans, GROUP, f"{store.now_ms()}-0")
    look(gov)
    (event,) = named(store, "group_set_back")
    assert event["value"] == "1700000000-0"
    close = fields(plan_id="close", action="FULL_CLOSE_PROPOSED")
    send(store, close, "1700000001-0")
    look(gov)
    # Seen, and too old by its id: skipped with an event, no longer without a trace.
    assert named(store, "backlog_skipped")
    assert metric(gov, "p32_group_set_back_total") == 1
    assert gov.not_ready() is None
    gov.close()


def test_a_last_id_far_ahead_that_was_taken_back_strands_no_group(store: Store) -> None:
    gov = governor(store)
    gov.open()
    far = send(store, fields(plan_id="far"), f"{store.now_ms() + 10**10}-0")
    look(gov)
    assert group_state(store).last_id == far  # type: ignore[union-attr]
    # The way out for an operator: the entry goes, and the stream's last id with it.
    # (After XDEL Redis refuses to take the last id back.)
    store.run("XTRIM", store.keys.plans, "MAXLEN", 0)
    store.run("XSETID", store.keys.plans, f"{store.now_ms()}-0")
    look(gov)
    send(store, fields(plan_id="after"))
    look(gov)
    assert permit(store, "after") is not None
    assert len(named(store, "group_set_back")) == 1
    gov.close()


def test_a_group_that_was_moved_ahead_since_the_last_look_is_set_back_at_this_one(
    store: Store,
) -> None:
    """Whether it was given entries since, or not."""
    gov = governor(store)
    gov.open()
    for moved in range(1, 3):
        send(store, fields(plan_id=f"before{moved}", symbol=f"S{moved}"))
        look(gov)
        store.run("XGROUP", "SETID", store.keys.plans, GROUP, f"{store.now_ms() + 10**7}-{moved}")
        gov._look.at_once()
        assert len(named(store, "group_set_back")) == moved
    assert (gov.not_ready(), metric(gov, "p32_group_set_back_total")) == (None, 2)
    gov.close()


def test_two_governors_set_a_group_back_once_and_nothing_is_permitted_twice(store: Store) -> None:
    both = [governor(store, name) for name in ("g1", "g2")]
    for gov in both:
        gov.open()
    send(store, fields(plan_id="before"))
    look(both[0])
    assert permit(store, "before") is not None
    store.run("XGROUP", "SETID", store.keys.plans, GROUP, f"{store.now_ms() + 10**7}-0")
    for _ in range(2):
        for gov in both:
            look(gov, 1)
    send(store, fields(plan_id="after", symbol="ETHUSDT"))
    for gov in both:
        look(gov)
    assert permit(store, "after") is not None
    assert len(named(store, "group_set_back")) == 1
    permitted = [each["plan_id"] for each in events(store) if each["event"] == "permitted"]
    assert sorted(permitted) == ["after", "before"]
    for gov in both:
        gov.close()


def test_a_group_that_can_not_be_set_back_makes_the_governor_not_ready(store: Store) -> None:
    store.run("ACL", "SETUSER", "noset", "reset", "on", ">secret", "+@all", "-xgroup|setid",
              "~quantum:*")  # fmt: skip
    gov = governor(Store(store.url.replace("unix://", "unix://noset:secret@"), store.keys))
    gov.open()
    store.run("XGROUP", "SETID", store.keys.plans, GROUP, f"{store.now_ms() + 10**7}-0")
    look(gov)
    assert "ahead of the stream" in (gov.not_ready() or "")
    assert (metric(gov, "p32_errors_total", kind="not_ready") or 0) >= 1
    store.run("ACL", "SETUSER", "noset", "+xgroup|setid")
    look(gov)
    assert gov.not_ready() is None
    send(store, fields())
    look(gov)
    assert permit(store) is not None
    gov.close()


def test_an_hour_behind_a_first_start_with_the_clock_ahead() -> None:
    """The clock of the server is 2 h ahead at the first start; then NTP steps it back."""
    with stepped_server(2 * HOUR) as server, server.store() as store:
        store.run("XADD", store.keys.plans, "1-1", *_flat(fields(plan_id="old")))
        store.run("XGROUP", "CREATE", store.keys.plans, GROUP, f"{store.now_ms() - 3_600_000}-0")
        gov = governor(store)
        server.step(0.0)
        gov.open()
        look(gov)
        assert len(named(store, "group_set_back")) == 1
        send(store, fields(plan_id="after"))
        send(store, fields(plan_id="close", action="FULL_CLOSE_PROPOSED"))
        look(gov)
        assert permit(store, "close") is not None
        assert permit(store, "after") is not None, decision(store, "after")
        gov.close()


def test_after_a_restore_of_an_older_dump_every_plan_is_seen(
    stepped: SteppedServer, its_store: Store
) -> None:
    store = its_store
    gov = governor(store)
    gov.open()
    look(gov)
    store.run("SAVE")
    send(store, fields(plan_id="lost"))
    look(gov)
    stepped.kill()
    gov.close()
    store.close()
    stepped.start()
    # A group that was made by hand on the restored server, at what the old one had reached.
    store.run("XGROUP", "SETID", store.keys.plans, GROUP, f"{store.now_ms() + 60_000}-0")
    gov.open()
    look(gov)
    assert len(named(store, "group_set_back")) == 1
    time.sleep(1.1)  # The second in which the server started is quarantined.
    send(store, fields(plan_id="after"))
    look(gov)
    assert permit(store, "after") is not None, decision(store, "after")
    gov.close()


# Backward -----------------------------------------------------------------------------------------


def test_a_step_back_voids_the_marks_that_lie_ahead(
    stepped: SteppedServer, its_store: Store
) -> None:
    store = its_store
    gov = governor(store, symbol_cooldown_sec=60.0, max_exec_per_5min=1, max_exec_per_hour=1)
    gov.open()
    send(store, fields(plan_id="ahead"))
    look(gov)
    assert permit(store, "ahead") is not None
    stepped.step(-600.0)
    store.run("DEL", store.keys.plans)  # Or its ids would stay ahead with it.
    look(gov)
    send(store, fields(plan_id="after"))
    look(gov)
    found = decision(store, "after")
    assert (found["verdict"], found["last_open_age_sec"], found["opens_1h"]) == (
        "permitted", "", "0",
    )  # fmt: skip
    # It is gone for good: it must not grow young when the clock comes there.
    assert store.run("ZRANGE", store.keys.at(LEDGER, "BTCUSDT"), 0, -1) == [b"after"]
    assert named(store, "clock_step")[0]["reason"] == "backward"
    assert metric(gov, "p32_clock_steps_total", direction="backward") == 1
    assert clock_jump.found(store) is None
    gov.close()


def test_a_start_that_lies_ahead_holds_opens_for_no_longer_than_a_look() -> None:
    """The server started with its clock 2 h ahead: its start lies ahead for 2 h."""
    with stepped_server(2 * HOUR) as server, server.store() as store:
        server.step(0.0)
        gov = governor(store)
        gov.open()
        look(gov)
        send(store, fields())
        look(gov)
        assert permit(store) is not None, decision(store)
        gov.close()


# Forward ------------------------------------------------------------------------------------------


def test_a_jump_ahead_quarantines_opens_at_every_governor_until_it_is_lifted(
    stepped: SteppedServer, its_store: Store
) -> None:
    """25 h ahead for a moment, and back: decisions and ledgers are gone."""
    store = its_store
    gov = governor(store)
    gov.open()
    send(store, fields())
    look(gov)
    assert permit(store) is not None
    stepped.step(25 * HOUR)
    assert store.run("EXISTS", store.keys.at(DECISION, "p1")) == 0
    # Before the next look: the atomic step notices by itself.
    send(store, fields())
    gov._intake.poll()
    gov._look._looked_at = time.monotonic() + 60
    gov.step()
    found = decision(store)
    assert (found["reason"], found["clock_jump"]) == ("failover_quarantine", "1")
    look(gov)
    (jump,) = [clock_jump.found(store)]
    assert jump is not None
    assert jump.jump_sec == pytest.approx(25 * HOUR, abs=5)
    assert jump.by == "governor:g1"
    stepped.step(0.0)
    store.run("DEL", store.keys.plans)
    other = governor(store, "g2")  # Started afterwards, on another host.
    other.open()
    look(gov)
    send(store, fields(plan_id="again"))
    send(store, fields(plan_id="close", action="FULL_CLOSE_PROPOSED"))
    look(other)
    assert decision(store, "again")["reason"] == "failover_quarantine"
    assert permit(store, "close") is not None
    assert metric(other, "p32_clock_jump") == 1
    assert len(named(store, "clock_jump")) == 1
    clock_jump.lift(store, "operator:me", "compared", 10_000)
    send(store, fields(plan_id="later"))
    look(other)
    assert permit(store, "later") is not None, decision(store, "later")
    for each in (gov, other):
        each.close()


def test_what_is_no_jump_stops_nothing(stepped: SteppedServer, its_store: Store) -> None:
    """A step of 20 s is reported; another server's clock, and a slow answer, are no step."""
    store = its_store
    gov = governor(store)
    gov.open()
    look(gov)
    stepped.step(20.0)
    look(gov)
    assert named(store, "clock_step")[0]["reason"] == "forward"
    assert clock_jump.found(store) is None
    stepped.kill()
    stepped.clock.off(2 * HOUR)
    gov.close()
    stepped.start()
    store.close()
    gov.open()
    look(gov)
    assert clock_jump.found(store) is None
    assert metric(gov, "p32_clock_steps_total", direction="forward") == 1
    gov.close()


def test_steps_ahead_add_up_to_a_jump(stepped: SteppedServer, its_store: Store) -> None:
    gov = governor(its_store)
    gov.open()
    for off in (20.0, 40.0, 58.0):
        stepped.step(off)
        look(gov)
        assert clock_jump.found(its_store) is None
    stepped.step(66.0)
    look(gov)
    assert clock_jump.found(its_store) is not None
    gov.close()


def test_where_the_jump_can_not_be_noted_the_governor_itself_stops_opens(
    stepped: SteppedServer, its_store: Store
) -> None:
    store = its_store
    store.run("ACL", "SETUSER", "nonote", "reset", "on", ">secret", "+@all", "-set", "~quantum:*",
              "(+set ~quantum:permit:* ~quantum:governor:limits:* ~quantum:governor:block:*)"
              )  # fmt: skip
    gov = governor(Store(store.url.replace("unix://", "unix://nonote:secret@"), store.keys))
    gov.open()
    look(gov)
    stepped.step(HOUR)
    look(gov)
    send(store, fields())
    look(gov)
    assert decision(store)["reason"] == "failover_quarantine"
    assert metric(gov, "p32_errors_total", kind="clock_jump")
    gov.close()


def _flat(entry: dict[str, Any]) -> list[str]:
    return [part for pair in entry.items() for part in pair]


def test_the_place_of_a_group_is_compared_as_numbers(store: Store) -> None:
    """Ids in nanoseconds have more digits than a double has."""
    gov = governor(store)
    gov.open()
    last = send(store, fields(), "1769558400123456789-7")
    store.run("XGROUP", "SETID", store.keys.plans, GROUP, "1769558400123456789-8")
    look(gov)
    (event,) = named(store, "group_set_back")
    assert event["before"] == "1769558400123456789-8"
    assert order(event["value"]) < order(last)
    assert xinfo.groups(store, store.keys.plans)[0].last_id == last
    gov.close()


def test_a_governor_whose_host_clock_is_off_and_steps_decides_all_the_same(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    """A real process; its wall clock is 20 min behind, then 2 h ahead."""
    host = SteppedClock(tmp_path)
    host.off(-1_200.0)
    command = ("--redis-url", redis_url, "serve", "governor",
               "--set", "governor.metrics_port=0", "--set", "governor.name=g1")  # fmt: skip
    score(store, "BTCUSDT", "0.2", age=30)
    score(store, "ETHUSDT", "0.2", age=30)
    with qtctl(*command, env={**os.environ, **host.environ}) as child:
        send(store, fields())
        assert json.loads(until(lambda: permit(store)) or b"")["eff_factor"] == "0.4444"
        child.wait_for_line("clock of this host is off")
        host.off(2 * HOUR)
        record = store.keys.service("governor", "g1")
        until(lambda: float(store.run("HGET", record, "clock_ahead_sec") or 0) > 7_000)
        send(store, fields(plan_id="p2", symbol="ETHUSDT"))
        assert json.loads(until(lambda: permit(store, "p2")) or b"")["eff_factor"] == "0.4444"
        now = store.now_ms() / 1000
        (found,) = services.running(store, "governor")
        assert not found.is_late(now)
    assert clock_jump.found(store) is None
    assert named(store, "clock_step") == []
