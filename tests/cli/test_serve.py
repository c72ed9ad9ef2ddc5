"""`qtctl serve` as a process: its ports, its signals, its private server, its ends."""

import os
import re
import signal
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from qtctl.cli.main import run
from qtctl.errors import QtctlError
from qtctl.wire.client.store import Store
from qtctl.wire.private_server import embedded
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.schema.keys import GROUP, PERMIT, PROPOSED, Keys
from tests.support.cli import NO_FILE, Cli, Said
from tests.support.processes import Process, qtctl, until

FREE_PORTS = (
    "--set", "allocation.metrics_port=0", "--set", "governor.metrics_port=0",
    "--set", "allocation.interval_sec=0.2",
)  # fmt: skip


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory with room for a socket's path; what runs there is ended."""
    with tempfile.TemporaryDirectory(prefix="qtctl-test-") as directory:
        yield Path(directory)
        if embedded.running(Path(directory)) is not None:
            embedded.serve_embedded(Path(directory)).stop()


def environ(state: Path | None = None, **more: str) -> dict[str, str]:
    own = {} if state is None else {"STATE_DIRECTORY": str(state)}
    quiet = {"QTCTL_HISTORY_ENABLED": "false"}
    return {"PATH": os.environ["PATH"], **NO_FILE, **quiet, **own, **more}


def port_of(child: Process, service: str) -> str:
    """The URL that a service listens on, from its log line."""
    line = child.wait_for_line(f"{service} listening url=")
    return re.search(r"url=(http://127\.0\.0\.1:\d+)", line)[1]  # type: ignore[index]


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def ready(base: str) -> bool:
    return get(f"{base}/readyz")[0] == 200


def run_qtctl(*args: str, env: dict[str, str] | None = None) -> Said:
    with qtctl(*args, env=env or environ()) as child:
        return Said(child.wait(), child.stdout, child.stderr)


# Hosting ---------------------------------------------------------------------------------------


def test_both_loops_work_and_tell_it_on_their_ports(cli: Cli, redis_url: str, store: Store) -> None:
    with qtctl("--redis-url", redis_url, "serve", "all", *FREE_PORTS, env=environ()) as child:
        allocation, governor = port_of(child, "allocation"), port_of(child, "governor")
        until(lambda: ready(allocation) and ready(governor))
        cli.ok("inject", "target", "BTCUSDT", "1000")
        cli.ok("inject", "eff", "BTCUSDT", "0.2")
        said = cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "p1", "--wait", "5")
        assert "permitted" in said.err
        until(lambda: store.run("EXISTS", store.keys.at(PROPOSED, "BTCUSDT")))
        shown = 'p29_shadow_multiplier{symbol="BTCUSDT"} 0.7'
        until(lambda: shown in get(f"{allocation}/metrics")[1])  # A pass may see no score yet.

        status, page = get(f"{allocation}/metrics")
        assert status == 200
        assert "p32_" not in page
        status, page = get(f"{governor}/metrics")
        assert status == 200
        assert 'p32_eff_apply_total{action="DOWNSIZE",reason="ok"} 1.0' in page
        assert 'p32_eff_factor{symbol="BTCUSDT"} 0.444' in page
        assert "p29_shadow" not in page
        for base in (allocation, governor):
            assert get(f"{base}/livez")[0] == 200
            assert get(f"{base}/")[0] == 404
        assert "plan_id=p1" in child.wait_for_line("plan permitted")

        child.signal(signal.SIGTERM)
        assert child.wait() == 0
        assert child.stdout == ""
        assert "Traceback" not in child.stderr


@pytest.mark.parametrize("service", ["allocation", "governor"])
def test_one_service_alone_ends_with_130_by_an_interrupt(redis_url: str, service: str) -> None:
    with qtctl("--redis-url", redis_url, "serve", service, *FREE_PORTS, env=environ()) as child:
        base = port_of(child, service)
        until(lambda: ready(base))
        assert child.stderr.count("listening") == 1
        child.signal(signal.SIGINT)
        assert child.wait() == 130


