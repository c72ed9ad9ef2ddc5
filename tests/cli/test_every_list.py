"""Which commands list, and that each of them has the options of lists."""

from pathlib import Path
from typing import Any

import pytest

from qtctl.cli.main import root
from qtctl.wire.client.store import Store
from tests.support.cli import Cli


@pytest.fixture
def cli(redis_url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(redis_url, capsys)


REPORTS = frozenset({
    "inject clear", "doctor", "group recover", "group prune", "bench", "config show", "config diff",
    "simulate history", "history query", "history export", "history verify", "history prune",
    "readiness selftest",
})  # fmt: skip
"""Commands that print rows about what they did or found: they have `-o csv`, and end by themselves.
docs/cli.md says so."""
OF_EVERY_LIST = {"--limit", "-n", "--sort", "--columns", "--where", "--wide", "--watch"}


def leaves() -> dict[str, Any]:
    """Every command there is, by its words."""
    whole, found = root(), {}
    for name in whole.commands:
        command = whole.get_command(None, name)
        for sub, leaf in getattr(command, "commands", {"": command}).items():
            found[f"{name} {sub}".strip()] = leaf
    return found


def test_every_list_has_the_options_of_lists() -> None:
    lists = {}
    for words, leaf in leaves().items():
        options = {each for param in leaf.params for each in getattr(param, "opts", ())}
        output = next(it for it in leaf.params if "--output" in getattr(it, "opts", ()))
        if "csv" in (output.metavar or ""):
            lists[words] = options
    assert {words for words, options in lists.items() if not options >= OF_EVERY_LIST} == REPORTS
    assert {words for words in leaves() if words.endswith(" list")} <= set(lists) - REPORTS


def test_groups_and_contexts_are_lists_too(cli: Cli, store: Store, tmp_path: Path) -> None:
    for _ in range(4):
        store.run("XADD", store.keys.plans, "*", "plan_id", "p")
    for name in ("a", "b"):
        store.run("XGROUP", "CREATE", store.keys.plans, name, "0")
    read = ("COUNT", 3, "NOACK", "STREAMS", store.keys.plans, ">")
    store.run("XREADGROUP", "GROUP", "b", "c", *read)
    said = cli.ok("group", "list", "--sort", "-lag", "-n", "1", "-o", "json").json
    assert [(row["group"], row["lag"]) for row in said] == [("a", 4)]
    assert cli.ok("group", "list", "--where", "group=b", "--columns", "group,lag").out.split() == [
        "group", "lag", "b", "1",
    ]  # fmt: skip
    file = tmp_path / "qtctl.toml"
    file.write_text('[contexts.x]\nurl = "redis://h"\n[contexts.y]\nurl = "redis://i"\n')
    said = cli.ok("config", "contexts", "--config", str(file), "--sort", "-name", "-n", "1",
                  "-o", "csv")  # fmt: skip
    assert [line.split(",")[:2] for line in said.out.splitlines()] == [["current", "name"],
                                                                       ["false", "y"]]  # fmt: skip
