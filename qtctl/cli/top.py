"""`qtctl top`: the same as `status`, live, with symbols and permits."""

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtctl import clock
from qtctl.cli import human, permit, status, tables, target, values
from qtctl.cli.columns import Column, money, number, percent, text, ttl
from qtctl.cli.env import Env
from qtctl.cli.frame import command, new_app
from qtctl.errors import RedisUnreachable, WireError
from qtctl.text import escape

if TYPE_CHECKING:
    from qtctl.cli.screen import Screen
    from qtctl.wire.store import Store

app = new_app("top")

SINCE_SEC = 3600.0
MOST_PERMITS = 5
REST_TIMES = 10
"""The comparison of all symbols is made again after so many times what it took."""

Row = dict[str, Any]
SORTS: dict[str, Callable[[Row], Any]] = {
    "change": lambda row: (-abs(row["change_pct"] or 0.0), row["symbol"]),
    "symbol": lambda row: row["symbol"],
    "base": lambda row: (-(human.as_number(row["base_target"]) or 0.0), row["symbol"]),
    "score": lambda row: (human.as_number(row["eff_score"]) is None,
                          human.as_number(row["eff_score"]) or 0.0, row["symbol"]),
    "reason": lambda row: (row["reason"] == "ok", row["reason"], row["symbol"]),
}  # fmt: skip
PERMITS = (
    text("permit", "plan_id"),
    text("symbol", "symbol"),
    ttl("left", "ttl_s"),
    text("action", "eff_action", drop=1),
    number("factor", "eff_factor", places=4, drop=2),
)
SYMBOLS = (
    text("symbol", "symbol"),
    money("base USD", "base_target"),
    money("proposed USD", "proposed_target"),
    percent("change %", "change_pct"),
    text("reason", "reason", style=target.reason_style),
    number("score", "eff_score", places=4, drop=1),
)
HELP = (
    "s  sort by the next of: " + ", ".join(SORTS),
    "/  filter symbols and permits: type a part of a name, Enter; Esc takes it away",
    "p  pause: nothing is read until p again",
    "q  quit (as Ctrl-C)",
    "?  this help, and away again",
)


@dataclass
class View:
    """What is shown, and how."""

    found: Row | None = None
    permits: list[Row] = field(default_factory=list)
    symbols: list[Row] = field(default_factory=list)
    problem: str = ""
    away_since: float | None = None
    sort: str = "change"
    wanted: str = ""
    typing: bool = False
    paused: bool = False
    helping: bool = False
    symbols_due: float = 0.0


@command(app)
def top(
    env: Env,
    interval: Annotated[str, typer.Option("--interval", help="Between two looks.")] = "1s",
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="End after so many looks.")
    ] = None,
) -> None:
    """Services, permits as they come and symbols by how far the proposal is from the target, live.

    Keys: s sort, / filter, p pause, ? help, q quit. Where Redis goes away it says so and waits.
    On a pipe, on a dumb terminal or on one under 60×15 it prints a line for each look.

    Examples:
        qtctl top
        qtctl top --interval 5s
        qtctl top -n 1 | cat
    """
    from qtctl.cli import screen

    interval_sec = values.duration(interval, "--interval", 0.1, 3600)
    # Whether Redis is there is told at the start as by every other command.
    with env.store(notice=False) as store:
        view = View()
        _look(env, store, view, first=True)
        if screen.usable(env.environ):
            with screen.taken() as taken:
                _live(env, store, view, taken, interval_sec, count)
        else:
            _lines(env, store, view, interval_sec, count)


def _live(
    env: Env, store: "Store", view: View, screen: "Screen", interval_sec: float, count: int | None
) -> None:
    looks = 1
    while True:
        screen.draw(frame(env, view, *screen.size))
        due = clock.monotonic() + interval_sec
        while (left := due - clock.monotonic()) > 0:
            size = screen.size
            key = screen.key(min(left, 0.25))
            if key and not pressed(view, key):
                return
            if key or screen.size != size:
                screen.draw(frame(env, view, *screen.size))
        if count is not None and looks >= count:
            return
        looks += 1
        if not view.paused:
            _look(env, store, view)


def _lines(env: Env, store: "Store", view: View, interval_sec: float, count: int | None) -> None:
    known: set[str] = set()
    looks = 1
    while True:
        sys.stdout.write(f"{summary(env, view)}\n")
        for row in view.permits:
            if row["plan_id"] not in known:
                sys.stdout.write(f"  permit {_permit(row)}\n")
        known = {row["plan_id"] for row in view.permits}
        sys.stdout.flush()
        if count is not None and looks >= count:
            return
        looks += 1
        clock.sleep(interval_sec)
        _look(env, store, view)


def _look(env: Env, store: "Store", view: View, *, first: bool = False) -> None:
    """Read what is shown. While Redis is away what was seen last stays. Errors: the first time."""
    try:
        view.found = status.read(env, store, SINCE_SEC)
        view.permits = permit.rows(store)
        if clock.monotonic() >= view.symbols_due:
            begun = clock.monotonic()
            view.symbols = target.rows(store, ())
            ended = clock.monotonic()
            view.symbols_due = ended + REST_TIMES * (ended - begun)
        view.problem, view.away_since = "", None
    except (RedisUnreachable, WireError) as problem:
        if first:
            raise
        view.problem = str(problem)
        if view.away_since is None:
            view.away_since = clock.monotonic()


