"""docs/runbooks: one page per alert, whose commands run as they stand there.

Run are all lines of ```sh blocks, on a private server with both services. Not run, only checked as
far as that goes, are ```sh systemd (units of a host) and ```sh external (redis-cli on the
operator's own Redis).
"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from docs.generators.monitoring_tables import alerts
from qtctl.cli.main import COMMANDS
from qtctl.simulate import demo_traffic
from qtctl.wire.client.store import Store
from qtctl.wire.governor.plan_queue import group_state
from qtctl.wire.schema.keys import Keys
from tests.monitoring.support import ROOT, Services, running, wait
from tests.support.cli import Cli
from tests.support.debian import needed

BOOKS = {path.stem: path.read_text("utf-8") for path in (ROOT / "docs/runbooks").glob("*.md")}
STARTS = {
    "sh": ("qtctl ", "curl -s http://127.0.0.1:"),
    "sh systemd": ("systemctl ", "journalctl ", "sudo systemctl ", "sudo qtctl "),
    "sh external": ("redis-cli ",),
}
"""What the lines of a block of that kind may begin with."""
SITUATIONS = {
    "QtctlTradingHalted": ("halt", "--all", "--reason", "a test"),
    "QtctlHaltKept": ("halt", "--reason", "a test"),
    "QtctlReduceOnly": ("halt", "--reason", "a test"),
}
"""What makes the alert's case, where its commands need one."""
STANDS_FOR = {"PLAN_ID": "demo-btc-open", "SYMBOL": "BTCUSDT"}
FINDS = {"doctor": (0, 1), "status": (0, 1)}
"""Exit codes of commands that tell with 1 that they found something; else it is 0."""


class Line(NamedTuple):
    """A command of a runbook, and the kind of its block."""

    book: str
    kind: str
    text: str


def lines() -> list[Line]:
    """Every command line of every runbook."""
    return [
        Line(name, kind, text)
        for name, page in sorted(BOOKS.items())
        for kind, body in re.findall(r"^```([^\n]*)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        for text in body.splitlines()
        if text.strip()
    ]


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """Both services, with one round of the demo's traffic behind them."""
    with running() as found:
        store = Store(found.url, Keys())
        demo_traffic.scores_and_targets(store)
        for send in demo_traffic.PLANS:
            send(store)
            assert wait(lambda: _settled(store), 30)
        yield found
        store.close()


def _settled(store: Store) -> bool:
    state = group_state(store)
    return state is not None and state.pending == 0 and state.lag == 0


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    assert sorted(BOOKS) == sorted(alert.name for alert in alerts())
    for alert in alerts():
        assert alert.runbook == f"docs/runbooks/{alert.name}.md"
        page = BOOKS[alert.name]
        assert page.startswith(f"# {alert.name}\n{alert.severity.capitalize()}")
        headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
        assert headings == ["Check", "Fix", "Clears"], alert.name


def test_links_between_runbooks_lead_somewhere() -> None:
    for name, page in BOOKS.items():
        for link in re.findall(r"\]\((\w+)\.md\)", page):
            assert link in BOOKS, (name, link)
        for path in re.findall(r"\b((?:docs|etc)/[\w.-]*\w)", page):
            assert (ROOT / path).exists(), (name, path)


def test_blocks_hold_what_their_kind_says_and_name_commands_that_there_are() -> None:
    for line in lines():
        assert line.kind in STARTS, line
        assert line.text.startswith(STARTS[line.kind]), line
        assert not re.search(r"[|;&<>]", re.sub(r"'.*?'", "", line.text)), line
    for name, page in BOOKS.items():
        for word in re.findall(r"`(?:sudo )?qtctl ([a-z]+)", page):
            assert word in COMMANDS, (name, word)


def test_systemd_lines_name_units_that_there_are() -> None:
    units = {path.stem for path in (ROOT / "units").glob("*.service")}
    for line in lines():
        if line.kind != "sh systemd" or "qtctl rollback" in line.text:
            continue
        words = shlex.split(line.text.removeprefix("sudo "))
        named = [words[i + 1] for i, word in enumerate(words) if word == "-u"]
        named += words[2:] if words[0] == "systemctl" else []
        assert named, line
        assert set(named) <= units, line


@pytest.mark.parametrize("name", sorted(BOOKS))
def test_its_commands_run(
    services: Services, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    cli = Cli(services.url, capsys)
    if name in SITUATIONS:
        cli.ok(*SITUATIONS[name])
    store = Store(services.url, Keys())
    if name == "QtctlClockJump":
        store.run("SET", store.keys.clock_jump, "{}")
    try:
        for line in lines():
            if line.book == name and line.kind == "sh":
                run(cli, services, line.text)
    finally:
        if name in SITUATIONS:
            cli("resume", "--reason", "the test is over", "--yes")
        store.run("DEL", store.keys.clock_jump)
        store.close()


def run(cli: Cli, services: Services, text: str) -> None:
    """One command as a person would type it; fails unless it did what it is there for."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(services.addressed(text))]
    if words[0] == "curl":
        said = subprocess.run([needed("curl"), *words[1:]], capture_output=True, timeout=30)
        assert (said.returncode, said.stdout[:2]) == (0, b"ok"), (text, said)
        return
    history = {"QTCTL_HISTORY_DIR": services.history}
    done = cli(*words[1:], environ=history)
    assert done.code in FINDS.get(words[1], (0,)), (text, done)
    assert done.out + done.err, f"{text} says nothing"
