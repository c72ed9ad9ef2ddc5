"""Each incident, made for real: `status` exits 1, the first line of its page names the cause, and
the command that helps is at most two commands away."""

import re
import shlex
import signal
from collections.abc import Callable
from typing import NamedTuple

import pytest

from qtctl.wire.schema.keys import EFFICIENCY, LEDGER, TARGET
from tests.incidents.conftest import SYMBOLS, Scene, Seen
from tests.support.cli import Cli
from tests.support.processes import until


def killed(scene: Scene) -> None:
    scene.kill()
    for number in range(51):
        scene.plan(f"late-{number}")


def killed_long_ago(scene: Scene) -> None:
    killed(scene)
    scene.run("DEL", scene.keys.service("governor", "g1"))


def emptied(scene: Scene) -> None:
    scene.run("FLUSHALL")
    until(lambda: scene.run("EXISTS", scene.keys.emptied), what="a governor to notice")


def scores_stop(scene: Scene) -> None:
    scene.upstream(age_sec=3000)
    for symbol in SYMBOLS:
        scene.run("HSET", scene.keys.at(TARGET, symbol), "timestamp", scene.store.now_ms() // 1000)


def scores_gone(scene: Scene) -> None:
    scene.run("DEL", *(scene.keys.at(EFFICIENCY, symbol) for symbol in SYMBOLS))


def known_switch(scene: Scene) -> None:
    scene.run("SET", "quantum:kill", "1")
    scene.close("stopped")
    scene.judged("stopped")


def unknown_switch(name: str, value: str) -> Callable[[Scene], None]:
    return lambda scene: scene.run("SET", f"quantum:{name}", value)


def behind(scene: Scene) -> None:
    """50,000 at once before a governor that hangs."""
    scene.freeze()
    flat = "'plan_id','q'..i,'symbol','BTCUSDT','action','OPEN_PROPOSED','decision','EXECUTE'"
    script = f"for i = 1, 50000 do redis.call('XADD', KEYS[1], '*', {flat}) end"
    scene.run("EVAL", script, 1, scene.keys.plans)


def stuck(scene: Scene) -> None:
    """Taken up by a consumer that is gone, fifteen days ago, while the governor hangs."""
    scene.freeze()
    for number in range(30):
        scene.plan(f"held-{number}")
    # One may have gone to the governor, whose read was waiting.
    group = ("GROUP", "governor", "gone", "COUNT", 100, "STREAMS", scene.keys.plans, ">")
    scene.run("XREADGROUP", *group)
    ids = [row[0] for row in scene.run("XPENDING", scene.keys.plans, "governor", "-", "+", 100)]
    idle = ("IDLE", 15 * 86_400_000, "JUSTID")
    scene.run("XCLAIM", scene.keys.plans, "governor", "gone", 0, *ids, *idle)


def stuck_elsewhere(scene: Scene) -> None:
    """What another system's consumer took up and never finished."""
    scene.run("XGROUP", "CREATE", scene.keys.plans, "apply_layer", "0")
    group = ("GROUP", "apply_layer", "gone", "COUNT", 1, "STREAMS", scene.keys.plans, ">")
    ((_, ((entry_id, _),)),) = scene.run("XREADGROUP", *group)
    idle = ("IDLE", 15 * 86_400_000, "JUSTID")
    scene.run("XCLAIM", scene.keys.plans, "apply_layer", "gone", 0, entry_id, *idle)


def deleted(scene: Scene) -> None:
    scene.run("DEL", scene.keys.plans)


def other_type_of_stream(scene: Scene) -> None:
    scene.run("DEL", scene.keys.plans)
    scene.run("SET", scene.keys.plans, "x")


def other_type_of_targets(scene: Scene) -> None:
    for symbol in SYMBOLS:
        scene.run("SET", scene.keys.at(TARGET, symbol), "x")


def other_type_of_ledger(scene: Scene) -> None:
    """A plan that Redis refuses to settle."""
    scene.run("SET", scene.keys.at(LEDGER, "SOLUSDT"), "x")
    scene.plan("refused", symbol="SOLUSDT")


def restarted(scene: Scene) -> None:
    scene.restart(empty=False)


def restarted_empty(scene: Scene) -> None:
    scene.restart(empty=True)


class Incident(NamedTuple):
    """alarm, line: the word and the text of the alarm that names it; cause: of the first one, where
    that is what it follows from. check, helps: what doctor finds, and words of its command."""

    name: str
    make: Callable[[Scene], object]
    alarm: str
    line: str
    check: str
    helps: str
    cause: str = ""


INCIDENTS = (
    Incident("governor killed", killed, "governor",
             "governor g1 gives NO ANSWER, nobody listens at", "service.ready", "serve governor"),
    Incident("governor killed long ago", killed_long_ago, "governor",
             "no governor is running: no plan is judged", "service.alive", "serve governor"),
    Incident("Redis back empty", emptied, "redis_emptied",
             "ago Redis came back EMPTY, found by governor:g1", "redis.emptied", "halt"),
    Incident("Redis restarted without its data", restarted_empty, "redis_emptied",
             "ago Redis came back EMPTY, found by governor:g1", "redis.emptied", "halt"),
    Incident("scores stop", scores_stop, "scores",
             "SCORES SILENT: 3 of 3 stale, the newest 50 min old", "upstream.scores", "eff list"),
    Incident("scores gone", scores_gone, "scores",
             "NO SCORES: none for any of 3 symbols", "upstream.scores", "config show redis"),
    Incident("a foreign kill key under a known name", known_switch, "halted",
             "HALTED opens and closes: quantum:kill='1' (not set by qtctl halt)", "kill.switch",
             "ttl quantum:kill"),
    Incident("a foreign kill key under an unknown name", unknown_switch("emergency_stop", "1"),
             "unread_switch", "quantum:emergency_stop='1' stops NOTHING: no governor reads that "
             "name", "kill.unread", "halt"),
    Incident("a mode that nobody reads", unknown_switch("system:mode", "HALT"), "unread_switch",
             "quantum:system:mode='HALT' stops NOTHING", "kill.unread", "halt"),
    Incident("50,000 plans behind", behind, "behind", "plans BEHIND", "service.ready",
             "serve governor", cause="governor"),
    Incident("a stuck group", stuck, "pending",
             "30 plans STUCK in the group: taken up, and no verdict", "group.pending",
             "group recover", cause="governor"),
    Incident("another system's group is stuck", stuck_elsewhere, "other_group",
             "1 plan stuck in the group apply_layer for up to 15.0 d", "group.pending",
             "group list"),
    Incident("the stream deleted", deleted, "plan_stream",
             "quantum:stream:apply.plan was DELETED: plans were judged until", "upstream.plans",
             "group"),
    Incident("the plan stream is a string", other_type_of_stream, "plan_stream",
             "quantum:stream:apply.plan is no stream but a string", "stream.bounded",
             "rename quantum:stream:apply.plan"),
    Incident("targets are strings", other_type_of_targets, "targets",
             "3 of 3 targets UNREADABLE: no hash (wrong type)", "upstream.targets",
             "del quantum:allocation:target:BTCUSDT"),
    Incident("a ledger is a string", other_type_of_ledger, "pending",
             "1 plan PENDING for up to", "key.types",
             "rename quantum:governor:ledger:SOLUSDT"),
)  # fmt: skip


def plain(text: str) -> str:
    """Without its figures, which go on while one looks."""
    return re.sub(r"[0-9][0-9.,]*", "#", text)


@pytest.mark.parametrize("incident", INCIDENTS, ids=[it.name for it in INCIDENTS])
def test_status_names_it_and_doctor_has_the_command_that_helps(
    scene: Scene, incident: Incident
) -> None:
    incident.make(scene)

    def named() -> bool:
        banner = scene.status().banner
        return incident.alarm in banner and banner[0] == (incident.cause or incident.alarm)

    until(named, what=f"an alarm {incident.alarm}")
    said = scene.status()
    assert said.code == 1
    assert said.document["ok"] is False
    text = next(it["text"] for it in said.document["banner"] if it["alarm"] == incident.alarm)
    assert incident.line in text
    first = said.document["banner"][0]
    assert plain(said.page.splitlines()[0]) == plain(f"INCIDENT  {first['text']}")
    # The second command is the one that the page names.
    assert scene.words(first["command"])[0] in ("doctor", "why", "group", "resume")
    finding = until(lambda: scene.finding(incident.check), what=incident.check)
    assert finding is not None
    assert incident.helps in finding["command"], finding
    top = scene.cli("top", "-n", "1").out
    assert plain(top).startswith(plain(f"INCIDENT {first['text']}"))


def test_a_restart_of_redis_is_said_with_when(scene: Scene) -> None:
    # A server's start is known to the second, and this one is not a second old.
    born = scene.store.now_ms() // 1000
    until(lambda: scene.store.now_ms() // 1000 > born + 1)
    restarted(scene)
    until(lambda: scene.status().banner == ["redis_restarted"], what="the alarm alone")
    assert "Redis RESTARTED" in scene.status().page.splitlines()[0]


def test_what_the_banner_of_a_foreign_switch_adds(scene: Scene) -> None:
    known_switch(scene)
    said = scene.status()
    assert said.banner == ["halted", "closes_refused"]
    text = said.document["banner"][1]["text"]
    assert text.startswith("1 CLOSE REFUSED in 10 min (kill_switch_active), the last ")
    why = scene.why("ETHUSDT")
    assert why["cause"] == "halted"
    assert "quantum:kill='1', not set by qtctl halt" in why["sentence"]
    scene.run("DEL", "quantum:kill")
    # The switch is off again: the close that it refused is what is left to do.
    said = scene.status()
    assert said.banner == ["closes_refused"]
    assert scene.words(said.document["banner"][0]["command"]) == ["why", "ETHUSDT"]


def test_a_flood_has_no_figure_that_can_not_be(scene: Scene) -> None:
    behind(scene)
    found = scene.status().document["plans"]
    assert found["per_minute"] <= 50_001, "not a million"
    until(lambda: (scene.status().document["group"]["first_waits_s"] or 0) > 3, what="it to wait")
    scene.governor.signal(signal.SIGCONT)
    looks: list[Seen] = []

    def serving() -> bool:
        looks.append(scene.status())
        return looks[-1].banner[:1] == ["behind"] or "all_stale" in looks[-1].banner

    until(serving, what="a governor that serves them")
    seen = looks[-1]
    assert seen.document["plans"]["per_minute"] <= 50_001
    if seen.banner[0] == "behind":  # A quick machine is through with them by now.
        assert "plans BEHIND, the first has waited" in seen.document["banner"][0]["text"]
    page = scene.cli("why", "BTCUSDT").out
    row = next(line for line in page.splitlines() if line.startswith("plans "))
    assert "-0" not in row
    there, of = row.split()[1].replace(",", ""), row.split(" of ")[1].split()[0].replace(",", "")
    assert int(there) <= int(of), row


def test_recover_does_not_say_that_all_is_well_before_a_dead_governor(scene: Scene) -> None:
    killed(scene)
    said = scene.cli("group", "recover")
    assert said.code == 1
    assert (
        "51 plans wait in the stream, and no governor is taking them. Start a governor" in said.err
    )
    assert "Nothing is stuck" not in said.err


def test_why_names_a_dead_governor_before_its_record_is_gone(scene: Scene) -> None:
    killed(scene)
    found = scene.why()
    assert found["cause"] == "governor_stuck"
    assert "g1 does not answer (nobody listens at 127.0.0.1:" in found["sentence"]


def test_why_says_that_redis_came_back_empty(scene: Scene) -> None:
    emptied(scene)
    said = scene.cli("why", "BTCUSDT")
    assert said.code == 1
    assert "ago Redis came back EMPTY, found by governor:g1" in said.err


def test_why_names_the_key_that_keeps_a_plan_pending(scene: Scene) -> None:
    other_type_of_ledger(scene)
    found = until(lambda: (w := scene.why("SOLUSDT"))["cause"] == "plan_waiting" and w)
    assert "since quantum:governor:ledger:SOLUSDT is a string" in found["sentence"]
    assert scene.words(found["command"]) == ["doctor"]
    finding = scene.finding("key.types")
    assert finding is not None
    scene.run(*shlex.split(finding["command"].split("server.sock ")[1]))
    scene.judged("refused")


@pytest.mark.parametrize("command", [("why", "BTCUSDT"), ("tail", "plans"), ("group", "list")])
def test_a_plan_stream_of_another_type_is_named_with_what_helps(
    scene: Scene, command: tuple[str, ...]
) -> None:
    other_type_of_stream(scene)
    said = scene.cli(*command)
    assert said.code == 1
    assert "quantum:stream:apply.plan" in said.err
    assert "doctor" in said.err


def test_another_database_names_the_one_that_the_services_use(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Cli(f"{scene.server.url}?db=7", capsys)
    said = other("status")
    assert said.code == 1
    line = "INCIDENT  wrong database? db 7 is empty; the services here use db 0"
    assert said.out.splitlines()[0] == line
    assert [it["alarm"] for it in other("status", "-o", "json").json["banner"]] == [
        "wrong_database"
    ]