def pressed(view: View, key: str) -> bool:
    """What a key does; False for the one that quits."""
    if view.typing:
        _typed(view, key)
        return True
    if key in ("q", "Q", "\x04"):
        return False
    if key == "s":
        names = list(SORTS)
        view.sort = names[(names.index(view.sort) + 1) % len(names)]
    elif key == "/":
        view.typing, view.wanted = True, ""
    elif key == "escape":
        view.wanted, view.helping = "", False
    elif key == "p":
        view.paused = not view.paused
    elif key == "?":
        view.helping = not view.helping
    return True


def _typed(view: View, key: str) -> None:
    if key == "escape":
        view.typing, view.wanted = False, ""
    elif key in ("\r", "\n"):
        view.typing = False
    elif key in ("\x7f", "\x08"):
        view.wanted = view.wanted[:-1]
    elif key.isprintable():
        view.wanted += key


def frame(env: Env, view: View, width: int, height: int) -> list[str]:
    """The whole screen, line by line."""
    lines = [_bold(_cut(_title(env, view), width))]
    head = [_cut(line, width) for line in _head(view)]
    if view.away_since is not None:
        head[0] = _reverse(head[0])
    lines += head
    footer = _footer(view)
    room = height - len(lines) - 1
    if view.helping:
        lines += ["", *(_cut(line, width) for line in HELP)]
    else:
        permits = [row for row in view.permits if _fits(view, row["plan_id"], row["symbol"])]
        shown = permits[:MOST_PERMITS]
        more = f"and {len(permits) - len(shown)} more permits" if len(permits) > len(shown) else ""
        body = ["", *_table(env, shown, PERMITS, width), *([more] if more else [])]
        if not shown:
            body = ["", "no open permits" + (" that fit the filter" if view.wanted else "")]
        rows = sorted(
            (row for row in view.symbols if _fits(view, row["symbol"])), key=SORTS[view.sort]
        )
        left = room - len(body) - 3
        if rows and left > 0:
            body += ["", *_table(env, rows[:left], SYMBOLS, width)]
        elif not rows:
            body += ["", "no symbols" + (" that fit the filter" if view.wanted else "")]
        lines += body[:room]
    lines = lines[: height - 1]
    lines += [""] * (height - 1 - len(lines))
    return [*lines, _reverse(_cut(footer, width).ljust(width))]


def summary(env: Env, view: View) -> str:
    """One look in one line, for where there is no screen."""
    return f"{_title(env, view)} · {' · '.join(_head(view))}"


def _title(env: Env, view: View) -> str:
    at = clock.now() if view.found is None else view.found["at"]
    # Where it is may be long, and is cut first.
    parts = ["qtctl top", human.moment(at, env.utc), *(["PAUSED"] if view.paused else [])]
    return " · ".join([*parts, env.where()])


def _head(view: View) -> list[str]:
    lines = []
    if view.away_since is not None:
        away = human.span(clock.monotonic() - view.away_since)
        lines.append(f"for {away}: {escape(view.problem)}; below is what was seen last")
    return lines + (_found(view.found) if view.found is not None else [])


def _found(found: Row) -> list[str]:
    services = [
        f"{row['service']} {row['name']} {row['state']}".replace("  ", " ")
        + ("" if row["last_pass_age_s"] is None
           else f", last pass {human.span(row['last_pass_age_s'])} ago")
        for row in found["services"]
    ]  # fmt: skip
    plans, group = found["plans"], found["group"]
    blocks = ", ".join(f"{count} {reason}" for reason, count in list(plans["blocks"].items())[:4])
    lag = "?" if group is None else "unknown" if group["lag"] is None else group["lag"]
    pending = "?" if group is None else group["pending"]
    return [
        *map(escape, services),
        escape(f"kill switch {found['kill_switch']['told']}"),
        f"plans {status.per_minute(plans)} a minute · lag {lag} · pending {pending} · "
        f"permits {found['permits']['open']}",
        escape(f"1 h: {plans['permitted']} permitted, {plans['blocked']} blocked"
               f"{': ' + blocks if blocks else ''}"),
    ]  # fmt: skip


def _footer(view: View) -> str:
    if view.typing:
        return f"filter: {view.wanted}_   Enter keeps it, Esc takes it away"
    wanted = f" ({view.wanted})" if view.wanted else ""
    pause = "p go on" if view.paused else "p pause"
    return f"s sort: {view.sort}   / filter{wanted}   {pause}   ? help   q quit"


def _fits(view: View, *names: str) -> bool:
    return any(view.wanted.lower() in str(name).lower() for name in names)


def _permit(row: Row) -> str:
    told = (row["plan_id"], row.get("symbol", ""), human.ttl(row["ttl_s"]), row.get("eff_action"))
    return " ".join(escape(str(part)) for part in told if part)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _table(env: Env, rows: Sequence[Row], columns: Sequence[Column], width: int) -> list[str]:
    """The table as it would be printed; what has no room is left out without a word."""
    caught = _Terminal()
    with contextlib.redirect_stdout(caught), contextlib.redirect_stderr(io.StringIO()):
        tables.print_table(env, rows, columns)
    return caught.getvalue().splitlines()


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"


def _bold(line: str) -> str:
    return f"\x1b[1m{line}\x1b[0m"


def _reverse(line: str) -> str:
    return f"\x1b[7m{line}\x1b[0m"
