"""What runs the checks elsewhere runs the same checks: workflow, hooks, .ci/run."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def text(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def recipe(target: str) -> str:
    """The commands of a target in the Makefile."""
    found = re.search(rf"^{target}:[^\n]*\n((?:\t[^\n]*\n)+)", text("Makefile"), re.MULTILINE)
    assert found, target
    return found[1]


def test_the_workflow_runs_what_ci_runs_on_every_python_of_the_matrix() -> None:
    workflow = text(".github/workflows/ci.yml")
    assert re.findall(r"^ +- run: (.+)$", workflow, re.MULTILINE) == [".ci/run"]
    assert os.access(ROOT / ".ci/run", os.X_OK)
    (pythons,) = re.findall(r"^ +python: \[(.+)\]$", workflow, re.MULTILINE)
    (ours,) = re.findall(r"^PYTHONS := (.+)$", text("Makefile"), re.MULTILINE)
    assert re.findall(r"[\d.]+", pythons) == ours.split()
    assert f'requires-python = ">={ours.split()[0]}"' in text("pyproject.toml")


def test_ci_runs_the_checks_and_the_suite() -> None:
    ran = re.findall(r"^make (\S+)", text(".ci/run"), re.MULTILINE)
    assert {"check", "test"} <= set(ran)


def test_the_hooks_are_the_commands_of_make_check() -> None:
    entries = re.findall(r"^ +entry: \.venv/bin/(.+)$", text(".pre-commit-config.yaml"), re.M)
    hooks = {entry.removesuffix(" --force-exclude") for entry in entries}
    checks = {
        line.removeprefix("\t$(BIN)/").removesuffix(" .") for line in recipe("check").splitlines()
    }
    assert hooks == {check.replace("format --check .", "format --check") for check in checks}


def test_hooks_come_from_nowhere_else() -> None:
    repos = re.findall(r"^ +- repo: (\S+)$", text(".pre-commit-config.yaml"), re.MULTILINE)
    assert set(repos) == {"local"}
