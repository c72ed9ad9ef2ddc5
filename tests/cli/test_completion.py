"""`qtctl completion`: what is offered, and that nothing that comes from Redis is more than a word
to the shell it is completed in."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.core import TyperArgument

from qtctl.cli.commands import bench
from qtctl.cli.completion import bash_line, engine
from qtctl.cli.framework.context import Context
from qtctl.cli.main import root, run
from qtctl.wire.client.store import Store
from qtctl.wire.queries import completion
from qtctl.wire.schema.keys import DECISION, EFFICIENCY, PERMIT, TARGET
from tests.support.cli import NO_FILE, Cli
from tests.support.debian import needed
from tests.support.processes import QTCTL
from tests.support.timing import least

BREAKS = " \t\n\"'@><=;|&(:"
"""COMP_WORDBREAKS as bash has it."""
NOT_ASKED = {"SCORE", "USD", "FILE", "DIR", "SQL"}
"""Arguments that are numbers, files or rare words."""


PATIENT = ("redis.connect_timeout_sec=30", "redis.timeout_sec=30")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy may take longer to find a name than anybody waits for it."""
    monkeypatch.setattr(engine, "PATIENCE_SEC", 30.0)
    monkeypatch.setattr(engine, "WAIT", PATIENT)


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


def offered(*words: str, url: str = "redis://127.0.0.1:1") -> list[str]:
    env = Context(redis_url=url, environ=NO_FILE, root=root())
    return [value for value, _ in engine.answer(words, env).options]


def decided(store: Store, *plan_ids: str) -> None:
    """Events as of plans that were judged, in this order."""
    store.batch(
        [("XADD", store.keys.events, "*", "event", "x", "plan_id", each) for each in plan_ids]
    )


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (["pla"], ["plan"]),
        (["plan", ""], ["list", "show"]),
        (["plan", "s"], ["show"]),
        (["-o", "json", "config", "d"], ["diff"]),
        (["config", "show", "governor.min_"], ["governor.min_conf", "governor.min_factor"]),
        (["config", "show", "safety", "log"], ["logging", "logging.level", "logging.format"]),
        (["--set", "safety.allow_l"], ["safety.allow_live_proof="]),
        (["plan", "list", "--what-if=max_exec_per_h"], ["--what-if=max_exec_per_hour="]),
        (["plan", "list", "-o", "n"], ["ndjson"]),
        (["permit", "--output=j"], ["--output=json"]),
        (["config", "show", "-o", "t"], ["table", "toml"]),
        (["serve", "a"], ["allocation", "all"]),
        (["serve", "--name", "x", "gov"], ["governor"]),
        (["tail", "p"], ["proposed", "plans", "passes"]),
        (["tail", "-fn", "10", "rej"], ["rejected"]),
        (["group", "list", "--stream", "e"], ["events"]),
        (["plan", "list", "--bl"], ["--blocked"]),
        (["plan", "list", "--verdict", ""], ["permitted", "blocked"]),
        (["plan", "list", "--reason=symbol_"], ["--reason=symbol_cooldown"]),
        (["plan", "list", "--kind", "c"], ["close"]),
        (["plan", "list", "--columns", "kill_s"], ["kill_score"]),
        (["plan", "list", "--columns", "plan_id,verdict,pl"], ["plan_id,verdict,plan_age_sec"]),
        (["plan", "list", "--sort", "-noti"], ["-notional_usd"]),
        (["plan", "list", "--where", "eff_act"], ["eff_action="]),
        (["plan", "list", "--where", "verdict=b"], ["verdict=blocked"]),
        (["plan", "list", "-n", ""], ["all"]),
        (["tail", "rejected", "--columns", "raw:"], ["raw:plan_id", "raw:symbol"]),
        (["tail", "proposed", "--reason", "stale"], ["stale_eff"]),
        (["tail", "plans", "--verdict", "s"], ["skipped"]),
        (["tail", "nonsense", "--columns", ""], []),
        (["stream", "list", "--sort", "len"], ["length"]),
        (["permit", "list", "--watch", "--so"], ["--sort"]),
        (["help", "pla"], ["plan"]),
        (["serve", "--", "g"], ["governor"]),
    ],
    ids=" ".join,
)
def test_what_the_command_line_itself_has_is_offered(words: list[str], some: list[str]) -> None:
    assert offered(*words) == some


