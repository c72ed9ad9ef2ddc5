"""A server that refuses a part of what the governor needs, from the start or all at once: no record
says what did not happen, nothing is rejected for it, and /readyz says why."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from qtctl.errors import NoPermissionError, WireError
from qtctl.services import intake
from qtctl.services.governor import Governor
from qtctl.wire.client import scripts
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.schema.keys import DECISION, GROUP, REJECTED, Keys
from tests.services.helpers import governor, metric, send, serve_all
from tests.support.plans import decision, dump, events, fields, judge, pending, permit, queue

CLOSE = fields(plan_id="close", action="FULL_CLOSE_PROPOSED")
DENIED = {
    "SET": ["-set"],
    "ZADD": ["-zadd"],
    "ZREMRANGEBYSCORE": ["-zremrangebyscore"],
    "XADD": ["-xadd"],
    "XACK": ["-xack"],
    "EXPIRE": ["-expire"],
    "permits": ["resetkeys", "~quantum:governor:*", "~quantum:kill", "~quantum:stream:*",
                "~quantum:global:*", "%R~quantum:permit:*"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Redis refused is tried again in the next pass."""
    monkeypatch.setattr(intake, "RETRY_SEC", 0.0)


@pytest.fixture
def rights(store: Store) -> Iterator[Callable[..., Store]]:
    """Sets what the user `limited` may (rules behind +@all ~*), also while it is connected."""
    made: list[Store] = []

    def change(*rules: str) -> Store:
        store.run("ACL", "SETUSER", "limited", "on", ">secret", "~*", "+@all", *rules)
        if not made:
            url = store.url.replace("unix://", "unix://limited:secret@")
            made.append(Store(url, store.keys))
        return made[0]

    yield change
    for each in made:
        each.close()
    store.run("ACL", "DELUSER", "limited")


@pytest.mark.parametrize("encoding", ["json", "hash"])
@pytest.mark.parametrize("denied", DENIED)
@pytest.mark.parametrize("action", ["OPEN_PROPOSED", "FULL_CLOSE_PROPOSED"])
def test_what_is_denied_while_it_runs_leaves_nothing_half_done(
    store: Store, rights: Callable[..., Store], denied: str, encoding: str, action: str
) -> None:
    limited = rights()
    first = fields(plan_id="first", action=action, symbol="ETHUSDT")
    assert judge(limited, first, encoding=encoding).verdict == "permitted"
    entry = fields(action=action)
    entry_id = queue(store, entry)
    rights(*DENIED[denied])
    before = dump(store, sorted(key.decode() for key in store.run("KEYS", "*")))
    found = judge(limited, entry, again=entry_id, encoding=encoding)
    if denied == "SET" and encoding == "hash":
        assert found.verdict == "permitted", "it is not needed for this"
        return
    assert isinstance(found, NoPermissionError), found
    assert dump(store, sorted(key.decode() for key in store.run("KEYS", "*"))) == before
    assert pending(store) == [entry_id]
    rights()
    assert judge(limited, entry, again=entry_id, encoding=encoding).verdict == "permitted"


@pytest.mark.parametrize("denied", ["DEL", "ZREM", "HSET", "XADD", "XACK"])
def test_a_conflict_withdraws_wholly_or_not_at_all(
    store: Store, rights: Callable[..., Store], denied: str
) -> None:
    limited = rights()
    judge(limited, fields())
    conflict = fields(symbol="ETHUSDT")
    entry_id = queue(store, conflict)
    rights(f"-{denied.lower()}")
    before = dump(store, sorted(key.decode() for key in store.run("KEYS", "*")))
    assert isinstance(judge(limited, conflict, again=entry_id), WireError)
    assert dump(store, sorted(key.decode() for key in store.run("KEYS", "*"))) == before
    rights()
    assert judge(limited, conflict, again=entry_id).withdrawn


def served(gov: Governor, passes: int = 12) -> None:
    """So many passes, as its loop makes them."""
    for _ in range(passes):
        gov._look.soon()
        try:
            gov.step()
            gov._intake.poll()
        except WireError:
            with suppress(WireError):
                gov.open()  # As the supervisor does.


