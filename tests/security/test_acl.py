"""What the server itself refuses each role, whatever our code does, on both kinds of server."""

import contextlib
import re
import shutil
import socket
import subprocess
from functools import partial
from pathlib import Path

import pytest

from qtctl.errors import NoPermissionError, RedisUnreachable
from qtctl.wire.client.connect import Access
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import Keys
from tests.security.servers import ACL_FILE, ROLES, Redis, redis_server
from tests.support.debian import needed
from tests.support.ports import free_port

Q = "quantum:"
TARGET = f"{Q}allocation:target:BTCUSDT"
SCORE = f"{Q}capital:efficiency:BTCUSDT"
PLANS = f"{Q}stream:apply.plan"
EVENTS = f"{Q}stream:governor.events"
PASSES = f"{Q}stream:allocation.pass"
DECISIONS = f"{Q}stream:governor.decisions"
REJECTED = f"{Q}stream:governor.rejected"
PROPOSED_STREAM = f"{Q}stream:allocation.target.proposed"
PROPOSED = f"{Q}allocation:target:proposed:BTCUSDT"
PERMIT = f"{Q}permit:p1"
DECISION = f"{Q}governor:decision:p1"
BLOCK = f"{Q}governor:block:p1"
LEDGER = f"{Q}governor:ledger:BTCUSDT"
TOTAL = f"{Q}governor:ledger_total"
ON_A_HASH = (("HSET", " a b"), ("EXPIRE", " 1"), ("DEL", ""))
CLOSED = f"{Q}governor:last_close:BTCUSDT"
HALTS = (f"{Q}governor:halt:symbols", f"{Q}governor:halt:records")
KILLS = (f"{Q}kill", f"{Q}governor:halt", f"{Q}global:kill_switch")

