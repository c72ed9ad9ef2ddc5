"""Every role does its whole job under its own user, and has no command that it does not use."""

import contextlib
import json
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from qtctl import clock
from qtctl.cli.framework.context import Context
from qtctl.cli.live.pages.plan import PlanPage
from qtctl.cli.live.pages.why import WhyPage
from qtctl.cli.live.trends import Trends
from qtctl.cli.live.view import PAGES
from qtctl.history.reader import History as Recorded
from qtctl.services.allocation import AllocationLoop
from qtctl.services.governor import Governor
from qtctl.services.recorder import Recorder
from qtctl.settings import load
from qtctl.settings.model import History
from qtctl.wire.client import xinfo
from qtctl.wire.client.store import Store
from qtctl.wire.governor import plan_queue
from qtctl.wire.queries.permits import newest
from qtctl.wire.schema.keys import GROUP, Keys, KeySpec
from tests.security.servers import ACL_FILE, Heard, Redis
from tests.support import plans
from tests.support.cli import NO_FILE, Cli, Said
from tests.support.processes import qtctl, until

Q = "quantum:"
NO_RATES = (
    "governor.symbol_cooldown_sec=0",
    "governor.max_exec_per_5min=0",
    "governor.max_exec_per_hour=0",
)
SPARE = {"select", "ping", "role", "cluster|slots"}
"""For a database other than 0, to see whether anybody is there, and to find the primary."""
TAKE = """
local held = redis.call('GET', KEYS[1])
if held then redis.call('DEL', KEYS[1]) end
return held
"""
"""What a consumer that knows nothing of qtctl sends."""


def allowed(role: str) -> set[str]:
    """The commands that the shipped file gives a role."""
    line = re.search(rf"^user {role} .*", ACL_FILE.read_text(), re.MULTILINE)
    assert line is not None
    return set(re.findall(r"[ (]\+([a-z|_]+)", line[0])) - SPARE


@contextlib.contextmanager
def nothing_refused(redis: Redis) -> Iterator[None]:
    yield
    assert redis.refusals() == []


@contextlib.contextmanager
def all_of_it_used(redis: Redis, role: str, but: Sequence[str] = ()) -> Iterator[None]:
    """Within it every command of a role is used, save those that are named."""
    with contextlib.closing(Heard(redis)) as heard:
        yield
        used = heard.commands()
    assert allowed(role) - used == set(but)


def allocation_loop(redis: Redis) -> AllocationLoop:
    settings = load(config=None, environ={}, sets=["allocation.name=a1"]).settings
    store = Store(redis.url, Keys(), access=redis.access("allocation"))
    return AllocationLoop(store, settings.allocation)


# No supervisor listens for it.
NO_PORT = "governor.metrics_port=0"


def governor(redis: Redis, *sets: str) -> Governor:
    settings = load(config=None, environ={}, sets=["governor.name=g1", NO_PORT, *sets]).settings
    store = Store(redis.url, Keys(), access=redis.access("governor"))
    return Governor(store, settings.governor, allow_eviction=False)


def publish(redis: Redis) -> None:
    """Targets and scores, as upstream writes them."""
    with redis.store("upstream") as store:
        now = int(clock.now())
        for symbol in ("BTCUSDT", "ETHUSDT"):
            store.run("HSET", f"{Q}allocation:target:{symbol}", "target_usd", 100)
            store.run("EXPIRE", f"{Q}allocation:target:{symbol}", 300)
        score = ("efficiency_score", 0.2, "confidence", 0.9, "ts", now)
        store.batch([("HSET", f"{Q}capital:efficiency:BTCUSDT", *score)], atomic=True)