@pytest.mark.parametrize("denied", DENIED)
def test_the_governor_says_what_is_denied_and_serves_all_once_it_is_not(
    store: Store, rights: Callable[..., Store], denied: str
) -> None:
    gov = governor(rights())
    gov.open()
    assert gov.not_ready() is None
    rights(*DENIED[denied])
    send(store, CLOSE)
    served(gov)
    assert re.search("NOPERM|permission", gov.not_ready() or "")
    assert decision(store, "close") == {}
    assert events(store) == []
    rights()
    served(gov)
    assert gov.not_ready() is None
    assert permit(store, "close") is not None
    gov.close()


def test_a_refused_script_load_counts_against_no_plan(
    store: Store, rights: Callable[..., Store]
) -> None:
    gov = governor(rights())
    gov.open()
    rights("-script")
    store.run("SCRIPT", "FLUSH")
    send(store, CLOSE)
    served(gov, 40)
    assert re.search("NOPERM|permission", gov.not_ready() or "")
    assert store.run("XLEN", store.keys.prefix + REJECTED.template) == 0
    assert len(pending(store)) == 1
    rights()
    served(gov)
    assert permit(store, "close") is not None
    gov.close()


def test_an_unreadable_plan_is_kept_once_though_it_can_not_be_acknowledged(
    store: Store, rights: Callable[..., Store]
) -> None:
    gov = governor(rights())
    gov.open()
    rights("-xack")
    send(store, {"plan_id": "x"})
    served(gov, 15)
    assert store.run("XLEN", store.keys.rejected) == 0
    rights()
    served(gov)
    assert store.run("XLEN", store.keys.rejected) == 1
    gov.close()


@pytest.mark.parametrize("command", ["EVALSHA", "SCRIPT", "ZADD", "XACK", "ZREMRANGEBYSCORE"])
def test_a_server_without_a_command_is_not_ready_and_is_named(command: str) -> None:
    with temporary(extra={"rename-command": f'{command} ""'}) as server:
        store = Store(server.url, Keys())
        gov = governor(store)
        gov.open()
        assert f"unknown command '{command}'" in (gov.not_ready() or "").replace("`", "'")
        assert metric(gov, "p32_step_refused") == 1
        send(store, CLOSE)
        assert not gov.once()
        assert store.run("EXISTS", store.keys.at(DECISION, "close")) == 0
        gov.close()
        store.close()