NOT_ALLOCATION = [
    f"HSET {TARGET} target_usd 1", f"DEL {TARGET}", f"EXPIRE {TARGET} 1", f"SET {TARGET} x",
    f"RENAME {PROPOSED} {TARGET}", f"COPY {PROPOSED} {TARGET}", f"RESTORE {TARGET} 0 x",
    f"HSET {SCORE} efficiency_score 1", f"SET {PERMIT} x", f"HSET {PERMIT} granted 1",
    f"DEL {PERMIT}", f"GET {PERMIT}", f"XADD {PLANS} * a b", f"XADD {EVENTS} * a b",
    f"HSET {DECISION} a b", f"HSET {Q}qtctl:service:governor:x a b", f"SET {KILLS[0]} 1",
    f"DEL {PROPOSED_STREAM}", "EVAL return(1) 0", "SCRIPT LOAD return(1)",
]  # fmt: skip
NOT_GOVERNOR = [
    f"HSET {TARGET} target_usd 1", f"DEL {TARGET}", f"HGETALL {TARGET}", f"HSET {PROPOSED} a b",
    f"HSET {SCORE} efficiency_score 1", f"DEL {SCORE}", f"XADD {PLANS} * a b",
    f"XDEL {PLANS} 1-1", f"DEL {PLANS}", f"XTRIM {PLANS} MAXLEN 0", f"DEL {DECISION}",
    f"GET {PERMIT}", f"DEL {LEDGER}", f"DEL {CLOSED}", f"DEL {EVENTS}", f"XDEL {EVENTS} 1-1",
    *(f"SET {key} 0" for key in KILLS), *(f"DEL {key}" for key in KILLS),
    *(f"EXPIRE {key} 1" for key in KILLS), "EVAL return(1) 0", "SCRIPT FLUSH", "SCAN 0",
    *(f"HSET {key} BTCUSDT 0" for key in HALTS), *(f"HDEL {key} field" for key in HALTS),
    *(f"DEL {key}" for key in HALTS),
]  # fmt: skip
NOT_OPERATOR = [
    f"SET {PERMIT} x", f"HSET {PERMIT} granted 1", f"EXPIRE {PERMIT} 9999", f"DEL {DECISION}",
    f"HSET {DECISION} verdict x", f"HDEL {DECISION} field", f"HINCRBY {DECISION} n 1",
    f"EXPIRE {DECISION} 1", *(f"DEL {key}" for key in HALTS), f"DEL {LEDGER}",
    f"ZADD {LEDGER} 1 a", f"ZREM {LEDGER} p1", f"ZREM {TOTAL} p1", f"DEL {BLOCK}",
    *(f"{act} {PROPOSED}{rest}" for act, rest in ON_A_HASH), f"DEL {CLOSED}", f"SET {CLOSED} 1",
    f"DEL {PLANS}", f"XTRIM {EVENTS} MAXLEN 0", "EVAL return(1) 0",
    f"XADD {PROPOSED_STREAM} * a b", f"XADD {REJECTED} * a b", f"XGROUP DESTROY {PLANS} governor",
    f"HSET {Q}qtctl:service:governor:x a b", "SCRIPT FLUSH",
]  # fmt: skip
NOT_VIEWER = [
    f"HSET {TARGET} target_usd 1", f"SET {PERMIT} x", f"DEL {PERMIT}", f"XADD {PLANS} * a b",
    f"XACK {PLANS} governor 1-1", f"XREADGROUP GROUP governor me STREAMS {PLANS} >",
    f"XGROUP CREATE {PLANS} me 0 MKSTREAM", f"SET {KILLS[0]} 1", f"EXPIRE {DECISION} 1",
    f"HSET {HALTS[0]} BTCUSDT 1", f"HDEL {HALTS[0]} field", f"HSETNX {DECISION} a b",
    f"GETDEL {PERMIT}", f"ZREM {Q}governor:permits p1", "EVAL return(1) 0", "INFO",
    f"PUBLISH {Q}x y", f"OBJECT FREQ {PERMIT}",
]  # fmt: skip
NOT_APPLY = [
    f"SET {PERMIT} x", f"HSET {PERMIT} granted 1", f"EXPIRE {PERMIT} 9999", f"DEL {DECISION}",
    f"XADD {PLANS} * a b", f"XDEL {PLANS} 1-1", f"HSET {TARGET} target_usd 1", f"SET {KILLS[0]} 0",
    f"DEL {KILLS[0]}", f"HGETALL {TARGET}", f"ZADD {Q}governor:permits 1 p1", "SCAN 0",
    f"HDEL {HALTS[0]} field", f"HSETNX {DECISION} a b",
]  # fmt: skip
NOT_UPSTREAM = [
    *(f"{act} {PROPOSED}{rest}" for act, rest in ON_A_HASH), f"XADD {PROPOSED_STREAM} * a b",
    f"SET {PERMIT} x", f"GET {PERMIT}", f"DEL {DECISION}", f"DEL {PLANS}", f"XDEL {PLANS} 1-1",
    f"XADD {EVENTS} * a b", f"SET {KILLS[0]} 0", f"HGETALL {TARGET}", f"XRANGE {PLANS} - +",
    "EVAL return(1) 0",
]  # fmt: skip
NOT_RECORDER = [
    *(f"{act} {key} * a b" for act in ("XADD",) for key in (PLANS, EVENTS, PASSES, DECISIONS)),
    *(f"XTRIM {key} MAXLEN 0" for key in (EVENTS, PASSES, DECISIONS, REJECTED)),
    *(f"DEL {key}" for key in (EVENTS, PASSES, DECISIONS, REJECTED, DECISION, *HALTS)),
    f"XREAD STREAMS {PLANS} 0", f"GET {PERMIT}", f"SET {PERMIT} x", f"HGETALL {TARGET}",
    f"HSET {TARGET} target_usd 1", f"HSET {PROPOSED} a b", f"SET {KILLS[0]} 0",
    f"XREADGROUP GROUP governor me STREAMS {PLANS} >", f"XGROUP CREATE {EVENTS} me 0",
    f"SET {Q}governor:limits:x 1", f"SET {Q}allocation:rules:x 1",
    f"HSET {Q}qtctl:service:governor:x a b", "EVAL return(1) 0", "SCRIPT LOAD return(1)",
]  # fmt: skip
FORBIDDEN = {
    "allocation": NOT_ALLOCATION,
    "governor": NOT_GOVERNOR,
    "operator": NOT_OPERATOR,
    "viewer": NOT_VIEWER,
    "apply": NOT_APPLY,
    "upstream": NOT_UPSTREAM,
    "recorder": NOT_RECORDER,
}
FOR_NOBODY = [
    "KEYS *", "FLUSHALL", "FLUSHDB", "CONFIG GET *", "CONFIG SET maxmemory-policy allkeys-lru",
    "ACL LIST", "ACL SETUSER viewer on nopass ~* +@all", "MONITOR", "CLIENT LIST",
    "CLIENT KILL TYPE normal", "SHUTDOWN NOSAVE", "REPLICAOF NO ONE", "SAVE",
    "MIGRATE h 1 k 0 1", "SWAPDB 0 1", "MOVE a 1", "RANDOMKEY", "SUBSCRIBE x", "MODULE LIST",
    "FUNCTION LIST", "SLOWLOG GET", "COMMAND", f"GET {Q[:-1]}x:outside", "SET outside 1",
    "SORT outside STORE x", "EVAL_RO return(1) 0", "WAIT 0 1",
]  # fmt: skip


def keyspace(redis: Redis) -> dict[str, bytes]:
    with redis.store() as admin:
        return {key: admin.run("DUMP", key) for key in admin.scan_keys("*")}


