"""`qtctl top` in a real terminal: drawn without flicker, and given back as it was."""

import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from qtctl.cli import top
from qtctl.cli.env import Env
from qtctl.wire.embedded import Embedded
from qtctl.wire.keys import Keys
from qtctl.wire.store import Store
from tests.support.cli import NO_FILE, Cli, hosting
from tests.support.processes import QTCTL, until

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


def put(store: Store, *names: str) -> None:
    for place, name in enumerate(names):
        key = f"quantum:allocation:target:{name}"
        store.run("HSET", key, "target_usd", 1000 + place, "timestamp", store.now_ms() // 1000)


@contextlib.contextmanager
def terminal(
    url: str, *args: str, size: tuple[int, int] = (24, 80), term: str = "xterm-256color"
) -> Iterator[Any]:
    """A shell on a terminal that tells its modes before and after."""
    command = " ".join((*QTCTL, "--redis-url", url, "top", *args))
    env = {**NO_FILE, "TERM": term, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8",
           "PYTHONPATH": str(Path(__file__).parents[2])}  # fmt: skip
    child = pexpect.spawn(
        "/bin/sh",
        ["-c", f"trap : INT; stty -g; echo READY; {command}; echo CODE $?; stty -g; echo END"],
        env=env, dimensions=size, encoding="utf-8", timeout=15,
    )  # fmt: skip
    try:
        child.expect("READY\r\n")
        yield child
    finally:
        child.close(force=True)


def modes(text: str) -> str:
    """What `stty -g` told last in a text."""
    found: str = re.findall(r"[0-9a-f]+(?::[0-9a-f]+){10,}", text)[-1]
    return found


@pytest.mark.parametrize(
    ("end", "code"), [("q", 0), ("\x03", 130), (signal.SIGTERM, 143)], ids=["q", "ctrl-c", "term"]
)
def test_the_terminal_is_given_back_as_it_was(
    store: Store, redis_url: str, end: Any, code: int
) -> None:
    put(store, "BTCUSDT")
    with terminal(redis_url) as child:
        before = modes(child.before)
        child.expect_exact(ENTER)
        child.expect_exact("BTCUSDT")
        child.expect_exact("q quit")
        if isinstance(end, str):
            child.send(end)
        else:
            subprocess.run(["pkill", "-TERM", "-P", str(child.pid)], check=True)
        child.expect_exact(LEAVE)
        child.expect(r"CODE (\d+)")
        assert int(child.match[1]) == code
        child.expect_exact("END")
        assert modes(child.before) == before


def test_nothing_is_cleared_before_it_is_drawn_again(store: Store, redis_url: str) -> None:
    put(store, "BTCUSDT")
    with terminal(redis_url, "--interval", "0.1s", "-n", "5") as child:
        child.expect_exact("END")
        drawn = child.before
    assert drawn.count("\x1b[H") == 5
    assert "\x1b[2J" not in drawn
    assert "\x1b[3J" not in drawn


def test_keys_sort_filter_pause_and_help(store: Store, redis_url: str) -> None:
    put(store, "AAAUSDT", "BBBUSDT")
    with terminal(redis_url, "--interval", "0.2s") as child:
        child.expect_exact("s sort: change")
        child.send("s")
        child.expect_exact("s sort: symbol")
        child.send("/bbb\r")
        child.expect_exact("filter (bbb)")
        child.expect_exact("\x1b[H")
        child.expect_exact("q quit")
        assert "AAAUSDT" not in child.before
        assert "BBBUSDT" in child.before
        child.send("p")
        child.expect_exact("PAUSED")
        child.send("p?")
        child.expect_exact("sort by the next of")
        child.send("q")
        child.expect("CODE 0")


def test_redis_may_go_and_come_back(tmp_path: Path) -> None:
    server = Embedded.start(tmp_path / "s", appendonly=True)
    try:
        store = Store(server.url, Keys())
        put(store, "BTCUSDT")
        store.close()
        with terminal(server.url, "--interval", "0.2s") as child:
            child.expect_exact("BTCUSDT")
            server.stop()
            child.expect_exact("no Redis at")
            child.expect_exact("BTCUSDT")  # What was seen last stays.
            server = Embedded.start(tmp_path / "s", appendonly=True)
            for _ in range(100):
                child.expect_exact("\x1b[H")
                child.expect_exact("kill switch")
                if "no Redis" not in child.before:
                    break
            else:
                pytest.fail("it does not come back")
            child.send("q")
            child.expect("CODE 0")
    finally:
        server.stop()


def test_ctrl_z_gives_the_terminal_back_until_fg(store: Store, redis_url: str) -> None:
    put(store, "BTCUSDT")
    command = " ".join((*QTCTL, "--redis-url", redis_url, "top"))
    env = {**NO_FILE, "TERM": "xterm", "PATH": "/usr/bin:/bin", "PS1": "$ ", "LANG": "C.UTF-8",
           "PYTHONPATH": str(Path(__file__).parents[2])}  # fmt: skip
    child = pexpect.spawn("/bin/bash", ["--norc", "--noprofile", "-i"], env=env,
                          dimensions=(24, 80), encoding="utf-8", timeout=15)  # fmt: skip
    try:
        child.sendline(command)
        child.expect_exact("q quit")
        child.send("\x1a")
        child.expect_exact(LEAVE)
        child.expect("Stopped")
        child.sendline("fg")
        child.expect_exact(ENTER)
        child.expect_exact("q quit")
        child.send("q")
        child.expect_exact(LEAVE)
    finally:
        child.close(force=True)


@pytest.mark.parametrize(
    ("size", "term"), [((10, 80), "xterm"), ((24, 40), "xterm"), ((24, 80), "dumb")]
)
def test_where_there_is_no_room_it_prints_lines(
    store: Store, redis_url: str, size: tuple[int, int], term: str
) -> None:
    put(store, "BTCUSDT")
    with terminal(redis_url, "-n", "2", "--interval", "0.1s", size=size, term=term) as child:
        child.expect_exact("END")
        said = child.before
    assert ENTER not in said
    assert said.count("kill switch normal") == 2


def test_on_a_pipe_it_prints_lines_and_permits_as_they_come(
    store: Store, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.support.plans import fields

    flat = [part for pair in fields(plan_id="p1").items() for part in pair]
    with hosting(redis_url):
        store.run("XADD", store.keys.plans, "*", *flat)
        until(lambda: store.run("EXISTS", "quantum:permit:p1"))
        said = Cli(redis_url, capsys).ok("top", "-n", "3", "--interval", "0.1s")
    assert said.out.count("qtctl top · ") == 3
    assert said.out.count("permit p1 ") == 1, "told once"
    assert "\x1b" not in said.out


def test_without_redis_it_is_exit_3(capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    assert Cli("redis://127.0.0.1:1", capsys)("top").code == 3
    assert time.monotonic() - begun < 3


HOSTILE = "\x1b[2J[red]\u202eX"


def test_what_comes_from_redis_steers_nothing() -> None:
    env = Env(environ=NO_FILE)
    row = {"symbol": HOSTILE, "base_target": HOSTILE, "proposed_target": "1", "change_pct": None,
           "eff_score": HOSTILE, "reason": HOSTILE}  # fmt: skip
    view = top.View(
        symbols=[row],
        permits=[{"plan_id": HOSTILE, "symbol": HOSTILE, "ttl_s": 5, "eff_action": HOSTILE}],
        problem=HOSTILE,
        away_since=0.0,
    )
    for width, height in ((60, 15), (80, 24), (160, 50)):
        lines = top.frame(env, view, width, height)
        assert len(lines) == height
        drawn = "\n".join(lines)
        assert "\x1b[2J" not in drawn
        assert "\u202e" not in drawn
        assert "[red]" in drawn


def test_the_filter_is_typed_and_taken_away() -> None:
    view = top.View()
    for key in ("/", "b", "t", "x", "\x7f", "\r"):
        assert top.pressed(view, key)
    assert (view.wanted, view.typing) == ("bt", False)
    assert top.pressed(view, "escape")
    assert view.wanted == ""
    assert top.pressed(view, "/")
    assert top.pressed(view, "q"), "a letter of the filter"
    assert view.wanted == "q"
    assert top.pressed(view, "escape")
    assert not top.pressed(view, "q")


def test_sorting_goes_round() -> None:
    view = top.View()
    seen = []
    for _ in range(len(top.SORTS)):
        seen.append(view.sort)
        top.pressed(view, "s")
    assert seen == list(top.SORTS)
    assert view.sort == "change"