def test_a_service_says_where_it_works_without_the_password(redis_url: str) -> None:
    url = f"{redis_url}?password=hush"
    with qtctl("--redis-url", url, "serve", "allocation", *FREE_PORTS, env=environ()) as child:
        line = child.wait_for_line("serving allocation on ")
        assert line.endswith(" quantum:")
        assert "hush" not in child.stderr


def test_redis_that_is_away_at_the_start_is_waited_for(state: Path) -> None:
    url = f"unix://{state}/server.sock"
    with qtctl("--redis-url", url, "serve", "all", *FREE_PORTS, env=environ()) as child:
        bases = [port_of(child, "allocation"), port_of(child, "governor")]
        child.wait_for_line("Redis is unreachable")
        for base in bases:
            until(lambda base=base: "no Redis at" in get(f"{base}/readyz")[1])  # type: ignore[misc]
            assert get(f"{base}/readyz")[0] == 503
            assert get(f"{base}/livez")[0] == 200
        with Embedded.start(state):
            for base in bases:
                until(lambda base=base: ready(base))  # type: ignore[misc]
            until(lambda: child.stderr.count("Redis is back") == 2)
            assert child.stderr.count("Redis is unreachable") == 2
            child.signal(signal.SIGTERM)
            assert child.wait() == 0


def test_a_metrics_port_that_is_taken_is_one_line_that_names_the_setting(redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = run_qtctl(
            "--redis-url", redis_url, "serve", "governor", "--set", f"governor.metrics_port={port}"
        )
    assert said.code == 1
    (line,) = [line for line in said.err.splitlines() if line.startswith("qtctl:")]
    assert f"127.0.0.1:{port}" in line
    assert "[governor] metrics_port" in line
    assert "Traceback" not in said.err


# --once ----------------------------------------------------------------------------------------


def test_once_serves_what_is_there_and_ends(cli: Cli, store: Store) -> None:
    for i in range(3):
        cli.ok("inject", "plan", f"S{i}", "--plan-id", f"p{i}")
    cli.ok("inject", "target", "BTCUSDT", "1000")
    said = cli.ok("serve", "all", "--once")
    assert said.out == ""
    assert "listening" not in said.err
    assert store.run("EXISTS", *(store.keys.at(PERMIT, f"p{i}") for i in range(3))) == 3
    assert store.run("EXISTS", store.keys.at(PROPOSED, "BTCUSDT")) == 1


def test_once_on_an_empty_redis_is_done(cli: Cli) -> None:
    for service in ("allocation", "governor", "all"):
        assert cli("serve", service, "--once").code == 0


def test_once_is_1_while_something_stays_pending(cli: Cli, store: Store) -> None:
    store.run("SET", store.keys.permits, "of a wrong type")
    cli.ok("inject", "plan", "BTCUSDT", "--plan-id", "p1")
    said = cli("serve", "governor", "--once")
    assert said.code == 1
    assert "stays pending" in said.err
    assert store.run("EXISTS", store.keys.at(PERMIT, "p1")) == 0
    store.run("DEL", store.keys.permits)
    assert cli("serve", "governor", "--once").code == 0
    assert store.run("EXISTS", store.keys.at(PERMIT, "p1")) == 1


@pytest.mark.parametrize("service", ["allocation", "governor", "all"])
def test_once_without_redis_is_3(cli: Cli, state: Path, service: str) -> None:
    said = cli("serve", service, "--once", "--redis-url", f"unix://{state}/none.sock")
    assert said.code == 3
    assert said.err.splitlines()[-1].startswith("qtctl: no Redis at unix://")


# What can't be ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "SERVICE 'nonsense' must be one of allocation, governor, recorder, all"),
        ("", "SERVICE"),
        ("all --embedded", "--embedded is a URL of its own"),
    ],
)
def test_a_line_that_makes_no_sense_is_2(cli: Cli, line: str, says: str) -> None:
    said = cli("serve", *line.split())
    assert said.code == 2
    assert says in said.err


