"""`qtctl top` in a real terminal: drawn without flicker, and given back as it was."""

import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pexpect
import pytest

from qtctl.cli.live.drawing import ansi
from qtctl.cli.live.poller import TopSnapshot
from qtctl.cli.live.screen import decode
from qtctl.cli.live.view import SORTS, View, frame, summary
from qtctl.cli.views.health_record import KillSwitch, Overall, Permits, Plans, Redis, Service
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.schema.keys import Keys
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


def redrawn(child: Any) -> str:
    """The whole screen, drawn anew."""
    child.send("\x0c")
    child.expect_exact("\x1b[1;1H")
    child.expect_exact("q quit")
    found: str = child.before
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
    with terminal(redis_url, "--interval", "0.1s", "-n", "15") as child:
        child.expect_exact("END")
        drawn = child.before
    assert drawn.count("q quit") == 1, "only what changed is sent"
    assert drawn.count("\x1b[1;1H") > 1, "the time did"
    assert "\x1b[2J" not in drawn
    assert "\x1b[3J" not in drawn


def test_keys_sort_filter_pause_and_help(store: Store, redis_url: str) -> None:
    put(store, "AAAUSDT", "BBBUSDT")
    with terminal(redis_url, "--interval", "0.2s") as child:
        child.expect_exact("s sort: change")
        child.send("s")
        child.expect_exact("s sort: symbol")
        child.send("/bbb\r")
        child.expect_exact("filter: bbb ")
        shown = redrawn(child)
        assert "AAAUSDT" not in shown
        assert "BBBUSDT" in shown
        child.send("p")
        child.expect_exact("PAUSED")
        child.send("p?")
        child.expect_exact("sort symbols by the next of")
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
            child.expect_exact("NO ANSWER for")
            assert "BTCUSDT" in redrawn(child), "what was seen last stays"
            server = Embedded.start(tmp_path / "s", appendonly=True)
            until(lambda: "NO ANSWER" not in redrawn(child), what="it to come back")
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
    assert said.out.count("kill switch normal") == 3
    assert said.out.count("permit p1 ") == 1, "told once"
    assert "\x1b" not in said.out


def test_without_redis_it_is_exit_3(capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    assert Cli("redis://127.0.0.1:1", capsys)("top").code == 3
    assert time.monotonic() - begun < 3


HOSTILE = "\x1b[2J[red]\u202eX"


def seen(**changes: Any) -> TopSnapshot:
    """A look at nothing, but for the changes."""
    overall = Overall(
        ok=False, where=HOSTILE, at=1_700_000_000.0,
        services=[Service("governor", HOSTILE, "not_ready", HOSTILE, 1.0, 2.0, HOSTILE, "h", "m")],
        redis=Redis(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1.0, may_evict=True),
        kill_switch=KillSwitch("halted", HOSTILE, []),
        plans=Plans(0.0, 0.0, 0, 1, 60.0, cut=False, blocks={HOSTILE: 1}),
        group=None, permits=Permits(0, None, 0), problems={"group": HOSTILE},
    )  # fmt: skip
    plain: dict[str, Any] = {"overall": overall, "permits": [], "symbols": [], "at": 0.0}
    return TopSnapshot(**(plain | changes))


def test_what_comes_from_redis_steers_nothing() -> None:
    row = {"symbol": HOSTILE, "base_target": HOSTILE, "proposed_target": "1", "change_pct": None,
           "eff_score": HOSTILE, "reason": HOSTILE, "target_age_s": None}  # fmt: skip
    permit = {"plan_id": HOSTILE, "symbol": HOSTILE, "ttl_s": 5, "eff_action": HOSTILE,
              "eff_factor": HOSTILE, "computed_notional": HOSTILE}  # fmt: skip
    for away in ({}, {"problem": HOSTILE, "away_since": 0.0}):
        found = seen(symbols=[row], permits=[permit], **away)
        for width, height in ((60, 15), (80, 24), (160, 50)):
            lines = [ansi(each, True) for each in frame(View(), found, 1.0, width, height, True)]
            assert len(lines) == height
            drawn = "\n".join(lines)
            assert "\x1b[2J" not in drawn
            assert "\u202e" not in drawn
            assert "[red]" in drawn
        assert "\x1b" not in summary(found, 1.0, True)


def test_behind_a_url_that_names_several_the_one_that_answers_is_seen() -> None:
    for primary, lines in (("10.0.0.2:6379", 1), (None, 0)):
        server = Redis("url", primary, "valkey", "9.1.0", "master", 60.0, may_evict=False)
        found = seen(overall=replace(seen().overall, redis=server))
        drawn = [ansi(each, True) for each in frame(View(), found, 1.0, 80, 24, True)]
        assert sum("at 10.0.0.2:6379 valkey 9.1.0, up 60 s" in line for line in drawn) == lines


def test_the_filter_is_typed_and_taken_away() -> None:
    view = View()
    for key in ("/", "b", "t", "x", "\x7f", "\r"):
        assert view.pressed(key)
    assert (view.wanted, view.typing) == ("bt", False)
    assert view.pressed("escape")
    assert view.wanted == ""
    assert view.pressed("/")
    assert view.pressed("q"), "a letter of the filter"
    assert view.wanted == "q"
    assert view.pressed("escape")
    assert not view.pressed("q")


def test_sorting_goes_round() -> None:
    view = View()
    sorts = []
    for _ in range(len(SORTS)):
        sorts.append(view.sort)
        view.pressed("s")
    assert sorts == list(SORTS)
    assert view.sort == "change"


def test_a_permit_runs_out_also_while_nobody_answers() -> None:
    permit = {"plan_id": "p1", "symbol": "S", "ttl_s": 3.0, "eff_action": "NONE",
              "eff_factor": "1", "computed_notional": 1.0}  # fmt: skip
    found = seen(permits=[permit], problem="gone", away_since=0.0)

    def shown(now: float) -> str:
        return "\n".join(ansi(each, False) for each in frame(View(), found, now, 80, 24, True))

    assert "p1" in shown(2.0)
    assert "p1" not in shown(3.5)


@pytest.mark.parametrize(
    ("typed", "key", "rest"),
    [
        (b"qx", "q", b"x"), (b"\x1b[A", "up", b""), (b"\x1bOB!", "down", b"!"),
        (b"\x1b[6~", "page down", b""), (b"\x1b[15~q", "", b"q"), (b"\x1b", "escape", b""),
        ("é".encode() + b"z", "é", b"z"), (b"\xffz", "", b"z"), (b"\x1b[1;5C", "", b""),
    ],
    ids=["letter", "up", "down", "page down", "a key without a meaning", "escape", "two bytes",
         "no character", "with a modifier"],
)  # fmt: skip
def test_keys_are_told_from_what_a_terminal_sends(typed: bytes, key: str, rest: bytes) -> None:
    assert decode(typed) == (key, rest)
