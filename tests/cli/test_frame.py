"""The frame: common options at every level, the bare noun, errors, help pages, exit codes.

This module is also a command module (`app`), so that the frame is tested by itself.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from qtctl import __version__
from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, group
from qtctl.cli.framework.context import Context
from qtctl.cli.main import COMMANDS, root, run
from qtctl.errors import NotFoundError, QtctlError, RefusedError

app = group(
    "sample",
    help="Samples of every kind.",
    examples="""
    qtctl sample list
    qtctl sample fail ID
    """,
    default="list",
)

seen: list[tuple[Context, dict[str, Any]]] = []
raised: list[BaseException] = []


@command(app, "list")
def list_samples(
    env: Context,
    symbols: Annotated[list[str] | None, typer.Argument(metavar="SYMBOL")] = None,
    blocked: Annotated[bool, typer.Option("--blocked", help="Only those.")] = False,
    since: Annotated[str, typer.Option(help="How far back.")] = "1h",
) -> None:
    """All samples, in a sentence that is long enough to be broken over two lines of a help page.

    Examples:
        qtctl sample list BTCUSDT ETHUSDT --since 24h --blocked -o ndjson --redis-url redis://prod
        qtctl sample
    """
    seen.append((env, {"symbols": symbols, "blocked": blocked, "since": since}))


@command(app)
def score(
    env: Context,
    symbol: Annotated[str, typer.Argument(help="Whose score.")],
    score: Annotated[str, typer.Argument(help="0 to 1.")],
    follow: Annotated[bool, typer.Option("-f")] = False,
    count: Annotated[int, typer.Option("-n")] = 10,
) -> None:
    """Parse a score.

    Examples:
        qtctl sample score BTCUSDT 0.2
    """
    number = arguments.number(score, "SCORE", 0, 1)
    seen.append((env, {"symbol": symbol, "score": number, "follow": follow, "count": count}))


@command(app)
def fail(env: Context) -> None:
    """Raise what the test asks for.

    Examples:
        qtctl sample fail
    """
    raise raised[-1]


@command(app, outputs=("toml",))
def page(env: Context) -> None:
    """Has an output of its own.

    Examples:
        qtctl sample page -o toml
    """
    seen.append((env, {}))


@pytest.fixture(autouse=True)
def _sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "sample", (__name__, "Samples of every kind."))
    seen.clear()
    raised.clear()


def last_env(line: str) -> Context:
    assert run(line.split(), {}) == 0
    return seen[-1][0]


@pytest.mark.parametrize(
    "line",
    [
        "-o json sample list",
        "sample -o json list",
        "sample list -o json",
        "sample list BTCUSDT -o json",
        "sample list --output=json",
        "-ojson sample list",
        "sample -o json",
        "-o json sample",
        "-o ndjson sample -o table list -o json",
    ],
)
def test_common_options_mean_the_same_at_every_level(line: str) -> None:
    assert last_env(line).output == "json"


def test_overrides_add_up_and_the_deepest_url_wins() -> None:
    env = last_env("--set a.b=1 --redis-url redis://x sample --set a.c=2 list --set a.b=3")
    assert env.sets == ("a.b=1", "a.c=2", "a.b=3")
    assert env.redis_url == "redis://x"
    assert last_env("--redis-url redis://x sample --redis-url redis://y").redis_url == "redis://y"


def test_a_deeper_utc_undoes_an_outer_local() -> None:
    assert last_env("--local sample").utc is False
    assert last_env("--local sample list --utc").utc is True
    assert last_env("sample").utc is True


def test_an_env_does_not_show_secrets() -> None:
    env = Context(
        redis_url="redis://:hush@x", sets=("redis.url=redis://:hush@x",), environ={"A": "hush"}
    )
    assert "hush" not in repr(env)


@pytest.mark.parametrize(
    ("line", "symbols", "blocked", "since"),
    [
        ("sample", None, False, "1h"),
        ("sample --blocked", None, True, "1h"),
        ("sample --since 2h", None, False, "2h"),
        ("sample --since=2h --blocked -o json", None, True, "2h"),
        ("sample --utc --blocked", None, True, "1h"),
        ("sample list BTCUSDT", ["BTCUSDT"], False, "1h"),
    ],
)
def test_a_bare_noun_is_its_list(
    line: str, symbols: list[str] | None, blocked: bool, since: str
) -> None:
    last_env(line)
    assert seen[-1][1] == {"symbols": symbols, "blocked": blocked, "since": since}


def test_a_bare_noun_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sample", "BTCUSDT"], {}) == 2
    assert "no such command 'BTCUSDT'" in capsys.readouterr().err


def test_an_option_before_its_command_is_an_error_not_a_filter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["sample", "--blocked", "list"], {}) == 2
    assert seen == []
    assert "--blocked" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "sample score BTCUSDT -0.1",
        "sample score BTCUSDT -.1 -o json",
        "sample score -f BTCUSDT -1 -n 5",
        "sample score BTCUSDT -fn5 -0.1",
        "sample score -- BTCUSDT -0.1",
        "sample score BTCUSDT -1e5",
    ],
)
def test_a_negative_number_reaches_the_value_that_refuses_it(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split(), {}) == 2
    shown = capsys.readouterr().err
    assert "SCORE '-" in shown
    assert "out of range; allowed: 0 to 1" in shown


def test_options_around_a_number_keep_their_meaning() -> None:
    env = last_env("sample -o json score BTCUSDT -0 -fn -3 --set a.b=-1")
    given = seen[-1][1]
    assert given == {"symbol": "BTCUSDT", "score": 0.0, "follow": True, "count": -3}
    assert (env.output, env.sets) == ("json", ("a.b=-1",))


def test_a_misspelt_option_is_named_beside_a_negative_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["sample", "score", "BTCUSDT", "-0.1", "--folow"], {}) == 2
    assert "no such option: --folow" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("smaple", "no such command 'smaple'. Did you mean 'sample'?"),
        ("sample list --blokced", "no such option: --blokced"),
        ("sample score", "missing argument 'SYMBOL'"),
        ("sample list -o", "option '-o' requires an argument"),
        ("sample -o xml list", "--output 'xml' must be one of table, json, ndjson"),
        ("sample list -o toml", "--output 'toml' must be one of table, json, ndjson"),
        ("sample fail now", "got unexpected extra argument(s) (now)"),
        ("sample score BTCUSDT 1 -n x", "invalid value for '-n'"),
    ],
)
def test_a_usage_error_is_one_line_and_a_hint(
    line: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split(), {}) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, *more = err.splitlines()
    assert first.startswith("qtctl: ")
    assert says in first
    assert len(more) <= 1
    assert all(hint.startswith("Try 'qtctl") for hint in more)


def test_an_output_of_its_own_may_stand_at_the_command() -> None:
    assert last_env("sample page -o toml").output == "toml"
    assert last_env("-o toml sample page").output == "toml"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (NotFoundError("no permit for p1"), 1, "qtctl: no permit for p1\n"),
        (RefusedError("another group reads it"), 4, "qtctl: another group reads it\n"),
        (QtctlError("a\nb\x1b[31m"), 1, "qtctl: a\\x0ab\\x1b[31m\n"),
        (KeyboardInterrupt(), 130, ""),
        (typer.Abort(), 130, ""),
        (BrokenPipeError(), 141, ""),
        (typer.Exit(3), 3, ""),
        (OSError(28, "No space left on device"), 1, "qtctl: cannot write the output: No space"),
        (KeyError("x"), 1, "qtctl: internal error: KeyError: 'x' (--debug shows the traceback)\n"),
    ],
)
def test_whatever_is_raised_ends_as_a_line_and_a_code(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    raised.append(error)
    assert run(["sample", "fail"], {}) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(says)
    assert err.count("\n") == (1 if says else 0)


@pytest.mark.parametrize("line", ["--debug sample fail", "sample fail --debug"])
def test_debug_shows_the_traceback_before_the_line(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    raised.append(KeyError("x"))
    assert run(line.split(), {}) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n")
    assert "raise raised[-1]" in err
    assert err.splitlines()[-1].startswith("qtctl: internal error: KeyError")


def every_command() -> Iterator[tuple[str, Any]]:
    """Every command line that has a help page, and its command."""
    with root().make_context("qtctl", ["config"]) as context:
        yield "", root()
        for name in COMMANDS:
            command = root().get_command(context, name)
            yield name, command
            for below, sub in getattr(command, "commands", {}).items():
                yield f"{name} {below}", sub


def test_every_help_page_has_examples_that_can_be_copied(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    pages = list(every_command())
    assert len(pages) >= 6
    for line, it in pages:
        assert run([*line.split(), "--help"], {}) == 0
        page = capsys.readouterr().out
        assert "\nExamples:\n" in page, line
        examples = [example for example in it.epilog.splitlines() if "qtctl" in example]
        assert examples, line
        for example in examples:
            assert f"  {example}\n" in page, "an example was wrapped or joined"
        assert "Common options, before or after the command:\n" in page
        for option in ("--output", "--redis-url", "--config", "--set", "--local", "--debug"):
            assert option in page, line
        assert max(map(len, page.split("Examples:")[0].splitlines())) <= 80


def test_the_root_page_has_a_line_for_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"], {}) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, (_, about) in COMMANDS.items():
        assert [line.split() for line in lines].count([name, *about.split()]) == 1


def test_every_command_says_in_a_sentence_what_it_does() -> None:
    for name, (module, _) in COMMANDS.items():
        below = typer.main.get_command(import_module(module).app)
        for it in (below, *getattr(below, "commands", {}).values()):
            first = (it.help or "").split("\n\n")[0]
            assert first.endswith("."), f"{name} {it.name}"


def test_a_help_page_names_values_as_the_errors_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sample", "score", "-h"], {}) == 0
    page = capsys.readouterr().out
    assert page.startswith("Usage: qtctl sample score [OPTIONS] SYMBOL SCORE\n")
    assert run(["sample", "list", "-h"], {}) == 0
    page = capsys.readouterr().out
    assert page.startswith("Usage: qtctl sample list [OPTIONS] [SYMBOL]...\n")
    assert "--since SINCE" in page


def test_a_help_page_of_a_noun_is_not_taken_for_its_list(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["sample", "--help"], {}) == 0
    assert "Without a command: list." in capsys.readouterr().out
    assert seen == []


@pytest.mark.parametrize("line", ["", "-o json", "inject", "inject --utc"])
def test_a_lost_subcommand_is_an_error_that_shows_the_help(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split(), {}) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: qtctl")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"], {}) == 0
    assert capsys.readouterr().out == f"qtctl {__version__}\n"


@pytest.mark.parametrize(
    "line", ["sample list BTCUSDT --since 1h", "sample score BTCUSDT 0.2 -n 5", "-o json sample"]
)
def test_a_command_does_not_wait_for_pydantic(line: str) -> None:
    program = (
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_frame\n"
        "from qtctl.cli.main import COMMANDS, run\n"
        "COMMANDS['sample'] = ('test_frame', '')\n"
        "before = set(sys.modules)\n"
        f"assert run({line.split()!r}) == 0\n"
        "print(sorted({'pydantic', 'rich', 'redis', 'msgspec'} & (set(sys.modules) - before)))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "[]\n"


def test_help_and_version_import_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from qtctl.cli.main import run\n"
        "run(['--help'])\n"
        "heavy = {'rich', 'redis', 'msgspec', 'json', 'logging', 'asyncio', 'hashlib'}\n"
        "heavy |= {'qtctl.cli.commands.config', 'qtctl.cli.framework.list_options'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stderr == "[]\n"


def test_garbage_is_collected_seldom_in_a_command_and_as_usual_in_a_service() -> None:
    program = (
        "import gc, sys\n"
        "usual = gc.get_threshold()\n"
        "from qtctl.cli import compose\n"
        "from qtctl.cli.framework import process\n"
        "process.prepare()\n"
        "seldom = gc.get_threshold()[0] > 10 * usual[0]\n"
        "compose.share_the_interpreter()\n"
        "print(seldom, gc.get_threshold() == usual, file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stderr == "True True\n"


def test_a_process_ends_without_a_last_search_for_garbage() -> None:
    program = (
        "import atexit, gc, sys\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 1000, file=sys.stderr))\n"
        "from qtctl.cli.main import main\n"
        "sys.argv = ['qtctl', 'nonsense']\n"
        "main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == "True"


# As a process


def qtctl(*args: str) -> list[str]:
    return [sys.executable, "-m", "qtctl", *args]


INTERRUPTED_AT = """
import os, runpy, signal, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            sys.argv[1:] = ["--help"]
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
runpy.run_module("qtctl", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["qtctl.cli.main", "typer", "qtctl.cli.framework.process"])
def test_ctrl_c_while_a_command_is_imported_ends_it_without_a_traceback(module: str) -> None:
    argv = [sys.executable, "-c", INTERRUPTED_AT, module]
    ended = subprocess.run(argv, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *argv]
    went_on = subprocess.run(ignoring, capture_output=True, text=True)
    assert (went_on.returncode, went_on.stderr) == (0, ""), "who ignores it goes on"
    assert "Usage: qtctl" in went_on.stdout