@pytest.mark.parametrize(
    "words",
    [["nope", ""], ["nope", "x", ""], ["plan", "list", "--since", ""], ["demo", "x"],
     ["plan", "show", "a", ""], ["serve", "--once=x"], ["plan", "explain", "--nope=x"]],
    ids=" ".join,
)  # fmt: skip
def test_where_nothing_is_known_nothing_is_offered(words: list[str]) -> None:
    assert offered(*words) == []


def test_hidden_commands_are_not_offered() -> None:
    assert "answer" not in offered("completion", "")
    assert "explain" not in offered("plan", "")


def test_every_argument_of_every_command_has_something_to_offer() -> None:
    """A new one needs a line in engine.py, or stands in NOT_ASKED."""
    known = {*engine.WORDS, *engine.NAMES, engine.DEPLOYMENT, engine.HISTORY_DAY, engine.HELP}
    silent = [
        (path, param.metavar)
        for path, command in leaves(root(), "")
        if not command.hidden
        for param in command.params
        if isinstance(param, TyperArgument)
        and not {(path, param.metavar), ("", param.metavar)} & known
        and param.metavar not in {*NOT_ASKED, *engine.SETTINGS}
    ]
    assert silent == []


def test_every_suite_of_the_bench_is_offered() -> None:
    assert engine.WORDS["bench", "SUITE"] == (*bench.ALL, "all")


def test_every_lookup_that_is_named_is_there() -> None:
    assert all(callable(getattr(completion, look, None)) for look in engine.NAMES.values())


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name in getattr(command, "commands", {}):
        yield from leaves(command.get_command(None, name), f"{path} {name}".strip())
    if not hasattr(command, "commands"):
        yield path, command


def test_deployments_of_a_staging_folder_are_offered(tmp_path: Path) -> None:
    assert offered("rollback", "--root", str(tmp_path), "") == []
    assert run(["deploy", "--root", str(tmp_path), "--yes"], NO_FILE) == 0
    (kept,) = offered("rollback", "--root", str(tmp_path), "2")
    assert kept.startswith("20")


# Names in Redis --------------------------------------------------------------------------------


def test_plans_are_offered_the_latest_first_and_each_once(store: Store, redis_url: str) -> None:
    decided(store, "night-1", "day-1", "night-2", "night-1")
    assert offered("plan", "show", "", url=redis_url) == ["night-1", "night-2", "day-1"]
    assert offered("plan", "explain", "n", url=redis_url) == ["night-1", "night-2"]


def test_a_plan_that_is_no_recent_event_is_found_by_its_beginning(
    store: Store, redis_url: str
) -> None:
    store.run("HSET", store.keys.at(DECISION, "old-1"), "verdict", "blocked")
    assert offered("plan", "show", "o", url=redis_url) == ["old-1"]
    assert offered("plan", "show", "", url=redis_url) == []


def test_permits_that_are_still_there_are_offered(store: Store, redis_url: str) -> None:
    store.run("ZADD", store.keys.permits, 1, "taken", 2, "there", 3, "p33:x")
    store.run("SET", store.keys.at(PERMIT, "there"), "{}", "EX", 60)
    store.run("SET", store.keys.at(PERMIT, "p33:x"), "{}", "EX", 60)
    assert offered("permit", "take", "", url=redis_url) == ["there"]