def test_a_url_by_set_beside_embedded_is_refused_as_well(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["serve", "all", "--once", "--embedded", "--set", "redis.url=redis://prod-1"]
    assert run(line, environ(state)) == 2
    assert "--embedded is a URL of its own" in capsys.readouterr().err
    assert embedded.running(state) is None


def test_one_port_variable_for_two_services_is_5(cli: Cli) -> None:
    said = cli("serve", "all", "--once", environ={"METRICS_PORT": "8065"})
    assert said.code == 5
    (line,) = said.err.splitlines()
    assert "METRICS_PORT" in line
    assert "allocation.metrics_port and governor.metrics_port" in line
    for service in ("allocation", "governor"):
        assert cli("serve", service, "--once", environ={"METRICS_PORT": "8065"}).code == 0


@pytest.mark.parametrize("name", ["7", "a.b-c_d", "true"])
def test_a_name_is_a_text_whatever_it_looks_like(cli: Cli, store: Store, name: str) -> None:
    cli.ok("serve", "all", "--once", "--name", name)
    (consumer,) = store.run("XINFO", "CONSUMERS", store.keys.plans, GROUP)
    assert consumer[1] == name.encode()


def test_an_ended_service_is_not_taken_for_running(cli: Cli, store: Store) -> None:
    cli.ok("serve", "all", "--once", "--name", "x")
    for service in ("allocation", "governor"):
        assert store.run("EXISTS", store.keys.service(service, "x")) == 0


@pytest.mark.parametrize("name", ["a b", "a:b", 'a"b', "a\nb"])
def test_a_name_that_cannot_be_is_refused(cli: Cli, name: str) -> None:
    said = cli("serve", "governor", "--once", "--name", name)
    assert said.code in (2, 5)
    assert "name" in said.err


# The private server ----------------------------------------------------------------------------


def test_the_private_server_lives_and_ends_with_serve(state: Path) -> None:
    env = environ(state)
    with qtctl("serve", "all", "--embedded", *FREE_PORTS, env=env) as child:
        port_of(child, "governor")
        until(lambda: embedded.running(state) is not None)
        said = run_qtctl("--redis-url", "embedded:", "inject", "plan", "BTCUSDT", "--wait", "5",
                         env=env)  # fmt: skip
        assert (said.code, "permitted" in said.err) == (0, True)
        assert said.err.startswith("[embedded:, prefix quantum:] ")
        child.signal(signal.SIGTERM)
        assert child.wait() == 0
    assert embedded.running(state) is None


def test_the_private_server_of_a_killed_serve_is_taken_over_with_its_data(state: Path) -> None:
    env = environ(state)
    with qtctl("serve", "all", "--embedded", *FREE_PORTS, env=env) as child:
        port_of(child, "governor")
        store = served_by(state)
        store.run("SET", "mark", "1")
        child.signal(signal.SIGKILL)
        child.wait()
    assert embedded.running(state) is not None
    with qtctl("serve", "all", "--embedded", *FREE_PORTS, env=env) as child:
        base = port_of(child, "allocation")
        until(lambda: ready(base))
        assert store.run("GET", "mark") == b"1"
        store.close()
        child.signal(signal.SIGTERM)
        assert child.wait() == 0
    assert embedded.running(state) is None


def test_a_second_serve_on_the_private_server_is_refused(state: Path) -> None:
    env = environ(state)
    with qtctl("serve", "allocation", "--embedded", *FREE_PORTS, env=env) as child:
        port_of(child, "allocation")
        said = run_qtctl("serve", "governor", "--embedded", *FREE_PORTS, env=env)
        assert said.code == 4
        assert f"another serve (pid {child.pid})" in said.err
        assert embedded.running(state) is not None


def test_a_private_server_that_died_is_told_from_one_that_nobody_has_started(state: Path) -> None:
    env = environ(state)
    nobody = run_qtctl("status", "--redis-url", "embedded:", env=env)
    assert "start one with 'qtctl serve all --embedded'" in nobody.err
    with qtctl("serve", "allocation", "--embedded", *FREE_PORTS, env=env) as child:
        port_of(child, "allocation")
        store = served_by(state)
        found = re.search(rb"process_id:(\d+)", store.run("INFO", "server"))
        assert found is not None
        os.kill(int(found[1]), signal.SIGSTOP)
        store.close()
        said = run_qtctl("status", "--redis-url", "embedded:", env=env)
        os.kill(int(found[1]), signal.SIGCONT)
        assert said.code == 3
        assert f"its 'qtctl serve' (pid {child.pid}) is running" in said.err


def serving(state: Path) -> Store | None:
    """A connection to the private server, once it has loaded its data."""
    url = embedded.running(state)
    if url is None:
        return None
    store = Store(url, Keys())
    try:
        store.run("PING")
    except QtctlError:
        store.close()
        return None
    return store


def served_by(state: Path) -> Store:
    store = until(lambda: serving(state), what="the private server")
    assert store is not None
    return store


def test_a_private_server_that_is_killed_is_started_again_with_its_data(state: Path) -> None:
    env = environ(state)
    with qtctl("serve", "all", "--embedded", *FREE_PORTS, env=env) as child:
        base = port_of(child, "governor")
        until(lambda: ready(base))
        for number in range(2):
            store = served_by(state)
            store.run("SET", f"mark{number}", "1")
            store.run("CONFIG", "SET", "appendfsync", "always")
            store.run("SET", "synced", "1")
            found = re.search(rb"process_id:(\d+)", store.run("INFO", "server"))
            assert found is not None
            os.kill(int(found[1]), signal.SIGKILL)
            store.close()
            # The supervisor has seen the new server; one killed before that is the same outage.
            child.wait_for_line("the private server runs again", times=number + 1)
        assert child.stderr.count("the private server is gone: starting it again") == 2
        store = served_by(state)
        assert store.run("MGET", "mark0", "mark1") == [b"1", b"1"]
        store.close()
        until(lambda: ready(base))
        assert 'how="killed by SIGKILL"' in child.stderr
        child.signal(signal.SIGTERM)
        assert child.wait() == 0
    assert embedded.running(state) is None


def test_a_private_server_that_can_not_be_started_again_is_tried_and_said_once(
    state: Path,
) -> None:
    env = environ(state)
    with qtctl("serve", "governor", "--embedded", *FREE_PORTS, env=env) as child:
        base = port_of(child, "governor")
        until(lambda: ready(base))
        store = served_by(state)
        store.run("SET", "mark", "1")
        store.run("CONFIG", "SET", "appendfsync", "always")
        store.run("SET", "synced", "1")
        found = re.search(rb"process_id:(\d+)", store.run("INFO", "server"))
        assert found is not None
        (manifest,) = state.glob("appendonlydir/*.manifest")
        kept = manifest.read_bytes()
        manifest.write_bytes(b"not a manifest\n")
        os.kill(int(found[1]), signal.SIGKILL)
        store.close()
        line = child.wait_for_line("the private server can't be started again")
        assert "ended at its start" in line
        until(lambda: not ready(base))
        manifest.write_bytes(kept)
        until(lambda: ready(base))
        assert child.stderr.count("can't be started again") == 1
        child.signal(signal.SIGTERM)
        assert child.wait() == 0


def test_once_on_the_private_server_leaves_none_running(state: Path) -> None:
    said = run_qtctl("serve", "all", "--embedded", "--once", env=environ(state))
    assert said.code == 0
    assert embedded.running(state) is None


@pytest.mark.parametrize(
    "line", ["permit list", "tail proposed", "inject plan BTCUSDT", "eff", "target", "plan show x"]
)
def test_without_a_private_server_other_commands_say_how_to_start_one(
    state: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--redis-url", "embedded:", *line.split()], environ(state)) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "qtctl serve all --embedded" in err.splitlines()[-1]
    assert str(state) in err
