"""The five commands onto a host: the same on both pages, each one that there is."""

import re
import shlex
import subprocess
from pathlib import Path

from qtctl.cli.main import root
from qtctl.deploy import packaged

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/deploying.md")
QTCTL = f"{packaged.PREFIX}/bin/qtctl"


def commands(page: str) -> list[str]:
    (block,) = re.findall(r"^```sh host\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.M)
    return [line for line in block.splitlines() if line]


def test_both_pages_have_the_same_five() -> None:
    first, second = map(commands, PAGES)
    assert first == second
    assert len(first) == 5


def test_each_is_there() -> None:
    wheel, install, *rest = commands(PAGES[0])
    target = shlex.split(wheel)
    subprocess.run([*target, "--dry-run", "STAMP="], cwd=ROOT, check=True, capture_output=True)
    sudo, shell, option, script = shlex.split(install)
    assert (sudo, shell, option) == ("sudo", "sh", "-c")
    subprocess.run([shell, "-n", option, script], check=True)
    assert packaged.PREFIX in script
    for line in rest:
        sudo, program, name, *args = shlex.split(line)
        assert (sudo, program) == ("sudo", QTCTL)
        command = root().get_command(None, name)
        command.make_context(name, list(args))  # which raises for what it does not take