def test_symbols_with_a_target_or_a_score_are_offered(store: Store, redis_url: str) -> None:
    for spec, symbol in ((TARGET, "BTCUSDT"), (EFFICIENCY, "BNBUSDT"), (TARGET, "ETHUSDT")):
        store.run("HSET", store.keys.at(spec, symbol), "x", "y")
    store.run("HSET", store.keys.halted_symbols, "SOLUSDT", "1")
    assert offered("why", "B", url=redis_url) == ["BNBUSDT", "BTCUSDT"]
    assert offered("tail", "plans", "BTCUSDT", "E", url=redis_url) == ["ETHUSDT"]
    assert offered("resume", "", url=redis_url) == ["SOLUSDT"]
    assert offered("why", "B*", url=redis_url) == []


def test_groups_of_the_plan_stream_are_offered(store: Store, redis_url: str) -> None:
    store.run("XGROUP", "CREATE", store.keys.plans, "apply_layer", "0", "MKSTREAM")
    assert offered("group", "prune", "a", url=redis_url) == ["apply_layer"]


def test_the_options_on_the_line_say_which_redis_is_asked(store: Store, redis_url: str) -> None:
    store.run("HSET", "other:allocation:target:XRPUSDT", "target_usd", "1")
    line = ("--redis-url", redis_url, "--set=redis.prefix=other:", "eff", "list", "X")
    assert offered(*line) == ["XRPUSDT"]
    assert offered("--redis-url", "$REDIS", *line[2:], url=redis_url) == []


def test_a_look_at_a_large_keyspace_ends_soon(
    store: Store, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "LOOK_SEC", -1.0)
    keys = [store.keys.at(TARGET, f"S{number}USDT") for number in range(1, 15_000)]
    store.batch([("HSET", key, "target_usd", "1") for key in keys])
    found = completion.symbols(store, "S")
    assert len(found) == completion.MOST
    # What all have in common the shell types by itself: it must hold for all there are.
    assert {name[1] for name in found} == set("123456789")
    assert list(completion._scanned(store, TARGET, "nope")) == []


@pytest.mark.parametrize("name", ["--force", "a\x1b[2J", "\u202eevil", "a\\xff"], ids=ascii)
def test_a_name_that_is_an_option_or_steers_a_terminal_is_not_offered(
    name: str, store: Store, redis_url: str
) -> None:
    decided(store, name)
    store.run("HSET", store.keys.halted_symbols, name, "1")
    assert offered("plan", "show", "", url=redis_url) == []
    assert offered("plan", "show", "--", name[0], url=redis_url) == []
    assert name not in offered("resume", "", url=redis_url)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "embedded:", "nonsense", "silent"])
def test_where_redis_is_away_nothing_is_said_and_soon(url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        if url == "silent":
            url = f"redis://127.0.0.1:{listening.getsockname()[1]}/0"
        words = ("--redis-url", url, "plan", "show", "a")

        def answered() -> float:
            begun = time.monotonic()
            said = subprocess.run(
                [*QTCTL, "completion", "answer", "zsh", "--", *words],
                capture_output=True,
                env=NO_FILE | {"XDG_STATE_HOME": str(tmp_path)},
                timeout=30,
                check=False,
            )
            assert (said.returncode, said.stdout, said.stderr) == (0, b"words\n", b"")
            return time.monotonic() - begun

        assert least(answered, 3) < 3


def test_settings_that_are_wrong_are_no_reason_to_speak(cli: Cli) -> None:
    said = cli("completion", "answer", "zsh", "--", "--set", "governor.nope=1", "why", "B")
    assert (said.code, said.out, said.err) == (0, "words\n", "")
    assert cli("completion", "answer", "bash", "one word").err == ""


# Into the line of a shell ----------------------------------------------------------------------

PLACES = {
    "": "", "a": "", "a:": "a:", "a\\;": "", "x=": "x=", "a\\:b": "", "~": "", "a:b@c": "a:b@",
    "'": "'", "'a": "'", '"a:': '"', "b:'a": "b:'",
}  # fmt: skip
"""What is typed of a word, and how much of that bash keeps."""
names = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1)