def test_a_closed_pipe_ends_quietly_with_its_own_status() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as stdout:
        ended = subprocess.run(
            qtctl("--help"), stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_is_told_once() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            qtctl("--help"), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == "qtctl: cannot write the output: No space left on device\n"


def test_an_output_that_cannot_show_a_character_gets_its_number() -> None:
    ended = subprocess.run(
        qtctl("--help"),
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0
    assert "embedded:, \\u2026" in ended.stdout


def test_an_interrupt_ends_with_130_and_no_traceback() -> None:
    program = (
        "import os, signal\n"
        "from qtctl.cli.framework import exit\n"
        f"code = exit.guarded(lambda: os.kill(os.getpid(), {int(signal.SIGINT)}), debug=False)\n"
        "raise SystemExit(code)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (130, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15)])
def test_an_interrupt_from_where_nothing_can_be_raised_ends_the_command_all_the_same(
    number: signal.Signals, code: int
) -> None:
    """As in a callback of an import, or here in a finalizer: what is raised there is dropped."""
    program = (
        "import os, signal, sys, time\n"
        "from qtctl.cli.framework import exit, process\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Finalized:\n"
        "    def __del__(self):\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "def action():\n"
        "    Finalized()\n"
        "    print('went on', flush=True)\n"
        "    time.sleep(60)\n"
        "process.prepare()\n"
        "sys.exit(exit.guarded(action, debug=False))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "went on\n", "")


def test_what_else_a_finalizer_raises_is_reported() -> None:
    program = (
        "from qtctl.cli.framework import process\n"
        "class Finalized:\n"
        "    def __del__(self):\n"
        "        raise SystemExit('no interrupt')\n"
        "process.prepare()\n"
        "Finalized()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0
    assert "SystemExit: no interrupt" in ended.stderr
