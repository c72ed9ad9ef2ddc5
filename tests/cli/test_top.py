"""`qtctl top` in a real terminal: drawn without flicker, worked in by keys, and given back as it
was. The list by itself is in test_top_selection, each page in test_top_pages."""

import contextlib
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from qtctl.cli.live.screen import decode
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.schema.keys import Keys
from tests.support.cli import NO_FILE, Cli, hosting
from tests.support.plans import fields
from tests.support.processes import QTCTL, until
from tests.support.terminal import ENTER, LEAVE, Session, first_answer, top
from tests.support.timing import least

ROOT = str(Path(__file__).parents[2])


def put(store: Store, *names: str) -> None:
    for place, name in enumerate(names):
        key = f"quantum:allocation:target:{name}"
        store.run("HSET", key, "target_usd", 1000 + place, "timestamp", store.now_ms() // 1000)


def commands(store: Store) -> int:
    """How many the server has carried out."""
    found = re.search(rb"total_commands_processed:(\d+)", store.run("INFO", "stats"))
    assert found
    return int(found[1])


def queue(store: Store, **changes: Any) -> None:
    flat = [part for pair in fields(**changes).items() for part in pair]
    store.run("XADD", store.keys.plans, "*", *flat)


@contextlib.contextmanager
def terminal(
    url: str, *args: str, size: tuple[int, int] = (24, 80), term: str = "xterm-256color"
) -> Iterator[Any]:
    """A shell on a terminal that tells its modes before and after."""
    command = " ".join((*QTCTL, "--redis-url", url, "top", *args))
    env = {**NO_FILE, "TERM": term, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": ROOT}
    child = pexpect.spawn(
        "/bin/sh",
        ["-c", f"trap : INT HUP; stty -g; echo READY; {command}; echo CODE $?; stty -g; echo END"],
        env=env, dimensions=size, encoding="utf-8", timeout=30,
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


# The terminal ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "code"),
    [("q", 0), ("\x03", 130), ("-TERM", 143), ("-HUP", 129), ("-QUIT", 131)],
    ids=["q", "ctrl-c", "term", "hup", "quit"],
)
def test_the_terminal_is_given_back_as_it_was(
    store: Store, redis_url: str, end: str, code: int
) -> None:
    put(store, "BTCUSDT")
    with terminal(redis_url) as child:
        before = modes(child.before)
        child.expect_exact(ENTER)
        child.expect_exact("q quit")
        if end.startswith("-"):
            subprocess.run(["pkill", end, "-P", str(child.pid)], check=True)
        else:
            child.send(end)
        child.expect_exact(LEAVE)
        child.expect(r"CODE (\d+)")
        assert int(child.match[1]) == code
        child.expect_exact("END")
        assert modes(child.before) == before


def test_an_error_of_ours_gives_the_terminal_back(store: Store, redis_url: str) -> None:
    """In the drawing, and in the thread that reads: neither may leave a dead screen."""
    for broken in ("qtctl.cli.live.view.View.frame", "qtctl.cli.live.poller.Poller.look"):
        module, _, name = broken.rpartition(".")
        module, _, owner = module.rpartition(".")
        code = (
            f"import sys, {module} as m; from qtctl.cli.main import run\n"
            f"def fail(*a): raise ZeroDivisionError('a fault of ours')\n"
            f"m.{owner}.{name} = fail\n"
            f"sys.exit(run(['--redis-url', '{redis_url}', 'top', '--interval', '0.1s'], "
            f"{{**__import__('os').environ}}))"
        )
        env = {**NO_FILE, "TERM": "xterm", "PATH": "/usr/bin:/bin", "PYTHONPATH": ROOT}
        child = pexpect.spawn(sys.executable, ["-c", code], env=env, dimensions=(24, 80),
                              encoding="utf-8", timeout=30)  # fmt: skip
        try:
            child.expect_exact(ENTER)
            child.expect_exact(LEAVE)
            child.expect_exact("a fault of ours")
            child.expect(pexpect.EOF)
        finally:
            child.close(force=True)
        assert child.exitstatus, broken


def test_nothing_is_cleared_before_it_is_drawn_again(store: Store, redis_url: str) -> None:
    put(store, "BTCUSDT")
    with terminal(redis_url, "--interval", "0.1s", "-n", "15") as child:
        child.expect_exact("END")
        drawn = child.before
    assert drawn.count("q quit") == 1, "only what changed is sent"
    assert drawn.count("\x1b[1;1H") > 1, "the time did"
    assert "\x1b[2J" not in drawn
    assert "\x1b[3J" not in drawn


def test_ctrl_z_gives_the_terminal_back_until_fg(store: Store, redis_url: str) -> None:
    put(store, "BTCUSDT")
    command = " ".join((*QTCTL, "--redis-url", redis_url, "top"))
    env = {**NO_FILE, "TERM": "xterm", "PATH": "/usr/bin:/bin", "PS1": "$ ", "LANG": "C.UTF-8",
           "PYTHONPATH": ROOT}  # fmt: skip
    child = pexpect.spawn("/bin/bash", ["--norc", "--noprofile", "-i"], env=env,
                          dimensions=(24, 80), encoding="utf-8", timeout=30)  # fmt: skip
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
    ("size", "term"), [((9, 80), "xterm"), ((24, 39), "xterm"), ((24, 80), "dumb")]
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


def test_without_colour_nothing_is_lost(store: Store, redis_url: str) -> None:
    put(store, "AAAUSDT", "BBBUSDT")
    with top(redis_url, NO_COLOR="1") as session:
        screen = session.press("2", "> AAAUSDT", "[2 symbols]", "no proposal")
        assert "7" in screen.styles("AAAUSDT"), "reverse video is no colour"
        assert not re.search(r"\x1b\[[0-9;]*\b(3[0-9]|4[0-9]|9[0-9])[;m]", session.output)


def test_a_terminal_without_unicode_gets_signs_of_the_same_width(
    store: Store, redis_url: str
) -> None:
    put(store, "BTCUSDT")
    with top(redis_url, PYTHONIOENCODING="ascii") as session:
        session.shows("last 30 min", "q quit")
        whole(session)
        session.press("2", "< why")
        session.press("sss", "sorted by proposed USD v")
        assert session.output.isascii()


# Sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (40, 10)], ids=str)
def test_every_page_fills_any_screen_and_follows_its_size(
    store: Store, redis_url: str, size: tuple[int, int]
) -> None:
    put(store, *(f"S{place:03}USDT" for place in range(100)))
    with top(redis_url, size=size) as session:
        for key, sign in (("1", "redis"), ("2", "> S"), ("3", "no open permits"),
                          ("4", "nothing was blocked"), ("5", "group"), ("6", "no events"),
                          ("?", "health, symbols")):  # fmt: skip
            session.press(key, sign, "q quit")
            whole(session)
        session.press("?2", "> S000USDT")
        for columns, lines in ((40, 10), (160, 48), (30, 6), (80, 24), size):
            session.resize(columns, lines)
            session.until(lambda screen: "q quit" in screen.line(screen.lines - 1))
            assert "> S000USDT" in session.screen.text or lines < 8
            whole(session)
        assert session.quit() == 0


def whole(session: Session) -> None:
    """Every line is exactly as wide as the screen: nothing wraps, nothing is left over."""
    screen = session.screen
    widths = {len(screen.line(at)) for at in range(screen.lines)}
    assert widths == {screen.columns}, screen.text


# Work --------------------------------------------------------------------------------------------


def test_pages_by_number_sort_filter_pause_and_help(store: Store, redis_url: str) -> None:
    put(store, "AAAUSDT", "BBBUSDT", "CCCUSDT")
    with top(redis_url, "--interval", "0.2s") as session:
        session.shows("[1 health]", "last 30 min")
        screen = session.press("2", "[2 symbols]", "> AAAUSDT")
        session.press("ss", "target USD ↓", "sorted by target USD")
        session.until(lambda screen: screen.line(5).startswith("> CCCUSDT"))
        session.press("r", "target USD ↑")
        session.press("SS", "1 of 3")
        session.until(lambda screen: "sorted" not in screen.text)
        screen = session.press("/bbb\r", "filter: bbb", "> BBBUSDT")
        session.until(lambda screen: "AAAUSDT" not in screen.text)
        session.press("\x1b", "AAAUSDT", "CCCUSDT")
        session.press("p", "PAUSED")
        session.pump(0.4)  # What was on its way.
        before = commands(store)
        session.pump(0.6)
        assert commands(store) - before <= 1, "nothing is read while it is paused"
        put(store, "DDDUSDT")
        screen = session.press("p", "DDDUSDT")
        assert "PAUSED" not in screen.text
        session.press("\t", "[3 permits]")
        session.press("\x1b[Z", "[2 symbols]")
        session.press("?", "› help", "pause: nothing is read")
        session.press("?", "[2 symbols]")
        assert session.quit() == 0


def test_enter_goes_down_to_the_gates_and_esc_comes_back(store: Store, redis_url: str) -> None:
    put(store, "BTCUSDT", "ETHUSDT")
    with hosting(redis_url):
        for plan_id in ("first", "second"):
            queue(store, plan_id=plan_id, symbol="ETHUSDT")
        until(lambda: store.run("HEXISTS", "quantum:governor:decision:second", "verdict"))
        with top(redis_url, "--interval", "0.2s") as session:
            session.press("2", "> BTCUSDT")
            session.press("j", "> ETHUSDT")
            session.press("\r", "symbols › why ETHUSDT", "symbol_cooldown", "second", "first")
            session.press("\r", "› plan second", "cooldown     FAIL", "Limits: in force")
            session.press("\x1b[F", "entry         1", "governor      test")
            session.press("\x1b", "symbols › why ETHUSDT")
            session.press("\x1b", "[2 symbols]", "> ETHUSDT")
            session.press("3", "> first")
            session.press("\r", "permits › plan first", "permitted ok · open of ETHUSDT")
            session.press("4", "[4 blocked]", "open   ETHUSDT   symbol_cooldown")
            session.press("\r", "blocked › plan second")
            session.press("6", "[6 events]", "permitted  first")
            assert session.quit() == 0


def test_plans_that_nobody_judges_stand_in_the_queue(store: Store, redis_url: str) -> None:
    queue(store, plan_id="lonely", symbol="BTCUSDT")
    with top(redis_url, "--interval", "0.2s") as session:
        session.press("5", "NOT THERE: no governor has run", "waiting  BTCUSDT   lonely")
        session.press("\r", "queue › plan lonely", "no governor has read it yet")
        # Also where 10,000 and more stand behind it: its entry is known.
        store.batch([("XADD", store.keys.plans, "*", "plan_id", "p")] * 10_001)
        session.press("\x1b", "500 that wait")
        session.press("\r", "queue › plan lonely", "no governor has read it yet")
        assert session.quit() == 0


def test_the_selected_row_follows_when_the_sort_moves(store: Store, redis_url: str) -> None:
    put(store, *(f"S{place}USDT" for place in range(9)))
    with top(redis_url, "--interval", "0.2s") as session:
        session.press("2", "> S0USDT")
        session.press("ssjjj", "> S5USDT", "target USD ↓")
        store.run("HSET", "quantum:allocation:target:S5USDT", "target_usd", "999999")
        session.until(lambda screen: "999,999.00" in screen.selected)
        assert session.screen.line(5) == session.screen.selected, "it is the largest now"
        store.run("HSET", "quantum:allocation:target:S5USDT", "target_usd", "1")
        session.until(lambda screen: screen.selected.split()[:3] == [">", "S5USDT", "1.00"])
        assert session.quit() == 0


def test_h_halts_once_the_symbol_is_typed(store: Store, redis_url: str) -> None:
    put(store, "BTCUSDT", "ETHUSDT")
    port = "governor.metrics_port=0"
    with hosting(redis_url, "governor", port), top(redis_url, "--interval", "0.2s") as session:
        queue(store, plan_id="p1", symbol="ETHUSDT")
        until(lambda: store.run("EXISTS", "quantum:permit:p1"))
        halted = ("HGETALL", "quantum:governor:halt:symbols")
        session.press("2", "> BTCUSDT")
        session.press("j", "> ETHUSDT")
        session.press("h", "HALT opens of ETHUSDT on", "> _")
        session.press("\x1b", "[2 symbols]", "q quit")
        for wrong in ("", "y", "ethusdt", "BTCUSDT"):
            session.press("h", "HALT opens of ETHUSDT on")
            session.press(f"{wrong}\r", "Nothing is halted", "h asks again")
        session.press("\x1b", "[2 symbols]")
        assert not store.run(*halted)
        session.press("h", "HALT opens of ETHUSDT on")
        session.press("ETHUSDT\r", "HALTED opens of ETHUSDT", "withdrawn", "1 governor alive")
        assert [*store.run(*halted)][::2] == [b"ETHUSDT"]
        assert not store.run("EXISTS", "quantum:permit:p1")
        record = store.run("HGETALL", "quantum:governor:halt:records")[1]
        assert b"operator:" in record
        assert b"from qtctl top" in record
        session.press("\x1b", "[2 symbols]", "HALTED opens of ETHUSDT")
        assert session.quit() == 0


def test_a_halt_that_nobody_enforces_says_so_and_an_unknown_symbol_is_refused(
    store: Store, redis_url: str
) -> None:
    put(store, "BTCUSDT")
    with top(redis_url, "--interval", "0.2s") as session:
        session.press("2", "> BTCUSDT")
        session.press("h", "HALT opens of BTCUSDT")
        screen = session.press("BTCUSDT\r", "no governor is running", "Opens may go on")
        assert "31" in screen.styles("Opens may go on")
        # Gone before the name was typed: the same refusal as on the command line.
        session.press("\x1bp2", "PAUSED", "> BTCUSDT")
        session.send("h")
        session.shows("HALT opens of BTCUSDT")
        store.run("FLUSHALL")
        session.press("BTCUSDT\r", "error: nothing here knows BTCUSDT")
        assert session.quit() == 0


def test_a_confirmed_halt_is_carried_out_also_where_somebody_quits(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    """In a protected context, which `halt` does not ask for, and which is named."""
    config = tmp_path / "qtctl.toml"
    config.write_text(f'[contexts.prod]\nurl = "{redis_url}"\nprotected = true\n')
    put(store, "BTCUSDT")
    with top(None, "--interval", "0.2s", QTCTL_CONFIG=str(config), QTCTL_CONTEXT="prod") as session:
        session.press("2", "> BTCUSDT", "Z  prod: unix://")
        session.press("h", "HALT opens of BTCUSDT on prod: unix://")
        session.send("BTCUSDT\rq")
        session.child.expect(pexpect.EOF)
        session.output += session.child.before
    assert [*store.run("HGETALL", "quantum:governor:halt:symbols")][::2] == [b"BTCUSDT"]
    assert "HALTED opens of BTCUSDT" in session.output.rpartition(LEAVE)[2]


def test_c_shows_a_command_that_does_the_same(
    store: Store, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(store, "BTCUSDT")
    with top(redis_url, size=(160, 48)) as session:
        session.press("2", "> BTCUSDT")
        screen = session.press("c", "this list:", "the selected symbol:", "halt the selected")
        lines = [line.strip() for line in screen.text.splitlines()]
        commands = [line for line in lines if line.startswith("qtctl --redis-url")]
        assert session.quit() == 0
    assert [line.split()[3:] for line in commands] == [
        ["target", "list"], ["why", "BTCUSDT"], ["halt", "BTCUSDT"],
    ]  # fmt: skip
    said = Cli(redis_url, capsys).ok(*commands[1].split()[3:])
    assert "BTCUSDT" in said.out


def test_redis_is_killed_and_comes_back(tmp_path: Path) -> None:
    server = Embedded.start(tmp_path / "s", appendonly=True)
    try:
        store = Store(server.url, Keys())
        put(store, "BTCUSDT", "ETHUSDT")
        store.close()
        with top(server.url, "--interval", "0.2s") as session:
            session.press("2", "> BTCUSDT")
            server.kill()
            session.shows("NO ANSWER for", "BTCUSDT", "ETHUSDT")
            screen = session.shows("read ", " ago")
            assert "2" in screen.styles("ETHUSDT"), "what is old is dimmed"
            session.press("j", "> ETHUSDT")  # It may still be looked through.
            session.press("h", "HALT opens of ETHUSDT")
            session.press("ETHUSDT\r", "error: ", "systemctl stop quantum-governor")
            session.press("\x1b", "> ETHUSDT")
            server = Embedded.start(tmp_path / "s", appendonly=True)
            session.until(lambda screen: "NO ANSWER for" not in screen.text)
            session.until(lambda screen: "2" not in screen.styles("BTCUSDT"))
            assert session.quit() == 0
    finally:
        server.stop()


def test_a_key_is_answered_at_once_with_10_000_symbols(store: Store, redis_url: str) -> None:
    now = store.now_ms() // 1000
    fields = ("target_usd", 1000, "timestamp", now)
    names = (f"quantum:allocation:target:S{place:05}USDT" for place in range(10_000))
    store.batch([("HSET", name, *fields) for name in names])
    with top(redis_url, size=(160, 48)) as session:
        session.press("2", "of 10,000")
        keys = ("j", "\x1b[6~", "s", "r", "x", "G", "S") * 4
        # The median, since this may run beside seven others.
        took = least(lambda: statistics.median(first_answer(session, key) for key in keys), 0.05)
        assert took < 0.05
        assert session.quit() == 0


# Lines -------------------------------------------------------------------------------------------


def test_on_a_pipe_it_prints_lines_and_permits_as_they_come(
    store: Store, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with hosting(redis_url):
        queue(store, plan_id="p1")
        until(lambda: store.run("EXISTS", "quantum:permit:p1"))
        said = Cli(redis_url, capsys).ok("top", "-n", "3", "--interval", "0.1s")
    assert said.out.count("kill switch normal") == 3
    assert said.out.count("permit p1 ") == 1, "told once"
    assert "\x1b" not in said.out


def test_without_redis_it_is_exit_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert Cli("redis://127.0.0.1:1", capsys)("top").code == 3


@pytest.mark.parametrize(
    ("typed", "key", "rest"),
    [
        (b"qx", "q", b"x"), (b"\x1b[A", "up", b""), (b"\x1bOB!", "down", b"!"),
        (b"\x1b[6~", "page down", b""), (b"\x1b[15~q", "", b"q"), (b"\x1b", "escape", b""),
        ("é".encode() + b"z", "é", b"z"), (b"\xffz", "", b"z"), (b"\x1b[1;5C", "", b""),
        (b"\x1b[Z", "back tab", b""), (b"\x1b[C", "right", b""),
    ],
    ids=["letter", "up", "down", "page down", "a key without a meaning", "escape", "two bytes",
         "no character", "with a modifier", "shift-tab", "right"],
)  # fmt: skip
def test_keys_are_told_from_what_a_terminal_sends(typed: bytes, key: str, rest: bytes) -> None:
    assert decode(typed) == (key, rest)
