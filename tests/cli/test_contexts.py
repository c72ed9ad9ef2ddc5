"""Contexts at the command line: shown before each change, and a protected one stops every command
that changes state until its name is typed."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from qtctl import clock
from qtctl.cli.completion import engine
from qtctl.cli.framework.context import Context
from qtctl.cli.main import root, run
from qtctl.simulate import selftest
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.schema.keys import EFFICIENCY, GROUP, TARGET
from tests.support.cli import NO_FILE, Said, unlog
from tests.support.plans import fields, judge
from tests.support.ports import free_port
from tests.support.processes import QTCTL

CHANGES: dict[str, list[str]] = {
    "resume": ["--reason", "x", "--yes"],
    "inject eff": ["NEWUSDT", "0.2"],
    "inject target": ["NEWUSDT", "1000"],
    "inject plan": ["NEWUSDT"],
    "inject clear": [],
    "permit take": ["p1"],
    "group recover": [],
    "group prune": ["--idle", "1s"],
    "proof": ["all", "--live", "--yes"],
    "bench": ["memory"],
    "simulate live": ["--for", "1", "--symbols", "2"],
}
"""Commands that change something in the Redis that they are pointed at, such that each would."""
NEVER_WAITS: dict[str, list[str]] = {"halt": []}
"""A stop of trading waits for nobody; it says where."""
LOOKS: dict[str, list[str]] = {
    "tail": ["plans"],
    "permit show": ["p1"],
    "plan show": ["p1"],
    "plan explain": ["p1"],
    "why": ["BTCUSDT"],
    "completion": ["bash"],
    "completion answer": ["bash", "qtctl", "7"],
    "config import-env": ["/dev/null"],
    "proof": ["step1"],
    "bundle": ["--out", "{tmp}/bundle.tar.gz"],
}
"""The arguments of those that only look, where they need some."""
ELSEWHERE = {
    "serve": (["all"], "serve takes no context"),
    "deploy": (["--root", "/nowhere/stage", "--yes"], "does not apply here"),
    "rollback": (["--root", "/nowhere/stage", "--yes"], "does not apply here"),
}
"""Those that refuse a context."""
NOT_RUN = {"demo", "top"}
"""The first has a server of its own, the second does not end."""
OF_FILES = ("history ", "evidence ", "simulate history")
"""What is recorded on this host, whichever Redis it came from."""
UNTIMELY = {"proof", "bench", "group prune", "simulate live"}
"""Stopped like the others; that they change something shows in their own tests, which have time."""


def leaves() -> dict[str, list[str]]:
    """Every command there is, the hidden ones too."""
    found: dict[str, list[str]] = {}
    whole = root()
    for name in whole.commands:
        command = whole.get_command(None, name)
        for sub in getattr(command, "commands", {"": None}):
            found[f"{name} {sub}".strip()] = []
    return found


COMMANDS = leaves()


@pytest.fixture
def file(tmp_path: Path, redis_url: str) -> Path:
    file = tmp_path / "qtctl.toml"
    file.write_text(
        f'[redis]\nurl = "redis://127.0.0.1:1/0"\n'
        f'[contexts.prod]\nurl = "{redis_url}"\nprotected = true\n'
        f'[contexts.dev]\nurl = "{redis_url}"\n'
        '[contexts.far]\nurl = "redis://ops:hush@127.0.0.1:1/0"\nusername = "x"\n'
    )
    return file


Cli = Callable[..., Said]


@pytest.fixture
def cli(file: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    def call(*args: str, **environ: str) -> Said:
        capsys.readouterr()
        try:
            code = run(["--config", str(file), *args], {**NO_FILE, **environ})
        finally:
            unlog()
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def busy(store: Store, cli: Cli) -> Store:
    """A server on which each of CHANGES has something to do."""
    judge(store, fields(plan_id="p1"))
    store.run("XGROUP", "CREATECONSUMER", store.keys.plans, GROUP, "done")
    now = str(store.now_ms() // 1000)
    store.run("HSET", store.keys.at(TARGET, "BTCUSDT"), "target_usd", "1000", "timestamp", now)
    store.run("HSET", store.keys.at(EFFICIENCY, "BTCUSDT"), "efficiency_score", "0.5", "ts", now)
    assert cli("--context", "dev", "inject", "eff", "OLDUSDT", "0.2").code == 0
    return store


def content(store: Store) -> dict[bytes, object]:
    """All that is there: groups and consumers are part of a stream's dump."""
    found = {}
    for key in store.scan_keys("*"):
        found[key.encode()] = store.run("DUMP", key)
    return found