@settings(max_examples=30, deadline=None)
@given(st.lists(names, min_size=10, max_size=30))
@example([";>owned", "$(>owned)", "`>owned`", "'>owned", '">owned', "\\", "&", "|x", "#", "!!"])
def test_what_is_put_in_for_a_name_is_that_one_word_to_bash(found: list[str]) -> None:
    lines, wanted = [], []
    for head, kept in PLACES.items():
        typed = bash_line.typed(f"qtctl plan show {head}", BREAKS)
        for name in found:
            value = typed.words[-1] + name
            put = bash_line.put(value, typed)
            assert put is not None or typed.quoted
            if put is not None:
                lines.append(f"printf '%s\\0' {kept}{put}{kept[-1] if typed.quoted else ''}")
                wanted.append(value)
    script = "\n".join(lines)
    said = subprocess.run(["bash", "-r"], input=script.encode(), capture_output=True, check=True)
    assert said.stdout.decode().split("\0")[:-1] == wanted
    assert said.stderr == b""


@pytest.mark.parametrize("line", ["a 'b'c", "a |b", "a >b", "a; b"])
def test_where_bash_knows_better_no_name_is_put_in(line: str) -> None:
    typed = bash_line.typed(line, BREAKS)
    assert typed.ended or bash_line.put("bcd", typed) is None


HOSTILE = ["e1;$(>owned)", "e2`>owned`|x", "e3'\"!!&>owned"]
STARTS = {
    "bash": ("bash --norc --noprofile -i", 'eval "$(qtctl completion bash)"'),
    "zsh": ("zsh -f -i", 'autoload -Uz compinit; compinit -D -u; eval "$(qtctl completion zsh)"'),
    "fish": ("fish --no-config -i", "qtctl completion fish | source"),
}


class Shell:
    """A real shell on a terminal, with the completion loaded."""

    def __init__(self, name: str, folder: Path, url: str) -> None:
        start, load = STARTS[name]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        hook = folder / "hook"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(
            "from qtctl.cli.completion import engine\n"
            f"engine.PATIENCE_SEC, engine.WAIT = 30.0, {PATIENT}\n"
        )
        self._child = pexpect.spawn(
            needed(name),
            start.split()[1:],
            env=NO_FILE | {"PATH": path, "HOME": str(folder), "TERM": "dumb", "LANG": "C.UTF-8",
                           "QTCTL_REDIS_URL": url, "PYTHONPATH": str(hook)},
            cwd=folder,
            encoding="utf-8",
            timeout=30,
            dimensions=(60, 200),
        )  # fmt: skip
        self._child.sendline(f"{load}; echo load''ed")
        self._child.expect("loaded")

    def completed(self, typed: str) -> list[str]:
        """The words that the shell sees after TAB behind `typed`."""
        # The line is not carried out, but given to printf.
        self._child.send(f"{typed}\t\x01printf '[%s]' \r")
        self._child.expect(r"\r\n\[qtctl\]((\[[^\]\r\n]*\])*)[^\[]")
        return str(self._child.match[1])[1:-1].split("][")

    def end(self) -> None:
        self._child.close(force=True)


@pytest.mark.parametrize("name", STARTS)
def test_in_a_real_shell_a_hostile_plan_id_is_a_word_and_nothing_more(
    name: str, store: Store, redis_url: str, tmp_path: Path
) -> None:
    decided(store, *HOSTILE, "a:b:1", "night-1")
    shell = Shell(name, tmp_path, redis_url)
    try:
        for plan_id in HOSTILE:
            assert shell.completed(f"qtctl plan show {plan_id[:2]}") == ["plan", "show", plan_id]
        assert shell.completed("qtctl plan show a:") == ["plan", "show", "a:b:1"]
        assert shell.completed("qtctl perm") == ["permit"]
        assert shell.completed("qtctl --set safety.allow_l")[1] == "safety.allow_live_proof="
        assert shell.completed("qtctl --output=js") == ["--output=json"]
        assert shell.completed("qtctl plan show 'ni")[2].startswith("night-1")
    finally:
        shell.end()
    assert not (tmp_path / "owned").exists()
