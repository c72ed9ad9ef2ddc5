"""A halt that Redis has forgotten is kept, while a governor lived that knew it: on real servers
that are killed and come back empty, or with older data, and on one that is flushed."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from qtctl.errors import QtctlError
from qtctl.services.governor import Governor
from qtctl.wire.client.store import Store
from qtctl.wire.control import clock_jump, forgotten, halt, kill_switch
from qtctl.wire.control.forgotten import How
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.schema.keys import MARK, Keys
from tests.services.helpers import governor, kept, metric, order, send, serve_all, verdict
from tests.support.plans import NAMES, decision, events, fields
from tests.support.processes import Process, qtctl, until

CLOSE = {"action": "CLOSE"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def gov(store: Store) -> Iterator[Governor]:
    service = governor(store)
    service.open()
    store.run("DEL", store.keys.emptied)  # Its start was the first of all.
    yield service
    service.close()


def forget(store: Store) -> None:
    """As a server does that comes back empty; upstream is back before anybody looks."""
    store.run("FLUSHALL")
    send(store, fields(plan_id="soon"))


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [("kill", "1", "all"), ("kill", "reduce_only", "reduce_only"),
     ("governor:halt", "1", "reduce_only"), ("global:kill_switch", "x", "all"),
     ("governor:halt", "ALL", "all")],
)  # fmt: skip
def test_a_flushed_server_does_not_end_a_halt(
    store: Store, gov: Governor, name: str, value: str, level: str
) -> None:
    store.run("SET", store.keys.prefix + name, value)
    gov._look.at_once()
    forget(store)
    gov.open()
    serve_all(gov)
    assert kept(store) == level
    assert decision(store, "soon")["kill_key"] == "quantum:governor:halt_kept"
    assert verdict(store, gov, "o") == "blocked"
    assert verdict(store, gov, "c", **CLOSE) == ("blocked" if level == "all" else "permitted")
    row = kill_switch.strictest(kill_switch.read(store, NAMES))
    assert row is not None
    assert row.who == "governor:g1"
    assert row.why.startswith(f"Redis came back EMPTY: the halt is kept (was quantum:{name}=")
    assert {"halt_kept", "redis_emptied"} <= {each["event"] for each in events(store)}
    assert metric(gov, "p32_halt_kept_level") == (2 if level == "all" else 1)
    assert metric(gov, "p32_redis_emptied_total", how="empty") == 1
    found = forgotten.emptied(store)
    assert found is not None
    assert (found.how, found.by) == ("empty", "governor:g1")


def test_no_plan_passes_between_the_flush_and_the_look(store: Store, gov: Governor) -> None:
    """What was read before, and what is delivered before the next look, meets no permit."""
    halt.stop(store, order(), False)
    gov._look.at_once()
    send(store, fields(plan_id="read"))
    gov._intake.poll()
    forget(store)
    with suppress(QtctlError):  # NOGROUP ends the pass: the supervisor opens it again.
        gov.step()  # No look is due.
    assert not list(store.scan_keys("quantum:permit:*"))
    assert kept(store) == "", "it has not looked yet"
    gov.open()
    assert kept(store) == "reduce_only"
    serve_all(gov)
    assert decision(store, "soon")["reason"] == "kill_switch_active"
    assert not list(store.scan_keys("quantum:permit:*"))


def test_another_governor_that_knew_nothing_obeys_and_one_that_looks_first_hides_nothing(
    store: Store, gov: Governor
) -> None:
    halt.stop(store, order(), True)
    gov._look.at_once()
    store.run("FLUSHALL")
    later = governor(store, name="g2")
    later.open()  # It makes the group and the limits anew, before the other one looks.
    gov._look.at_once()
    assert kept(store) == "all"
    assert verdict(store, later, "o") == "blocked"
    later.close()


def test_a_halt_of_a_symbol_is_kept_for_that_symbol(store: Store, gov: Governor) -> None:
    halt.stop(store, order("BTCUSDT"), False)
    halt.stop(store, order("ETHUSDT"), True)
    gov._look.at_once()
    store.run("FLUSHALL")
    gov.open()
    assert kept(store) == ""
    assert verdict(store, gov, "b") == "blocked"
    assert verdict(store, gov, "bc", **CLOSE) == "permitted"
    assert verdict(store, gov, "e", symbol="ETHUSDT", **CLOSE) == "blocked"
    assert verdict(store, gov, "x", symbol="XUSDT") == "permitted"
    taken = halt.resume(store, order("BTCUSDT"))
    assert isinstance(taken, tuple)
    assert verdict(store, gov, "b2") == "permitted"


def test_resume_ends_it_for_good(store: Store, gov: Governor) -> None:
    halt.stop(store, order(), True)
    gov._look.at_once()
    store.run("FLUSHALL")
    gov.open()
    store.run("HDEL", store.keys.halt_records, "governor:halt_kept")
    taken = halt.resume(store, order())
    assert isinstance(taken, tuple)
    assert [each.name for each in taken[0]] == ["governor:halt_kept"]
    gov._look.at_once()
    assert kept(store) == ""
    assert verdict(store, gov, "o") == "permitted"


@pytest.mark.parametrize("end", ["expired", "deleted", "resumed", "group too"])
def test_a_halt_that_ended_while_the_rest_is_there_is_not_kept(
    store: Store, gov: Governor, end: str
) -> None:
    if end == "resumed":
        halt.stop(store, order(), True)
    else:
        store.run("SET", "quantum:kill", "1", *(("PX", 1500) if end == "expired" else ()))
    gov._look.at_once()
    assert metric(gov, "p32_kill_switch_level") == 2
    if end == "expired":
        until(lambda: not store.run("EXISTS", "quantum:kill"), what="its end")
    elif end == "resumed":
        halt.resume(store, order())
    else:
        store.run("DEL", "quantum:kill")
    if end == "group too":
        store.run("DEL", store.keys.plans)
    gov.open()
    assert kept(store) == ""
    assert verdict(store, gov, "o") == "permitted"
    assert forgotten.emptied(store) is None or end == "group too"


def test_a_halt_that_is_set_again_before_the_look_is_not_kept_beside(
    store: Store, gov: Governor
) -> None:
    halt.stop(store, order(), True)
    gov._look.at_once()
    store.run("FLUSHALL")
    halt.stop(store, order(), True)
    gov.open()
    assert kept(store) == ""


def test_while_it_can_not_be_kept_nothing_is_served_and_then_it_is(
    store: Store, gov: Governor
) -> None:
    halt.stop(store, order(), False)
    gov._look.at_once()
    forget(store)
    store.run("CONFIG", "SET", "maxmemory", "1")
    for _ in range(2):
        with pytest.raises(QtctlError):
            gov.open()
    store.run("CONFIG", "SET", "maxmemory", "0")
    gov.open()
    serve_all(gov)
    assert kept(store) == "reduce_only"
    assert decision(store, "soon")["verdict"] == "blocked"


def test_by_the_rights_of_a_version_before_plans_are_served_and_an_empty_redis_is_seen(
    store: Store,
) -> None:
    """Its user may leave no mark; with a mark that is only missing, closes would be trapped."""
    rights = ("reset", "on", ">secret", "+@all", "-set", "~quantum:*")
    before = ("~quantum:permit:*", "~quantum:governor:limits:*", "~quantum:governor:last_close:*")
    store.run("ACL", "SETUSER", "before", *rights, f"(+set {' '.join(before)})")
    service = governor(Store(store.url.replace("unix://", "unix://before:secret@"), store.keys))
    service.open()
    assert verdict(store, service, "c", **CLOSE) == "permitted"
    store.run("SET", "quantum:kill", "reduce_only")
    service._look.at_once()
    forget(store)
    with pytest.raises(QtctlError):
        service.open()  # It can't keep the halt, and so serves nothing.
    assert not list(store.scan_keys("quantum:permit:*"))
    store.run("ACL", "SETUSER", "before", "+set")
    service.open()
    assert kept(store) == "reduce_only"
    service.close()
    store.run("ACL", "DELUSER", "before")


# A start -----------------------------------------------------------------------------------------


def test_a_start_without_any_trace_is_reported_for_an_hour_and_stops_nothing(store: Store) -> None:
    first = governor(store)
    first.open()
    found = forgotten.emptied(store)
    assert found is not None
    assert found.how == How.START
    assert 3590 < store.run("TTL", store.keys.emptied) <= 3600
    assert verdict(store, first, "o") == "permitted"
    first.close()
    store.run("DEL", store.keys.emptied)
    second = governor(store)
    second.open()
    assert forgotten.emptied(store) is None, "there are traces now"
    second.close()


def test_start_halted_halts_then_and_only_then(store: Store) -> None:
    first = governor(store, start_halted=True)
    first.open()
    assert kept(store) == "reduce_only"
    assert verdict(store, first, "o") == "blocked"
    assert verdict(store, first, "c", **CLOSE) == "permitted"
    first.close()
    halt.resume(store, order())
    second = governor(store, start_halted=True)
    second.open()
    assert kept(store) == ""
    second.close()


# Real processes, and servers that are killed ----------------------------------------------------


def served(url: str, name: str) -> Any:
    sets = ("governor.metrics_port=0", f"governor.name={name}", "governor.symbol_cooldown_sec=0")
    more = [part for each in sets for part in ("--set", each)]
    return qtctl("serve", "governor", "--redis-url", url, *more)


def looked(store: Store, names: tuple[str, ...]) -> bool:
    """True once each has looked after now."""
    now = store.now_ms()
    until(
        lambda: all(int(store.run("GET", store.keys.at(MARK, name)) or 0) > now for name in names),
        what="both looks",
    )
    return True


def sent(url: str, plan_id: str, **more: str) -> dict[str, str]:
    """The decision about a new plan."""
    store = Store(url, Keys())
    send(store, fields(plan_id=plan_id, **more))
    found: dict[str, str] = until(
        lambda: decision(store, plan_id), 20, f"a decision about {plan_id}"
    )
    store.close()
    return found


@pytest.mark.parametrize("how", ["empty", "older"])
def test_two_governors_and_a_later_one_after_the_server_was_killed(home: Path, how: str) -> None:
    server = Embedded.start(home, appendonly=False)
    url, store = server.url, Store(server.url, Keys())
    with served(url, "a") as a, served(url, "b") as b:
        for child in (a, b):
            child.wait_for_line("listening")
        assert sent(url, "before")["verdict"] == "permitted"
        if how == "older":
            looked(store, ("a", "b"))
            store.run("SAVE")
            time.sleep(1.1)
        assert halt.stop(store, order(), True).value == "all"
        looked(store, ("a", "b"))
        server.kill()
        store.close()
        if how == "empty":
            for left in home.glob("*.rdb"):
                left.unlink()
        server = Embedded.start(home, appendonly=False)
        store = Store(url, Keys())
        try:
            assert not store.run("EXISTS", "quantum:governor:halt")
            _obeyed(url, store, how, (a, b))
            with served(url, "later") as later:
                later.wait_for_line("listening")
                for child in (a, b):
                    child.signal(15)
                    child.wait()
                assert sent(url, "at-later", symbol="L", **CLOSE)["verdict"] == "blocked"
        finally:
            store.close()
            server.stop()


def _obeyed(url: str, store: Store, how: str, children: tuple[Process, ...]) -> None:
    """Plans come from the first moment on: not one is permitted."""
    for number in range(4):
        found = sent(url, f"p{number}", symbol=f"S{number}", **CLOSE)
        assert found["reason"] == "kill_switch_active", (found, *map(str, children))
        assert found["kill_key"] == "quantum:governor:halt_kept"
    assert kept(store) == "all"
    row = kill_switch.strictest(kill_switch.read(store, NAMES))
    assert row is not None
    assert ("EMPTY" if how == "empty" else "OLDER") in row.why


def test_a_jump_of_the_clock_is_kept_as_a_jump_and_not_as_a_halt(
    store: Store, gov: Governor
) -> None:
    """`resume --clock` alone must let opens pass again."""
    clock_jump.note(store, 90_000, "governor:g2")
    gov._look.at_once()
    forget(store)
    gov.open()
    serve_all(gov)
    assert kept(store) == ""
    jump = clock_jump.found(store)
    assert jump is not None
    assert (jump.jump_sec, jump.by) == (90.0, "governor:g2")
    assert decision(store, "soon")["reason"] == "failover_quarantine"
    clock_jump.lift(store, "operator:alice@desk", "accepted", 1000)
    assert verdict(store, gov, "after") == "permitted"
