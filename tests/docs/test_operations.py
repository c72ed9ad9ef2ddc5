"""docs/operations.md, followed from its top to its end on a private server with both services."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from qtctl.cli.main import run
from tests.monitoring.support import Services, running
from tests.support.cli import NO_FILE, Cli, Said

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
FINDS = {"doctor": (0, 1), "status": (0, 1), "config diff": (0, 1), "logs": (0, 1),
         "history": (0, 1)}  # fmt: skip
"""Commands that tell with 1 that they found something: a server of tests is not for production, and
its host may have no journal, and no history."""


HOST = ("deploy", "rollback")
"""Commands that are about files, and take no URL."""


def on_this_host(words: list[str], capsys: pytest.CaptureFixture[str]) -> Said:
    capsys.readouterr()
    code = run(words, NO_FILE)
    return Said(code, *capsys.readouterr())


def blocks() -> list[tuple[str, str]]:
    """Kind and command of each line in a block of commands."""
    found = re.findall(r"^```(sh[^\n]*)\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.M)
    return [(kind, line) for kind, body in found for line in body.splitlines() if line]


@pytest.fixture
def services() -> Iterator[Services]:
    with running() as found:
        yield found


def test_its_commands_work_in_their_order(
    services: Services, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cli = Cli(services.url, capsys)
    ran = 0
    for kind, line in blocks():
        if kind != "sh":
            continue
        words = shlex.split(line.replace("/tmp/stage", str(tmp_path / "stage")))
        assert words[0] == "qtctl", line
        said = on_this_host(words[1:], capsys) if words[1] in HOST else cli(*words[1:])
        allowed = FINDS.get(words[1]) or FINDS.get(" ".join(words[1:3])) or (0,)
        assert said.code in allowed, (line, said)
        assert said.out + said.err, f"{line} says nothing"
        ran += 1
    assert ran > 20


def test_what_is_not_run_here_is_for_a_host_or_another_program() -> None:
    for kind, line in blocks():
        if kind == "sh systemd":
            assert line.startswith(("sudo ", "journalctl ", "systemctl ")), line
        elif kind == "sh external":
            assert line.startswith(("redis-cli ", "curl ")), line
        else:
            assert kind == "sh", line