def test_the_recorder_records_under_its_user(redis: Redis, tmp_path: Path) -> None:
    publish(redis)
    loop, gov = allocation_loop(redis), governor(redis, *NO_RATES)
    gov.open()
    loop.step()
    send(redis, plan_id="opens", qty=1, price=10)
    assert gov.once()
    # The walk is for services of a version before, which are not in the index.
    with nothing_refused(redis), all_of_it_used(redis, "recorder", but=["scan"]):
        store = Store(redis.url, Keys(), access=redis.access("recorder"))
        made = Recorder(store, History(name="r1"), lambda: tmp_path / "history")
        made.open()
        assert made.once()
        made.close()
    found = Recorded(tmp_path / "history")
    assert [each.plan_id for each in found.decisions()] == ["opens"]
    assert [each.value.number for each in found.passes()] == [1]
    loop.close()
    gov.close()


def send(redis: Redis, entry_id: str = "*", **changes: Any) -> str:
    """A plan, as upstream sends it; its plan_id."""
    fields = plans.fields(**changes)
    flat = [part for pair in fields.items() for part in pair]
    with redis.store("upstream") as store:
        store.run("XADD", f"{Q}stream:apply.plan", entry_id, *flat)
    return fields["plan_id"]


def decided(redis: Redis, plan_id: str) -> dict[str, str]:
    with redis.store("viewer") as store:
        return plans.decision(store, plan_id)


def test_the_allocation_loop_proposes_under_its_user(redis: Redis) -> None:
    publish(redis)
    loop = allocation_loop(redis)
    with nothing_refused(redis), all_of_it_used(redis, "allocation"):
        loop.open()
        assert loop.step() == 2
        with redis.store() as admin:
            assert admin.run("HGET", f"{Q}allocation:target:proposed:BTCUSDT", "reason") == b"ok"
            assert admin.run("EXISTS", f"{Q}qtctl:service:allocation:a1") == 1
        loop.close()