@pytest.mark.parametrize("name", CHANGES)
def test_a_protected_context_stops_whatever_changes_something(
    cli: Cli, busy: Store, name: str
) -> None:
    if name == "group recover":
        busy.run("XGROUP", "DESTROY", busy.keys.plans, GROUP)
    if name == "resume":
        assert "HALTED" in cli("--context", "dev", "halt").out
    before = content(busy)
    command = ["--context", "prod", *name.split(), *CHANGES[name]]
    said = cli(*command)
    assert said.code == 4, said
    assert "the context prod is protected" in said.err
    assert "pass --confirm-context prod" in said.err
    said = cli(*command, "--confirm-context", "dev")
    assert said.code == 4, said
    assert "--confirm-context dev, but the context prod is in force" in said.err
    assert content(busy) == before
    if name not in UNTIMELY:
        said = cli(*command, "--confirm-context", "prod")
        assert said.code == 0, said
        assert "[context prod, " in said.err
        assert content(busy) != before


def test_every_command_is_known_to_change_something_or_only_looks(
    cli: Cli, busy: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new command that needs arguments gets a row above; one that changes something, too."""
    monkeypatch.setattr(selftest, "FAULTS", {"clean": selftest.FAULTS["clean"]})
    before = content(busy)
    known = {*CHANGES, *NEVER_WAITS, *ELSEWHERE, *NOT_RUN}
    assert known <= set(COMMANDS)
    for name in sorted(set(COMMANDS) - known | set(CHANGES) & set(LOOKS)):
        if name.startswith(OF_FILES):
            continue
        args = [each.format(tmp=tmp_path) for each in LOOKS.get(name, [])]
        said = cli("--context", "prod", *name.split(), *args)
        assert said.code in (0, 1), (name, said)
        assert content(busy) == before, name


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_has_nothing_to_do_with_a_context_refuses_one(cli: Cli, name: str) -> None:
    args, why = ELSEWHERE[name]
    said = cli("--context", "dev", *name.split(), *args)
    assert said.code == 2
    assert why in said.err


def test_a_service_takes_no_context_from_the_environment_either(cli: Cli) -> None:
    said = cli("serve", "all", QTCTL_CONTEXT="dev")
    assert said.code == 5
    assert "unset QTCTL_CONTEXT" in said.err


def test_a_halt_waits_for_nobody_and_says_where(cli: Cli, store: Store) -> None:
    said = cli("--context", "prod", "halt")
    assert "[context prod, " in said.err
    assert "HALTED opens" in said.out
    assert store.run("GET", "quantum:governor:halt") == b"reduce_only"
    assert cli("--context", "dev", "--confirm-context", "prod", "halt").code == 4


def test_a_dry_run_needs_no_name(cli: Cli, busy: Store) -> None:
    before = content(busy)
    for words in (("inject", "eff", "X", "0.2"), ("inject", "clear"), ("group", "prune")):
        assert cli("--context", "prod", *words, "--dry-run").code == 0
    assert content(busy) == before


def test_no_input_and_yes_give_no_name(cli: Cli, busy: Store) -> None:
    assert "HALTED" in cli("--context", "dev", "halt").out
    command = ("--context", "prod", "resume", "--reason", "x")
    assert cli(*command, "--yes").code == 4
    assert cli(*command, "--no-input").code == 4


@pytest.mark.parametrize(("answer", "code"), [(" prod ", 0), ("PROD", 4), ("yes", 4), ("", 4)])
def test_only_its_name_typed_goes_on(file: Path, store: Store, answer: str, code: int) -> None:
    command = [*QTCTL, "--config", str(file), "--context", "prod", "inject", "eff", "X", "0.2"]
    child = pexpect.spawn(
        command[0], command[1:], encoding="utf-8", timeout=30, dimensions=(24, 200)
    )
    child.expect(r"\[context prod, .*is\s+protected: type\s+prod\s+to\s+go\s+on")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code
    assert bool(store.run("EXISTS", store.keys.at(EFFICIENCY, "X"))) == (code == 0)


def test_the_name_is_the_one_question(file: Path, store: Store) -> None:
    """It is asked behind what is about to happen, and answers that."""
    args = ["--redis-url", store.url, "halt", "--reason", "odd feed"]
    assert run(args, NO_FILE) == 1  # No governor enforces it.
    command = [*QTCTL, "--config", str(file), "--context", "prod", "resume", "--reason", "x"]
    child = pexpect.spawn(
        command[0], command[1:], encoding="utf-8", timeout=10, dimensions=(24, 300)
    )
    child.expect(r"by operator:.*: odd feed\. Resume\?")
    child.expect(r"is protected: type prod to go on")
    child.sendline("prod")
    child.expect("RESUMED")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert store.run("GET", "quantum:governor:halt") is None


def test_the_score_is_as_new_as_the_answer(file: Path, store: Store) -> None:
    command = [*QTCTL, "--config", str(file), "--context", "prod", "inject", "eff", "X", "0.2"]
    child = pexpect.spawn(command[0], command[1:], encoding="utf-8", timeout=30)
    child.expect(r"type\s+prod")
    asked = store.now_ms() // 1000
    while store.now_ms() // 1000 == asked:
        clock.sleep(0.02)
    child.sendline("prod")
    child.expect(pexpect.EOF)
    child.close()
    assert int(store.run("HGET", store.keys.at(EFFICIENCY, "X"), "ts")) > asked


def test_contexts_are_listed_without_secrets(cli: Cli, redis_url: str) -> None:
    said = cli("config", "contexts", "-o", "json", QTCTL_CONTEXT="prod")
    assert [(row["name"], row["current"], row["protected"]) for row in said.json] == [
        ("prod", True, True),
        ("dev", False, False),
        ("far", False, False),
    ]
    assert said.json[0]["url"] == redis_url
    assert said.json[2]["password"] == "in the url"
    for words in (("config", "contexts"), ("config", "show"), ("config", "check")):
        for output in ("table", "json"):
            said = cli("--context", "far", *words, "-o", output)
            assert "far" in said.out
            assert "hush" not in said.out + said.err
    assert "a section [contexts.NAME]" in cli("config", "contexts", "--config", "/dev/null").err


def test_diff_and_doctor_go_by_the_context(cli: Cli, store: Store) -> None:
    for words in (("config", "diff"), ("status",)):
        assert cli("--context", "dev", *words).code == 1  # nothing runs there
        assert cli(*words).code == 3  # and [redis] is nowhere


@pytest.mark.parametrize("words", [("status",), ("doctor",), ("config", "check")])
def test_what_shows_the_redis_shows_its_context(
    cli: Cli, store: Store, words: tuple[str, ...]
) -> None:
    assert "(context dev)" in cli("--context", "dev", *words).out
    assert "(context" not in cli(*words, "--redis-url", store.url).out


@pytest.mark.parametrize("words", [("doctor",), ("why", "BTCUSDT"), ("status",)])
def test_a_command_that_is_offered_is_for_the_same_context(
    cli: Cli, busy: Store, words: tuple[str, ...]
) -> None:
    """A line to copy that leaves the context out would act on another Redis."""
    said = cli("--context", "dev", *words, "-o", "json")
    offered = re.findall(r"qtctl --config [^\"]*", said.out)
    assert offered, said
    services = [line for line in offered if " serve " in line]
    assert all("--context dev" in line for line in offered if line not in services)
    assert not any("--context" in line for line in services)
    # The shell has that of the environment already.
    assert "--context" not in cli(*words, "-o", "json", QTCTL_CONTEXT="dev").out


@pytest.mark.parametrize(
    ("words", "environ"), [(("--context", "dev"), {}), ((), {"QTCTL_CONTEXT": "dev"})]
)
def test_a_service_that_is_offered_starts_on_the_server_of_the_context(
    cli: Cli, store: Store, file: Path, words: tuple[str, ...], environ: dict[str, str]
) -> None:
    """`serve` refuses a context, so the line names the server itself, with all that it needs."""
    file.write_text(file.read_text().replace("[contexts.far]", 'prefix = "own:"\n[contexts.far]'))
    said = cli(*words, "doctor", "-o", "json", **environ)
    offered = {it["command"] for it in said.json if " serve governor" in it.get("command", "")}
    assert offered, said
    for line in offered:
        program, *rest = shlex.split(line)
        assert program == "qtctl"
        assert cli(*rest, "--once", **environ).code == 0, line
    assert store.run("EXISTS", "own:stream:apply.plan") == 1


def test_names_of_contexts_are_completed(file: Path) -> None:
    ctx = Context(config=str(file), environ=NO_FILE, root=root())
    for words in (["--context", ""], ["status", "--context", ""], ["--confirm-context", ""]):
        found = [value for value, _ in engine.answer(words, ctx).options]
        assert found == ["dev", "far", "prod"]
    assert [it for it, _ in engine.answer(["--context=p"], ctx).options] == ["--context=prod"]


def test_symbols_are_completed_from_the_context_on_the_line(
    file: Path, busy: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PATIENCE_SEC", 30.0)
    ctx = Context(config=str(file), environ=NO_FILE, root=root())
    found = engine.answer(["--context", "prod", "why", "BTC"], ctx).options
    assert [value for value, _ in found] == ["BTCUSDT"]


def test_a_sandbox_of_proofs_goes_by_the_contexts_prefix(file: Path, cli: Cli) -> None:
    file.write_text(file.read_text() + 'prefix = "other:"\n')
    said = cli("--context", "far", "proof", "step1", "-o", "json")
    assert json.loads(said.out)["failed"] == 0, said


def test_a_context_logs_in_by_its_own_password_file(tmp_path: Path, cli: Cli, file: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hush\n")
    port = free_port()
    with temporary(port=port, extra={"requirepass": "hush"}):
        place = f'url = "redis://127.0.0.1:{port}/0"\n'
        file.write_text(
            f'[redis]\n{place}[contexts.in]\n{place}password_file = "{secret}"\n'
            f"[contexts.out]\n{place}"
        )
        assert cli("--context", "in", "eff", "list").code == 0
        for words in (["--context", "out"], []):
            said = cli(*words, "eff", "list")
            assert said.code not in (0, 4), said
            assert "hush" not in said.err
        # Neither does the password of the environment reach it.
        assert cli("--context", "out", "eff", "list", QTCTL_REDIS_PASSWORD="hush").code != 0
