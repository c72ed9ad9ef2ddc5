"""No number is given to hiredis to pack: where a signal comes while it does, the process dies."""

import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import hiredis
import pytest

import qtctl
from qtctl.wire.schema.packing import packed, without_numbers
from tests.support.cli import Cli, hosting
from tests.support.processes import Process, until

ENDED_AMID_A_NUMBER = """
import os, signal, sys
from qtctl.cli.framework import process
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import Keys

class Ending(float):
    def __repr__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return "1.0"

process.prepare()
store = Store(sys.argv[1], Keys())
try:
    store.run("PING")
    {call}
finally:
    print("cleaned up", flush=True)
"""


@pytest.mark.parametrize(
    "call",
    ['store.run("EXISTS", Ending())', 'store.batch([("EXISTS", Ending())])'],
    ids=["one command", "a batch"],
)
def test_a_signal_while_a_command_is_packed_ends_the_process_by_that_signal(
    redis_url: str, call: str
) -> None:
    argv = [sys.executable, "-c", ENDED_AMID_A_NUMBER.format(call=call), redis_url]
    with tempfile.TemporaryDirectory(prefix="qtctl-test-", dir="/tmp") as folder:
        child = Process(argv, Path(folder))
        try:
            assert child.wait() == -signal.SIGTERM, child
            assert child.stdout == "cleaned up\n"
        finally:
            child.end()


def test_numbers_are_packed_as_hiredis_would_and_all_else_is_left_to_it() -> None:
    words = ("a", b"b", 1, -(10**30), 0.1, 1e300, float("nan"), -0.0)
    assert packed(without_numbers(words)) == hiredis.pack_command(words)  # type: ignore[arg-type]
    no_words: tuple[object, ...] = (True, None, signal.SIGTERM, [])
    for odd in no_words:
        with pytest.raises(TypeError):
            packed(without_numbers((odd,)))


def test_both_loops_and_the_commands_give_hiredis_no_number(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pack: Any = hiredis.pack_command
    numbers: list[tuple[Any, ...]] = []

    def noting(words: tuple[Any, ...]) -> Any:
        if not all(isinstance(word, str | bytes) for word in words):
            numbers.append(words)
        return pack(words)

    monkeypatch.setattr(hiredis, "pack_command", noting)
    cli = Cli(redis_url, capsys)
    with hosting(redis_url), hosting(redis_url, "allocation"):
        cli.ok("inject", "target", "BTCUSDT", "1000")
        cli.ok("inject", "eff", "BTCUSDT", "0.2")
        cli.ok("inject", "plan", "BTCUSDT", "--wait", "20")
        until(lambda: cli.ok("tail", "proposed", "-o", "json").json, what="a proposal")
        for command in ("permit list", "plan list", "status", "stream list", "group list"):
            cli("-o", "json", *command.split())
    assert numbers == []


def test_nothing_else_packs_commands_or_connects() -> None:
    """What does so on its own would have to keep numbers from hiredis as well."""
    root = Path(qtctl.__file__).parent
    found = {
        str(path.relative_to(root)): sorted(set(re.findall(r"pack_command|from_url", source)))
        for path in root.rglob("*.py")
        if (source := path.read_text("utf-8"))
    }
    assert {path: names for path, names in found.items() if names} == {
        "bench/bare.py": ["from_url"],  # A plain service to compare with, in its own process.
        "wire/client/connect.py": ["from_url"],
        "wire/schema/packing.py": ["pack_command"],
    }