def test_an_allocation_loop_whose_code_is_wrong_writes_no_live_target_and_no_permit(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(redis)
    with redis.store() as admin:
        keys = [f"{Q}allocation:target:BTCUSDT", f"{Q}allocation:target:ETHUSDT"]
        before = plans.dump(admin, keys)
    wrong = ("allocation:target:{symbol}", "permit:{plan_id}")
    for template in wrong:
        spec = KeySpec(template, "hash", "", "")
        monkeypatch.setattr("qtctl.wire.allocation.proposals.PROPOSED", spec)
        loop = allocation_loop(redis)
        loop.step()
        assert loop.metrics.errors.labels("write")._value.get() == 2
        loop.close()
    with redis.store() as admin:
        assert plans.dump(admin, keys) == before
        assert not list(admin.scan_keys(f"{Q}permit:*"))
    assert redis.refusals()


def test_the_governor_does_all_of_its_work_under_its_user(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_queue, "DEAD_AFTER_MS", -1)
    publish(redis)
    with nothing_refused(redis), all_of_it_used(redis, "governor"):
        gov = governor(redis, *NO_RATES)
        gov.open()
        abandoned(redis)
        send(redis, plan_id="opens", qty=1, price=10)
        send(redis, plan_id="opens", symbol="ETHUSDT")  # A conflict: the permit is withdrawn.
        send(redis, plan_id="bad", decision=None)
        assert gov.once()
        halted(redis, gov)
        refused(redis, gov)
        send(redis, plan_id="waited")
        gov.wait(threading.Event())
        assert gov.once()
        stranded(redis, gov)
        forgotten(redis, gov)
        gov._look._quarantine(90_000)
        gov.close()
    with redis.store() as admin:
        assert admin.run("DEL", f"{Q}governor:clock_jump") == 1
    assert decided(redis, "opens")["withdrawn_at"]
    for plan_id in ("claimed", "closes", "refused", "waited"):
        assert decided(redis, plan_id)["verdict"] == "permitted"
    assert decided(redis, "halted")["reason"] == "kill_switch_active"


def stranded(redis: Redis, gov: Governor) -> None:
    """The group lies ahead of the stream."""
    with redis.store() as admin:
        plans_at = f"{Q}stream:apply.plan"
        admin.run("XGROUP", "SETID", plans_at, GROUP, "9999999999999-0")
        for _ in range(2):
            gov._look.at_once()
        (group,) = xinfo.groups(admin, plans_at)
        assert group.last_id != "9999999999999-0"
        admin.run("XGROUP", "SETID", plans_at, GROUP, "$")


def forgotten(redis: Redis, gov: Governor) -> None:
    """Redis has lost a halt of all and one of a symbol that the governor knew."""
    kill, kept, symbols, records = (
        f"{Q}{name}"
        for name in ("global:kill_switch", "governor:halt_kept", "governor:halt:symbols",
                     "governor:halt:records")
    )  # fmt: skip
    with redis.store() as admin:
        admin.run("SET", kill, "1")
        admin.run("HSET", symbols, "XUSDT", "all")
        gov._look.at_once()
        admin.run("DEL", kill, symbols, f"{Q}governor:mark:{gov.instance}")
        admin.run("SET", kept, "reduce_only")
        gov._look.at_once()
        assert admin.run("GET", kept) == b"all"
        admin.run("DEL", kept, records)
        gov._look.at_once()
        admin.run("DEL", symbols, f"{Q}governor:mark:{gov.instance}")
        admin.run("DEL", records)
        gov._look.at_once()
        assert admin.run("HGET", symbols, "XUSDT") == b"all"
        admin.run("DEL", kept, symbols, records, f"{Q}governor:emptied")


def halted(redis: Redis, gov: Governor) -> None:
    """A close that passes a kill switch, and an open that does not."""
    with redis.store() as admin:
        admin.run("SET", f"{Q}global:kill_switch", "reduce_only")
        send(redis, plan_id="closes", symbol="SOLUSDT", reduceOnly="true", action="CLOSE")
        send(redis, plan_id="halted")
        assert gov.once()
        admin.run("DEL", f"{Q}global:kill_switch")


def refused(redis: Redis, gov: Governor) -> None:
    """A plan that Redis refuses to settle, twice; a consumer that comes again settles it."""
    with redis.store() as admin:
        events = f"{Q}stream:governor.events"
        admin.run("RENAME", events, "aside")
        admin.run("SET", events, "no stream")
        send(redis, plan_id="refused")
        assert not gov.once()
        gov.close()
        gov.open()
        assert not gov.once()
        admin.run("RENAME", "aside", events)
        gov.close()
        gov.open()
        assert gov.once()


def abandoned(redis: Redis) -> None:
    """An entry that another consumer was given, tried, and left lying."""
    send(redis, plan_id="claimed")
    with redis.store() as admin:
        stream = f"{Q}stream:apply.plan"
        got = admin.run("XREADGROUP", "GROUP", "governor", "dead", "STREAMS", stream, ">")
        for _ in range(2):
            admin.run("XCLAIM", stream, "governor", "dead", 0, got[0][1][0][0], "IDLE", 60_000)


@pytest.mark.parametrize("encoding", ["json", "hash"])
def test_a_permit_goes_from_the_governor_to_the_apply_layer(redis: Redis, encoding: str) -> None:
    publish(redis)
    gov = governor(redis, f"governor.permit_encoding={encoding}")
    gov.open()
    send(redis, plan_id="p1")
    assert gov.once()
    with nothing_refused(redis), redis.store("apply") as store:
        keys = (f"{Q}permit:p1", f"{Q}governor:permits")
        assert b"granted" in store.script("take_permit", keys, ("p1",))
        assert store.script("take_permit", keys, ("p1",)) is None
    gov.close()


def test_a_consumer_of_its_own_takes_permits_and_reads_as_the_apply_layer(redis: Redis) -> None:
    publish(redis)
    loop, gov = allocation_loop(redis), governor(redis)
    loop.step()
    gov.open()
    send(redis, plan_id="p1")
    assert gov.once()
    plan_stream = f"{Q}stream:apply.plan"
    with nothing_refused(redis), redis.store("apply") as store:
        assert store.run("HGETALL", f"{Q}governor:decision:p1")
        assert store.run("XREVRANGE", f"{Q}stream:allocation.target.proposed", "+", "-")
        assert store.run("HGETALL", f"{Q}allocation:target:proposed:BTCUSDT")
        assert store.run("XREAD", "STREAMS", plan_stream, "0")
        store.run("XGROUP", "CREATE", plan_stream, "apply", "0")
        got = store.run("XREADGROUP", "GROUP", "apply", "a", "STREAMS", plan_stream, ">")
        assert store.run("XACK", plan_stream, "apply", got[0][1][0][0]) == 1
        assert b'"granted":true' in store.run("EVAL", TAKE, 1, f"{Q}permit:p1")
        assert store.run("EVAL", TAKE, 1, f"{Q}permit:p1") is None
    loop.close()
    gov.close()


LOOKS = (
    "target list", "target list BTCUSDT -o json", "eff list", "eff list BTCUSDT", "permit list",
    "permit show p2", "plan list", "plan list BTCUSDT --since 1h", "plan show p1",
    "plan explain p2 -o json", "tail proposed", "tail plans -o json", "tail events",
    "tail rejected -o ndjson", "plan list --what-if max_exec_per_hour=5",
    "plan show p1 --what-if kill_score_critical=0", "why BTCUSDT", "why ETHUSDT -o json",
    "group list", "stream list",
    "completion answer zsh plan show p", "completion answer zsh permit show p",
    "completion answer zsh why B", "completion answer zsh resume B",
    "completion answer zsh group prune g",
)  # fmt: skip


def worked(redis: Redis) -> None:
    """Both loops have done something of everything."""
    publish(redis)
    loop, gov = allocation_loop(redis), governor(redis, *NO_RATES)
    loop.step()
    gov.open()
    send(redis, plan_id="p1", kill_score=0.9)
    send(redis, plan_id="p2")
    send(redis, plan_id="bad", decision=None)
    assert gov.once()
    loop.close()
    gov.close()
    send(redis, plan_id="pending", symbol="ETHUSDT")
    with redis.store() as admin:
        admin.run(
            "XREADGROUP", "GROUP", "governor", "gone", "STREAMS", f"{Q}stream:apply.plan", ">"
        )


class As:
    """`qtctl` as one of the roles."""

    def __init__(self, redis: Redis, role: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._cli, self._environ = Cli(redis.url, capsys), redis.environ(role)

    def __call__(self, line: str) -> Said:
        return self._cli(*line.split(), environ=self._environ)

    def ok(self, line: str) -> Said:
        said = self(line)
        assert said.code == 0, (line, said)
        return said


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_every_look_works(redis: Redis, role: str, capsys: pytest.CaptureFixture[str]) -> None:
    worked(redis)
    run = As(redis, role, capsys)
    with nothing_refused(redis):
        for line in LOOKS:
            run.ok(line)


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_every_page_of_top_may_be_read(redis: Redis, role: str) -> None:
    worked(redis)
    ctx = Context(redis_url=redis.url, environ=NO_FILE | redis.environ(role))
    pages = [made(ctx) for made in PAGES] + [WhyPage(ctx, "BTCUSDT"), PlanPage(ctx, "p1")]
    with nothing_refused(redis), redis.store(role) as store:
        for page in pages:
            if page.reads:
                page.read(store)
        Trends(store).look_back(store.now_ms() / 1000)
        assert len(newest(store, 1).permits) == 1


def test_the_operators_doctor_may_look_at_everything(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    worked(redis)
    with nothing_refused(redis):
        found = As(redis, "operator", capsys)("doctor -o json").json
    assert [each for each in found if each["level"] == "unknown"] == []


def test_the_viewers_doctor_says_what_it_may_not_look_at(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    worked(redis)
    found = As(redis, "viewer", capsys)("doctor -o json").json
    unknown = [each["check"] for each in found if each["level"] == "unknown"]
    assert unknown == [f"redis.{what}" for what in
                       ("version", "role", "eviction", "memory", "persistence")]  # fmt: skip
    assert all(each["level"] == "ok" for each in found if each["check"] == "redis.clock")


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_what_happened_is_for_whoever_may_look(
    redis: Redis, role: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    worked(redis)
    run = As(redis, role, capsys)
    assert run.ok("timeline --where kind=service").out
    run.ok(f"bundle --out {tmp_path}/b.tar.gz")


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_may_only_look_sees_that_a_close_was_refused(
    redis: Redis, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis.store() as admin:
        admin.run("SET", f"{Q}kill", "1")
    gov = governor(redis)
    gov.open()
    send(redis, plan_id="c1", action="FULL_CLOSE_PROPOSED", reduceOnly="true")
    assert gov.once()
    gov.close()
    plans = As(redis, role, capsys)("status -o json").json["plans"]
    assert plans["closes_refused"] == {"kill_switch_active": 1}
    assert plans["close_refused_symbol"] == "BTCUSDT"


def test_the_viewer_has_no_command_that_no_look_uses(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    worked(redis)
    run = As(redis, "viewer", capsys)
    with nothing_refused(redis), all_of_it_used(redis, "viewer"):
        for line in LOOKS:
            run.ok(line)
        environ = NO_FILE | redis.environ("viewer")
        follow = ("tail", "events", "-n", "0", "-f", "--redis-url", redis.url)
        with qtctl(*follow, "-o", "ndjson", env=environ) as following:
            with redis.store() as admin:
                until(lambda: follows(admin), what="the first wait for an entry")
                admin.run("XADD", f"{Q}stream:governor.events", "*", "event", "seen")
            following.wait_for_line("seen")


def follows(admin: Store) -> bool:
    return b"cmd=xread " in admin.run("CLIENT", "LIST")


def test_the_operator_looks_after_the_consumer_groups(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    worked(redis)
    stream, run = f"{Q}stream:apply.plan", As(redis, "operator", capsys)
    with redis.store() as admin, nothing_refused(redis):
        ids = [each[0] for each in admin.run("XPENDING", stream, "governor", "-", "+", 10)]
        admin.run("XCLAIM", stream, "governor", "gone", 0, *ids, "IDLE", 120_000, "JUSTID")
        admin.run("XGROUP", "CREATECONSUMER", stream, "governor", "idle")
        now = int(admin.now_ms() // 1000)
        admin.run("HSET", f"{Q}qtctl:service:governor:here", "last_pass_at", now)
        run.ok("group recover")
        assert {each[1] for each in admin.run("XPENDING", stream, "governor", "-", "+", 10)} == {
            b"here"
        }
        until(lambda: run.ok("group prune --idle 1s -o json").json, what="an idle consumer")
        admin.run("XGROUP", "DESTROY", stream, "governor")
        run.ok("group recover")
        assert len(admin.run("XINFO", "GROUPS", stream)) == 1


@pytest.mark.parametrize(
    "line",
    ["permit take p2", "inject plan BTCUSDT", "inject eff BTCUSDT 0.5 --force",
     "inject target NEWUSDT 5", "halt", "halt BTCUSDT", "serve governor --once",
     "serve allocation --once"],
)  # fmt: skip
def test_a_viewer_who_would_change_something_is_told_so_in_a_line(
    redis: Redis, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    worked(redis)
    with redis.store() as admin:
        before = plans.dump(admin, sorted(set(admin.scan_keys("*"))))
    said = As(redis, "viewer", capsys)(line)
    assert said.code != 0 or "allocation" in line
    assert "permission" in said.err
    assert "Traceback" not in said.err
    with redis.store() as admin:
        assert plans.dump(admin, sorted(set(admin.scan_keys("*")))) == before


def test_the_operator_injects_takes_and_clears(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    worked(redis)
    run = As(redis, "operator", capsys)
    with nothing_refused(redis):
        injects_and_clears(run)
        run.ok("permit take p2 --cap 150")


@pytest.mark.parametrize("encoding", ["json", "hash"])
def test_the_operator_halts_and_resumes(
    redis: Redis, encoding: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gov = governor(redis, *NO_RATES, f"governor.permit_encoding={encoding}")
    gov.open()
    run = As(redis, "operator", capsys)
    with nothing_refused(redis):
        for plan_id in ("p1", "p2"):
            send(redis, plan_id=plan_id)
        assert gov.once()
        assert "2 permits withdrawn" in run.ok("halt --reason down").out
        run.ok("halt BTCUSDT --all")
        send(redis, plan_id="p3")
        assert gov.once()
        assert "HALTED" in As(redis, "viewer", capsys).ok("permit list").err
        run.ok("resume --reason up --yes")
        run.ok("resume BTCUSDT --reason up --yes")
        send(redis, plan_id="p4")
        assert gov.once()
    gov.close()
    verdicts = [decided(redis, plan_id)["verdict"] for plan_id in ("p1", "p3", "p4")]
    assert verdicts == ["permitted", "blocked", "permitted"]
    assert decided(redis, "p1")["withdrawn_at"]
    assert decided(redis, "p3")["kill_key"] == f"{Q}governor:halt:symbols"


def test_a_viewer_who_would_resume_is_told_so_and_changes_nothing(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    As(redis, "operator", capsys)("halt")
    said = As(redis, "viewer", capsys)("resume --reason up --yes")
    assert said.code == 1
    assert "permission" in said.err
    with redis.store() as admin:
        assert admin.run("GET", f"{Q}governor:halt") == b"reduce_only"


def injects_and_clears(run: As) -> None:
    run.ok("inject eff BTCUSDT 0.9 --force")
    run.ok("inject eff BTCUSDT 0.8")
    run.ok("inject target BTCUSDT 1000 --force")
    run.ok("inject target NEWUSDT 5")
    run.ok("inject plan BTCUSDT")
    run.ok("inject clear --dry-run")
    cleared = {row["did"] for row in json.loads(run.ok("inject clear -o json").out)}
    assert cleared == {"restored", "removed"}


def test_both_loops_serve_and_the_operator_proves_them_live(
    redis: Redis, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ports = ["--set", "allocation.metrics_port=0", "--set", "governor.metrics_port=0"]
    fast = ["--set", "allocation.interval_sec=0.2"]
    run = As(redis, "operator", capsys)
    publish(redis)
    with contextlib.ExitStack() as stack:
        # Following is the viewer's, in another test.
        stack.enter_context(
            all_of_it_used(redis, "operator", but=["xread", "xclaim", "xgroup|delconsumer"])
        )
        for role in ("allocation", "governor"):
            child = stack.enter_context(
                qtctl("serve", role, "--redis-url", redis.url, *ports, *fast,
                      env=NO_FILE | redis.environ(role))
            )  # fmt: skip
            child.wait_for_line("listening")
        with redis.store("viewer") as store:
            until(lambda: len(list(store.scan_keys(f"{Q}qtctl:service:*"))) == 2)
        report = str(tmp_path / "report")
        said = run.ok(f"proof all --live --yes -o json --report {report}")
        assert json.loads(said.out)["failed"] == 0
        assert "permitted" in run.ok("inject plan BTCUSDT --plan-id mine --wait 5").err
        run.ok("permit take mine")
        run.ok("inject plan ETHUSDT --plan-id left --wait 5")
        run.ok("halt")
        run.ok("resume --reason up --yes")
        injects_and_clears(run)
        for line in (*LOOKS, "doctor"):
            run(line)
    assert redis.refusals() == []
    with redis.store() as admin:
        assert not [key for key in admin.scan_keys("*") if "qtproof" in key.lower()]