def something_everywhere(redis: Redis) -> None:
    """Each key that a role might want to change is there."""
    with redis.store() as admin:
        for key in (TARGET, SCORE, PROPOSED, DECISION, *HALTS):
            admin.run("HSET", key, "field", "value")
        for key in (PERMIT, BLOCK, CLOSED, *KILLS):
            admin.run("SET", key, "value")
        for key in (LEDGER, f"{Q}governor:permits"):
            admin.run("ZADD", key, 1, "p1")
        for key in (EVENTS, REJECTED, PROPOSED_STREAM, PLANS, PASSES, DECISIONS):
            admin.run("XADD", key, "1-1", "field", "value")
        admin.run("XGROUP", "CREATE", PLANS, "governor", "0")


@pytest.mark.parametrize("role", ROLES)
def test_the_server_refuses_what_is_not_the_job_of_a_role(redis: Redis, role: str) -> None:
    something_everywhere(redis)
    before = keyspace(redis)
    with redis.store(role) as store:
        for act in (*FORBIDDEN[role], *FOR_NOBODY):
            with pytest.raises(NoPermissionError):
                pytest.fail(f"{role} may {act}: {store.run(*act.split())}")
    assert keyspace(redis) == before


@pytest.mark.parametrize("role", ["allocation", "governor", "operator", "apply"])
def test_a_script_may_not_do_what_its_user_may_not(redis: Redis, role: str) -> None:
    something_everywhere(redis)
    before = keyspace(redis)
    with redis.store() as admin:
        digest = admin.run("SCRIPT", "LOAD", "return redis.call(unpack(ARGV))")
    with redis.store(role) as store:
        for act in FORBIDDEN[role]:
            if act.startswith(("EVAL", "SCRIPT", "SCAN", "XREADGROUP")):
                continue
            command = act.split()
            with pytest.raises(NoPermissionError):
                pytest.fail(f"{store.run('EVALSHA', digest, 1, command[1], *command)}: {act}")
    assert keyspace(redis) == before


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_a_password_and_no_other_opens_it(redis: Redis, role: str) -> None:
    for password in ("", "wrong", f"{role}-sha256"):
        wrong = Access(username=role, password=partial(str, password))
        store = Store(redis.url, Keys(), access=wrong)
        with pytest.raises(RedisUnreachable, match="refuses the login"):
            store.run("PING")
        store.close()
    with redis.store(role) as store:
        assert store.run("PING") == b"PONG"


def test_nobody_gets_in_without_a_user(redis: Redis) -> None:
    with (
        contextlib.closing(Store(redis.url, Keys())) as anonymous,
        pytest.raises(RedisUnreachable, match="refuses the login: Authentication required"),
    ):
        anonymous.run("PING")


def test_no_password_is_in_the_shipped_file() -> None:
    for line in ACL_FILE.read_text().splitlines():
        if line.startswith("user "):
            words = line.split()
            placeholder = "resetpass" if words[1] == "default" else f"#{words[1]}-sha256"
            assert placeholder in words
            assert not any(word.startswith((">", "nopass", "#0")) for word in words)


def test_the_shipped_file_as_it_is_starts_no_server(tmp_path: Path) -> None:
    binary = needed("redis-server")
    run = subprocess.run(
        [binary, str(ACL_FILE), "--port", "0", "--save", ""],
        cwd=tmp_path, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert run.returncode != 0
    assert "password hash must be exactly 64 characters" in run.stdout + run.stderr


@pytest.mark.parametrize("by", ["aclfile", "include"])
def test_the_recipe_in_the_shipped_file_makes_a_server_with_these_users(
    tmp_path: Path, by: str
) -> None:
    shutil.copy(ACL_FILE, tmp_path)
    recipe = "\n".join(re.findall(r"^#   (.*)$", ACL_FILE.read_text(), re.MULTILINE))
    if by == "include":
        recipe = recipe.replace("rm users.tmp", "mv users.tmp users.acl")
    needed("openssl")
    subprocess.run(["/bin/sh", "-eu", "-c", recipe], cwd=tmp_path, check=True, timeout=30)
    assert not (tmp_path / "users.acl").stat().st_mode & 0o077
    port = free_port()
    with redis_server({"port": str(port), by: str(tmp_path / "users.acl")}, port):
        for role in ROLES:
            secret = (tmp_path / f"{role}.password").read_text()
            access = Access(username=role, password=partial(str, secret))
            store = Store(f"redis://127.0.0.1:{port}", Keys(), access=access)
            assert store.run("PING") == b"PONG"
            store.close()
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.sendall(b"PING\r\n")
            assert plain.recv(100).startswith(b"-NOAUTH")
