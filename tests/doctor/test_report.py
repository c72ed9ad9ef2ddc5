"""The report as a whole: its page, its codes, and what it does where it may not look, or can't."""

import contextlib
import http.server
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from qtctl import clock
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import Keys
from tests.doctor.conftest import System
from tests.support.cli import NO_FILE, Cli
from tests.support.processes import qtctl, until

UNITS = Path(__file__).parents[2] / "units"


@pytest.fixture
def lonely(redis_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[System]:
    """A server with nothing on it."""
    system = System(redis_url, Cli(redis_url, capsys), tmp_path)
    yield system
    system.store.close()


@pytest.fixture
def gone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> System:
    """No server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    url = f"redis://ops:hush@127.0.0.1:{port}/3"
    return System(url, Cli(url, capsys), tmp_path)


def checks(found: list[dict[str, str]], level: str) -> set[str]:
    return {row["check"] for row in found if row["level"] == level}


# The page ---------------------------------------------------------------------------------------


def test_the_page_has_the_worst_first_and_one_line_for_what_is_well(system: System) -> None:
    system.run("SET", "quantum:kill", "reduce_only")
    system.run("SET", "quantum:permit:p1", "x")
    lines = system.doctor().out.splitlines()
    heads = [line.split()[0] for line in lines if line]
    assert heads.index("WRONG") < heads.index("WARNING") < heads.index("ok")
    assert lines[-2].startswith("ok       kill 2, redis 8, ")
    assert lines[-1].startswith("total    2 wrong, 1 warning, 0 unknown, ")
    assert lines[-1].endswith(" quantum:")


def test_verbose_tells_what_was_seen_where_all_is_well(system: System) -> None:
    out = system.doctor("--verbose").out
    assert "redis.persistence  append-only file on" in out
    assert "group.lag          group governor: lag 0" in out
    assert out.splitlines()[-1].startswith("total    0 wrong, 0 warnings, 0 unknown, ")


def test_a_command_is_one_line_also_on_80_columns(system: System) -> None:
    system.run("SET", "quantum:permit:" + "p" * 60, "x")
    child = pexpect.spawn(
        sys.executable,
        ["-m", "qtctl", "--redis-url", system.url, "doctor", "--root", str(system.root)],
        env={**NO_FILE, "TERM": "xterm", "NO_COLOR": "1", "PATH": "/usr/bin:/bin"},
        dimensions=(60, 80),
        encoding="utf-8",
    )
    child.expect(pexpect.EOF, timeout=30)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(child.before)).splitlines()
    child.close()
    commands = [line for line in lines if line.startswith("run ")]
    assert commands
    assert any(line.rstrip().endswith("p" * 60) for line in commands)
    assert all(len(line.rstrip()) <= 80 for line in lines if not line.startswith("run "))


def test_text_from_redis_moves_no_cursor(system: System) -> None:
    system.plan(symbol=None, source="\x1b[2Jevil", decision="SKIP")
    said = system.doctor()
    assert "\x1b" not in said.out
    assert "\\x1b[2Jevil" in said.out


def test_json_has_every_check_and_ndjson_a_line_each(system: System) -> None:
    rows = system.doctor("-o", "json").json
    assert {"check", "level", "what", "why", "command"} == set(rows[0])
    assert {row["level"] for row in rows} == {"ok"}
    assert len(system.doctor("-o", "ndjson").out.splitlines()) == len(rows)


def test_a_server_with_nothing_on_it_lacks_everything_at_once(lonely: System) -> None:
    said = lonely.doctor()
    assert said.code == 1
    wrong = checks(lonely.found(), "wrong")
    assert wrong == {"redis.persistence", "service.alive", "upstream.targets", "upstream.plans",
                     "group.lag"}  # fmt: skip
    assert said.out.count("no governor runs on this Redis") == 1
    assert said.out.count("no allocation runs on this Redis") == 1


# Where it can't look ----------------------------------------------------------------------------


def test_without_redis_it_tells_what_needs_none_and_ends_with_3(gone: System) -> None:
    environ = {"GOV_MAX_EXEC": "5", "P31_MIN_CONF": "0.7  # careful"}
    said = gone.doctor(environ=environ)
    assert said.code == 3
    assert "WRONG    redis.reachable: no Redis at redis://ops@127.0.0.1:" in said.out
    assert "WARNING  settings.shell: environment GOV_MAX_EXEC is not a setting" in said.out
    assert "run      unset GOV_MAX_EXEC" in said.out
    assert "run      export P31_MIN_CONF=0.7" in said.out
    assert "hush" not in said.out + said.err
    assert said.err == ""


def test_redis_that_goes_away_in_the_middle_is_no_traceback(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Short(Store):
        def run(self, *command: Any) -> Any:
            if command[0] == "INFO":
                self.close()
                self.url = "unix:///nowhere/server.sock"
            return super().run(*command)

    monkeypatch.setattr("qtctl.wire.client.store.Store", Short)
    said = system.doctor()
    assert said.code == 3
    assert "no Redis at unix:///nowhere/server.sock" in said.out
    assert "settings" in said.out.splitlines()[-2]


def test_settings_that_can_not_be_end_with_5_and_a_report(lonely: System) -> None:
    said = lonely.doctor("--set", "governor.min_conf=7")
    assert said.code == 5
    assert "WRONG    settings.shell: governor.min_conf = '7' (--set)" in said.out
    assert "--set governor.min_conf=7 config check" in said.out
    assert "UNKNOWN  redis.reachable: not asked: " in said.out


def test_the_private_server_that_does_not_run_is_started_by_what_is_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    environ = {"STATE_DIRECTORY": str(tmp_path)}
    said = Cli("embedded:", capsys)("doctor", "--root", str(tmp_path), environ=environ)
    assert said.code == 3
    assert "run      qtctl --redis-url embedded: serve all --embedded" in said.out


def test_a_look_that_is_not_permitted_is_unknown_and_stops_no_other(system: System) -> None:
    refused = ("-info", "-xinfo|consumers", "-dbsize")
    system.run("ACL", "SETUSER", "narrow", "on", ">pw", "~quantum:*", "+@all", *refused)
    url = f"{system.url}?username=narrow&password=pw"
    try:
        found = System(url, Cli(url, system.cli._capsys), system.root)
        rows = found.found()
        assert {row["level"] for row in rows} == {"unknown"}
        assert checks(rows, "unknown") == {
            "redis.version", "redis.role", "redis.eviction", "redis.memory", "redis.persistence",
            "group.consumers",
        }  # fmt: skip
        assert found.doctor().code == 0
        assert found.doctor("--strict").code == 1
        said = found.doctor().out
        assert said.count("no permission: ") == 1
        assert "redis.version, redis.role, redis.eviction" in said
        found.store.close()
    finally:
        system.run("ACL", "DELUSER", "narrow")


def test_a_kill_key_that_may_not_be_read_is_not_taken_for_normal(system: System) -> None:
    keys = ("%R~quantum:[^k]*", "resetkeys")
    system.run("ACL", "SETUSER", "blind", "on", ">pw", keys[1], keys[0], "+@all")
    url = f"{system.url}?username=blind&password=pw"
    try:
        found = System(url, Cli(url, system.cli._capsys), system.root)
        row = found.one("kill.switch")
        assert row["level"] == "unknown"
        assert row["what"] == "may not be read: quantum:kill"
        found.store.close()
    finally:
        system.run("ACL", "DELUSER", "blind")


def test_a_permit_behind_the_end_of_the_walk_is_unknown_not_absent(system: System) -> None:
    script = "for i = 1, 4000 do redis.call('SET', 'foreign:' .. i, 'x') end"
    system.run("EVAL", script, 0)
    try:
        row = system.one("permit.lifetime", "--scan", "1000")
        assert row["level"] == "unknown"
        assert "of 4," in row["what"]
        assert "doctor --scan 8" in row["command"]
        assert system.found() == []
        system.run("SET", "quantum:permit:p1", "x")
        assert "p1" in system.one("permit.lifetime")["what"]
    finally:
        system.run("EVAL", script.replace("'SET'", "'DEL'").replace(", 'x'", ""), 0)


def test_permits_of_other_systems_are_nobodys_finding(system: System) -> None:
    system.run("HSET", "quantum:permit:p33:p1", "a", "b")
    system.run("SET", "quantum:permit:p26:p1", "x")
    try:
        assert system.found() == []
    finally:
        system.run("DEL", "quantum:permit:p33:p1", "quantum:permit:p26:p1")


# Clocks, ports, services ------------------------------------------------------------------------


@pytest.mark.parametrize(("by", "level"), [(30, "warning"), (-30, "warning"), (120, "wrong")])
def test_clocks_that_are_apart(
    system: System, by: int, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + by)
    row = system.one("redis.clock")
    assert row["level"] == level
    assert f"{abs(by)}.0 s {'behind' if by > 0 else 'ahead of'} this host's" in row["what"]


class Elsewhere(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def taken(kind: str) -> Iterator[int]:
    """A port where another program listens."""
    if kind == "does not answer":
        with socket.create_server(("127.0.0.1", 0)) as listening:
            yield listening.getsockname()[1]
        return
    server = http.server.HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("kind", ["another program", "does not answer"])
def test_a_port_that_another_program_has_is_named(lonely: System, kind: str) -> None:
    with taken(kind) as port:
        row = lonely.one("service.ports", "--set", f"governor.metrics_port={port}")
        assert f"127.0.0.1:{port} of governor, by this shell's settings, " in row["what"]
        assert "as no governor runs, is taken by" in row["what"]
        assert kind in row["what"]
        assert row["command"] == f"sudo ss -ltnp sport = :{port}"


def test_a_governor_without_redis_is_heard_on_its_port(gone: System) -> None:
    free = ("--set", "governor.metrics_port=0")
    with qtctl("--redis-url", gone.url, "serve", "governor", *free, env=NO_FILE) as child:
        port = child.wait_for_line("governor listening").rpartition(":")[2].strip()
        child.wait_for_line("Redis is unreachable")
        row = gone.one("service.ports", "--set", f"governor.metrics_port={port}")
        assert row["command"] == f"curl -s http://127.0.0.1:{port}/readyz", "needs no Redis"
    assert "not ready: no Redis at" in row["what"]


def test_a_halt_is_taken_back_by_what_is_printed(system: System) -> None:
    system.cli("halt", "BTCUSDT", "--reason", "odd feed")
    row = system.one("kill.switch")
    assert row["level"] == "warning"
    assert "BTCUSDT is stopped" in row["what"]
    assert row["what"].endswith(": odd feed)")
    system.fix(f"{row['command']} --yes")
    system.cli("halt", "--all", "--reason", "exchange is down")
    row = system.one("kill.switch")
    assert row["level"] == "wrong"
    assert row["what"].endswith(": exchange is down")
    system.fix(f"{row['command']} --yes")
    assert system.found() == []


def test_a_governor_that_is_not_ready_says_why(system: System) -> None:
    system.run("CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lfu")
    until(lambda: "service.ready" in checks(system.found(), "wrong"))
    assert "not ready: Redis may evict decisions" in system.one("service.ready")["what"]
    system.fix(system.one("redis.eviction")["command"])
    until(lambda: system.found() == [])


def test_a_service_whose_port_is_dead_is_not_taken_for_ready(system: System) -> None:
    key = system.store.keys.service("allocation", "ghost")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    fields = ("version", "0.1.0", "host", socket.gethostname(), "metrics", f"127.0.0.1:{port}",
              "last_pass_at", system.store.now_ms() // 1000)  # fmt: skip
    system.run("HSET", key, *fields)
    try:
        assert "nobody listens there" in system.one("service.ready")["what"]
    finally:
        system.run("DEL", key)


def test_dead_consumers_of_another_group_are_named(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qtctl.doctor.queues.DEAD_SEC", 0.0)
    system.plan(stream="other:stream")
    system.run("XGROUP", "CREATE", "other:stream", "apply", "0")
    system.run("XREADGROUP", "GROUP", "apply", "old-host", "STREAMS", "other:stream", ">")
    row = system.one("group.consumers", "--set", "governor.stream_plans=other:stream")
    assert "1 pending with them: old-host" in row["what"]


# Settings ---------------------------------------------------------------------------------------


def install(root: Path, env: str) -> Path:
    """The governor's unit on a host of its own, and its EnvironmentFile."""
    units, quantum = root / "etc/systemd/system", root / "etc/quantum"
    units.mkdir(parents=True)
    quantum.mkdir()
    (quantum / "qtctl.toml").write_text("")
    file = quantum / "governor.env"
    file.write_text(env)
    (units / "quantum-governor.service").write_text(
        "[Service]\nExecStart=/usr/bin/env qtctl serve governor\n"
        "EnvironmentFile=/etc/quantum/governor.env\n"
    )
    return file


ENV = """\
# limits
P31_MIN_CONF=0.65    # a comment that systemd keeps
GOV_MAX_EXEC_PER_MIN=9
P31_STALE_SEC=600
GOV_KILL_SCORE_CRITICAL=0.8
"""


def test_what_is_wrong_in_an_environment_file_is_fixed_line_by_line(system: System) -> None:
    file = install(system.root, ENV)
    for expected in ("ignored the trailing comment", "GOV_MAX_EXEC_PER_MIN is not a setting",
                     "P31_STALE_SEC is a setting of allocation"):  # fmt: skip
        rows = [row for row in system.found() if row["check"] == "settings.files"]
        (row,) = [row for row in rows if expected in row["what"]]
        assert row["level"] == "warning"
        assert str(file) in row["what"]
        system.fix(row["command"])
    assert [row for row in system.found() if row["check"].startswith("settings.")] == []
    assert file.read_text() == (
        "# limits\nP31_MIN_CONF=0.65\n# GOV_MAX_EXEC_PER_MIN=9\n# P31_STALE_SEC=600\n"
        "GOV_KILL_SCORE_CRITICAL=0.8\n"
    )


def test_a_quoted_value_is_left_to_an_editor(system: System) -> None:
    file = install(system.root, 'P31_MIN_CONF="0.65 # odd"\n')
    assert system.one("settings.files")["command"] == f"sudoedit {file}"


def test_a_unit_that_would_not_start_is_wrong(system: System) -> None:
    install(system.root, "P31_MIN_CONF=65\n")
    row = system.one("settings.units")
    assert row["level"] == "wrong"
    assert "quantum-governor.service would not start" in row["what"]


def test_a_missing_environment_file_is_wrong(system: System) -> None:
    install(system.root, "").unlink()
    assert (
        "governor.env of quantum-governor.service is not there"
        in (system.one("settings.units")["what"])
    )


def test_the_packaged_units_and_files_have_no_finding(system: System) -> None:
    import shutil

    shutil.copytree(UNITS, system.root / "etc/systemd/system")
    shutil.copytree(UNITS.parent / "etc", system.root / "etc/quantum")
    assert system.found() == []


def test_a_gate_that_is_off_is_told_with_the_file_that_turns_it_off(lonely: System) -> None:
    file = install(lonely.root, "GOV_KILL_SCORE_CRITICAL=0\n")
    row = lonely.one("settings.sane")
    assert "the kill score gate is off" in row["what"]
    assert "(the installed quantum-governor.service, as no governor runs)" in row["what"]
    assert row["command"] == f"sudoedit {file} && sudo systemctl restart quantum-governor.service"
    assert "sudo systemctl start quantum-governor.service" in {
        each["command"] for each in lonely.found() if each["check"] == "service.alive"
    }


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("governor.max_notional_per_trade_usd=0", "the notional gate is off"),
        ("governor.permit_ttl_sec=900", "permit_ttl_sec is 900"),
        (
            "governor.min_conf=0.7",
            "0.65 of this shell's settings, as no allocation runs, and 0.7 of ",
        ),
        ("governor.min_factor=1", "min_factor 1"),
        ("allocation.propose_key_ttl_sec=10", "proposals live 10 s and are made every 10 s"),
        ("allocation.scale=0", "scale 0"),
        ("safety.allow_eviction=true", "allow_eviction is true"),
    ],
)
def test_values_that_nobody_can_mean(lonely: System, setting: str, said: str) -> None:
    assert said in lonely.one("settings.sane", "--set", setting)["what"]


def test_the_printed_commands_are_for_the_same_redis(system: System) -> None:
    system.run("SET", "quantum:kill", "1")
    system.run("SELECT", "0")
    assert system.one("kill.switch")["command"].startswith("redis-cli -s /")
    store = Store(system.url, Keys("other:"))
    other = ("--set", "redis.prefix=other:")
    rows = {row["check"]: row["command"] for row in system.found(*other)}
    store.close()
    assert "--set redis.prefix=other:" in rows["upstream.targets"]
    assert f"--redis-url {system.url}" in rows["upstream.targets"]
