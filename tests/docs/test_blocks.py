"""What the pages show to be typed: every block of `sh` is shell, every line of `qtctl` is one that
there is, and each that can be is run, in its order, on a private server with both services.

operations.md, the runbooks, the certificates of deploying.md and the Python of integration.md are
run by tests of their own (tests/docs/test_operations.py, tests/monitoring/test_runbooks.py,
tests/security/test_tls.py, tests/docs/test_integration.py).
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer._click.exceptions import ClickException

from qtctl.cli.main import root, run
from qtctl.simulate import selftest
from tests.monitoring.support import Services, running
from tests.support.cli import unlog

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RUN = ("README.md", "docs/cli.md", "docs/configuration.md", "docs/history.md")
"""The pages whose lines are run here."""
READ = {
    "serve": "does not end; tests/supervisor",
    "demo": "a server of its own; tests/cli/test_demo.py",
    "proof": "a server of its own, or a question; tests/proof",
    "bench": "takes minutes; tests/bench",
    "deploy": "this host; tests/deploy",
    "rollback": "this host; tests/deploy",
    "completion": "other shells than this one; tests/cli/test_completion.py",
    "evidence": "a server of its own for the proofs; tests/cli/test_evidence.py",
    "simulate": "does not end, or hours of history; tests/simulate",
    "logs": "the journal, which a host of tests may lack; tests/cli/test_logs.py",
}
"""Commands whose lines are only read, and why."""
READ_LINES = {
    "qtctl top": "a screen, until q; tests/cli/test_top.py",
    "qtctl top --interval 5s": "the same",
    "qtctl top -n 60 -o ndjson": "takes a minute",
    "qtctl history export --format parquet --table decisions --out /srv/export": "needs an extra",
    "qtctl history export --format parquet --since 7d --out /srv/export": "the same",
    "qtctl group recover apply_layer --force": "of another system; tests/cli/test_group_stream.py",
    'qtctl resume --clock --reason "clock repaired, positions compared"': "a clock that jumped",
}
"""Lines that are only read, and why."""
FOLLOWS = re.compile(r" (-f|--watch)\b")
"""Goes on until Ctrl-C."""
FINDS = {
    "doctor": "a server of tests is not for production",
    "status": "the same",
    "config diff": "tests have settings of their own",
    "bundle": "a host may have no journal",
    'permit show "$(qtctl': "the cooldown may hold the plan",
    "config check": "paths of this host",
    "readiness": "minutes of history are not enough",
}
"""Lines that may end with 1, which tells that something was found, and why something is."""


class Line(NamedTuple):
    """A command, its page, and what its block is called."""

    page: str
    kind: str
    text: str


def blocks() -> Iterator[tuple[str, str, str]]:
    """Page, kind and text of every block."""
    for path in PAGES:
        page = str(path.relative_to(ROOT))
        for kind, body in re.findall(
            r"^```(\w[^\n]*)\n(.*?)^```", path.read_text("utf-8"), re.S | re.M
        ):
            yield page, kind, body


def lines() -> list[Line]:
    """Every line that somebody would type: all of `sh`, those behind a prompt of `console`."""
    found = []
    for page, kind, body in blocks():
        for text in body.splitlines():
            if kind.startswith("sh") and text.strip():
                found.append(Line(page, kind, text))
            elif kind == "console" and text.startswith("$ "):
                found.append(Line(page, kind, text.removeprefix("$ ")))
    return found


def calls(text: str) -> list[list[str]]:
    """The words of each call of qtctl in a line; words of the shell end one."""
    text = text.rstrip("\\")  # That goes on in the next line.
    text = re.sub(r'"\$\((qtctl [^)]*)\)"', r"WORD ; \1 ;", text)
    if re.match("(sudo )?(systemctl|journalctl) ", text):
        return []  # There qtctl is a unit.
    found: list[list[str]] = []
    words: list[str] | None = None
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for word in lexer:
        if (word == "qtctl" or word.endswith("/bin/qtctl")) and words is None:
            words = []
        elif re.fullmatch(r"[|;&<>()]+", word):
            found += [] if words is None else [words]
            words = None
        elif words is not None:
            words.append(word)
    return found + ([] if words is None else [words])


def parsed(words: list[str]) -> None:
    """Raises for what is no command or takes no such options; runs nothing."""
    command: Any = root()
    context = command.make_context("qtctl", list(words))
    while hasattr(context.command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, more = context.command.resolve_command(context, rest)
        context = command.make_context(name, list(more), parent=context)


def test_every_block_of_shell_is_shell() -> None:
    checked = 0
    for page, kind, body in blocks():
        if kind.startswith("sh"):
            body = body.replace("<plan_id>", "PLAN_ID")
            said = subprocess.run(["bash", "-n"], input=body, text=True, capture_output=True)
            assert said.returncode == 0, (page, body, said.stderr)
            checked += 1
    assert checked > 80


def test_every_line_of_qtctl_is_one_that_there_is() -> None:
    checked = 0
    for line in lines():
        for words in calls(line.text):
            try:
                parsed(words)
            except ClickException as error:
                pytest.fail(f"{line}: {error!r}")
            checked += 1
    assert checked > 180


def test_a_line_that_is_none_would_be_noticed() -> None:
    assert calls('sudo qtctl a -n 1 | cat && x/bin/qtctl "b c" > f') == [["a", "-n", "1"], ["b c"]]
    assert calls('qtctl permit show "$(qtctl inject x)"')[1] == ["inject", "x"]
    for words in (["plan", "lits"], ["status", "--watch"], ["plan", "show"], ["nah"]):
        with pytest.raises(ClickException):
            parsed(words)


def is_only_read(text: str) -> bool:
    """Whether a line is not run."""
    named = {word for words in calls(text) for word in words if word in READ}
    return text in READ_LINES or bool(named) or bool(FOLLOWS.search(text))


class Desk:
    """Where the lines are typed: files, contexts and a history, beside the services."""

    def __init__(self, services: Services, folder: Path) -> None:
        self.folder, self._services, self._made = folder, services, count(1)
        contexts = "".join(
            f"[contexts.{name}]\nurl = '{services.url}'\nprotected = {protected}\n"
            for name, protected in (("prod", "true"), ("staging", "false"))
        )
        for name, content in {
            "settings.toml": contexts,
            "qtctl.toml": "",
            "new.toml": "",
            "p29.env": "METRICS_PORT=8065\n",
            "p32.env": "P31_MIN_CONF=0.65\n",
        }.items():
            (folder / name).write_text(content)
        self.environ = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "QTCTL_CONFIG": str(folder / "settings.toml"),
            "QTCTL_REDIS_URL": services.url,
            "QTCTL_HISTORY_DIR": services.history,
            "STATE_DIRECTORY": str(folder),
        }

    def stand_in(self, text: str) -> str:
        """The line, with what only the reader has: files, days, plans that have a permit."""
        text = text.removeprefix("sudo ").partition("  #")[0].strip()
        text = re.sub(r"/(srv|tmp)/", lambda _: f"{self.folder}/{next(self._made)}-", text)
        text = re.sub(r"--dir /\S+", f"--dir {self._services.history}", text)
        text = re.sub(r"/etc/quantum/", f"{self.folder}/", text)
        text = text.replace("2026-01-31", f"{datetime.now(UTC):%Y-%m-%d}")
        if re.search(r" p1\b", text):
            text = re.sub(r" p1\b", f" {self.plan_id()}", text)
        if text.startswith("qtctl resume"):
            self("resume", "--reason", "the next line", "--yes")
            self("halt", *re.findall(r"[A-Z]+USDT", text))
            text += "" if "--yes" in text or "--dry-run" in text else " --yes"
        return text

    def plan_id(self) -> str:
        """Of a close that has just been permitted."""
        plan_id = f"desk-{next(self._made)}"
        words = ("inject", "plan", "BTCUSDT", "--reduce-only", "--qty", "0", "--wait", "5")
        assert self(*words, "--plan-id", plan_id) == 0
        return plan_id

    def __call__(self, *words: str) -> int:
        """The exit code of `qtctl WORDS…`, in this process."""
        try:
            return run(words, self.environ)
        finally:
            unlog()

    def shell(self, text: str) -> int:
        """The exit code of a line of the shell."""
        return subprocess.run(["bash", "-c", text], env=self.environ, cwd=self.folder).returncode


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with running() as services:
        made = Desk(services, tmp_path_factory.mktemp("desk"))
        assert made("inject", "target", "BTCUSDT", "1000") == 0
        assert made("inject", "target", "ETHUSDT", "1000") == 0
        yield made


@pytest.mark.parametrize("page", RUN)
def test_its_lines_work_in_their_order(
    desk: Desk, page: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    # All of them: tests/cli/test_readiness.py.
    monkeypatch.setattr(selftest, "FAULTS", {"clean": selftest.FAULTS["clean"]})
    ran = 0
    for line in lines():
        if line.page != page or not calls(line.text) or is_only_read(line.text):
            continue
        text = desk.stand_in(line.text)
        capfd.readouterr()
        is_shell = bool(re.search(r"[|>&$]", re.sub(r"'[^']*'", "", text)))
        code = desk.shell(text) if is_shell else desk(*shlex.split(text)[1:])
        out, err = capfd.readouterr()
        finds = any(f" {it}" in line.text for it in FINDS)
        assert code in ((0, 1) if finds else (0,)), (line, text, out, err)
        assert out + err or ">" in text, f"{text} says nothing"
        ran += 1
    assert ran, page


def test_what_is_only_read_is_there() -> None:
    """An exception that no page has any more is none."""
    texts = [line.text for line in lines()]
    for name in READ:
        assert any(re.search(rf"qtctl .*{name}\b", text) for text in texts), name
    assert set(texts) >= set(READ_LINES)
    for it in FINDS:
        assert any(f" {it}" in text for text in texts), it