@pytest.mark.parametrize("command", ["ZADD", "XACK", "ZREMRANGEBYSCORE"])
def test_a_command_that_is_missing_is_found_before_the_first_write_without_acl_checks_too(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before Redis 7, where scripts can't ask what they may do."""
    source = scripts.source

    def of_6_2(name: str) -> str:
        return source(name).replace("redis.acl_check_cmd", "nil")

    monkeypatch.setattr(scripts, "source", of_6_2)
    scripts.digest.cache_clear()
    try:
        with temporary(extra={"rename-command": f'{command} ""'}) as server:
            store = Store(server.url, Keys())
            gov = governor(store)
            gov.open()
            assert f"unknown command '{command}'" in (gov.not_ready() or "")
            send(store, CLOSE)
            assert not gov.once()
            assert store.run("EXISTS", store.keys.at(DECISION, "close")) == 0
            gov.close()
            store.close()
    finally:
        scripts.digest.cache_clear()


def test_once_ends_where_xinfo_is_refused() -> None:
    with temporary(extra={"rename-command": 'XINFO ""'}) as server:
        store = Store(server.url, Keys())
        gov = governor(store)
        before = _commands(store)
        with pytest.raises(WireError, match="unknown command 'XINFO'"):
            gov.open()
        assert _commands(store) - before < 100
        gov.close()
        store.close()


def _commands(store: Store) -> int:
    return int(
        next(
            line for line in store.run("INFO", "stats").decode().splitlines()
            if line.startswith("total_commands_processed:")
        ).partition(":")[2]
    )  # fmt: skip


def test_once_does_not_spin_where_the_group_is_never_seen(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gov = governor(store)
    gov.open()
    monkeypatch.setattr(type(gov._queue), "state", lambda self: None)
    monkeypatch.setattr(type(gov._queue), "last_id_and_state", lambda self: ("0-0", None))
    before = _commands(store)
    assert gov.once() is False
    assert _commands(store) - before < 1_000
    gov.close()


def test_the_probe_changes_nothing(store: Store) -> None:
    gov: Any = governor(store)
    gov.open()
    before = dump(store, sorted(key.decode() for key in store.run("KEYS", "*")))
    gov._look._look_at_step()
    assert (gov.not_ready(), metric(gov, "p32_step_refused")) == (None, 0)
    assert dump(store, sorted(key.decode() for key in store.run("KEYS", "*"))) == before
    serve_all(gov)
    gov.close()


OPTIONAL = [
    "ping", "hgetall", "pttl", "xinfo|stream", "xinfo|consumers", "xlen", "xrange", "xrevrange",
    "xpending", "xautoclaim", "xgroup|create", "xgroup|setid", "xgroup|delconsumer", "del",
    "hsetnx", "incr", "decr", "zrevrange", "get",
]  # fmt: skip
"""What a close needs not, even one that comes again."""


@pytest.mark.parametrize("denied", [*OPTIONAL, "expire"])
def test_without_a_command_that_closes_need_not_the_governor_goes_on(
    store: Store, rights: Callable[..., Store], denied: str
) -> None:
    gov = governor(rights())
    gov.open()
    gov.once()
    for plan_id, consumer in (("claimed", "dead"), ("own", "g1")):
        send(store, fields(plan_id=plan_id, action="FULL_CLOSE_PROPOSED"))
        group = ("GROUP", GROUP, consumer, "STREAMS", store.keys.plans, ">")
        entry_id = store.run("XREADGROUP", *group)[0][1][0][0]
        for _ in range(2):
            claim = ("XCLAIM", store.keys.plans, GROUP, consumer, 0, entry_id, "IDLE", 60_000)
            store.run(*claim, "JUSTID")
    gov.close()
    send(store, fields(plan_id="close", action="FULL_CLOSE_PROPOSED"))
    send(store, fields(plan_id="another-word", decision="EXECUTED"))
    rights(f"-{denied}")
    gov.open()
    left = {"expire": set[str](), "xautoclaim": {"own", "close"}}
    wanted = left.get(denied, {"own", "claimed", "close"})
    permitted, until = set[str](), time.monotonic() + (30 if wanted else 0.5)
    while permitted != (wanted or {"none"}) and time.monotonic() < until:
        gov._housekept_at = None
        gov._look.soon()
        gov.step()
        gov._intake.poll()
        permitted = {id_ for id_ in ("own", "claimed", "close") if permit(store, id_) is not None}
    assert permitted == wanted
    if denied == "xautoclaim":
        assert "abandoned plans can't be taken over: User limited" in (gov.warning() or "")
        assert metric(gov, "p32_errors_total", kind="claim")
    gov.close()


@pytest.mark.parametrize("denied", ["-incr", "-decr", "-expire", "-del"])
def test_refusals_that_can_not_be_uncounted_are_no_tries(
    store: Store, rights: Callable[..., Store], denied: str
) -> None:
    """Redis refuses each of the ten tries for another reason, in two lives of the governor."""
    limited = rights()
    gov = governor(limited)
    gov.open()
    store.run("SET", store.keys.events, "no stream")
    send(store, CLOSE)
    served(gov)
    rights(denied)
    for _ in range(2):
        gov.close()
        gov = governor(limited)
        gov.open()
        for _ in range(8):
            gov._intake._retry_at = gov._intake._retry_at and 0.0
            gov.step()
    store.run("DEL", store.keys.events)
    rights()
    served(gov)
    assert store.run("XLEN", store.keys.rejected) == 0
    assert permit(store, "close") is not None
    gov.close()


def test_an_event_that_can_not_be_written_costs_no_pass(store: Store) -> None:
    """Of old entries that were skipped."""
    gov = governor(store)
    store.run("SET", store.keys.events, "no stream")
    gov.open()
    send(store, fields(), "5-1")
    served(gov, 4)
    assert pending(store) == []
    assert metric(gov, "p32_errors_total", kind="event")
    gov.close()
