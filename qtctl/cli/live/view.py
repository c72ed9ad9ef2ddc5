"""What `qtctl top` shows, and what its keys do. Nothing here reads Redis or the terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rich.text import Text

from qtctl.cli.live import drawing
from qtctl.cli.live.poller import Row, TopSnapshot
from qtctl.cli.output import format
from qtctl.cli.output.columns import Column, age, money, number, percent, size_hint, text, ttl
from qtctl.cli.output.styles import lifetime_style, reason_style
from qtctl.cli.views import health_page as page
from qtctl.cli.views.health_record import Overall, Service
from qtctl.text import escape

SORTS: dict[str, Callable[[Row], Any]] = {
    "change": lambda row: (-abs(row["change_pct"] or 0.0), row["symbol"]),
    "symbol": lambda row: row["symbol"],
    "target": lambda row: (-(format.as_number(row["base_target"]) or 0.0), row["symbol"]),
    "score": lambda row: (format.as_number(row["eff_score"]) is None,
                          format.as_number(row["eff_score"]) or 0.0, row["symbol"]),
    "reason": lambda row: (row["reason"] == "ok", row["reason"], row["symbol"]),
}  # fmt: skip
PERMITS = (
    text("permit", "plan_id"),
    text("symbol", "symbol", width=8),
    ttl("expires in", "ttl_s", width=5, style=lifetime_style),
    size_hint("eff_action", drop=1, width=9),
    number("factor", "eff_factor", places=4, drop=2),
    money("notional USD", "computed_notional", drop=3),
)
# At least so wide, that a number that grows does not move the others.
SYMBOLS = (
    text("symbol", "symbol", width=12),
    money("target USD", "base_target", width=12),
    money("proposed USD", "proposed_target", width=12),
    percent("change %", "change_pct"),
    text("reason", "reason", width=11, style=reason_style),
    number("score", "eff_score", places=4, drop=1, width=6),
    age("target age", "target_age_s", drop=2),
)
HELP = (
    "permits come on top, the newest first; symbols below (or beside) them, target beside proposal",
    f"s       sort symbols by the next of: {', '.join(SORTS)}",
    "/       filter permits and symbols by a part of their names; Enter keeps it, Esc clears it",
    "↑ ↓     scroll the symbols; also PgUp, PgDn, Home, End",
    "p       pause: nothing is read until you press p again",
    "^L      redraw everything",
    "?       show or hide this help",
    "q       quit, as Ctrl-C does",
)
WIDE = 140
"""From here on permits stand beside the symbols."""
MOST_SERVICES = 4
MOVES = {"up": -1, "down": 1, "page up": -10, "page down": 10}


@dataclass
class View:
    """How it is shown: what the keys change. offset: symbols scrolled away."""

    sort: str = "change"
    wanted: str = ""
    typing: bool = False
    paused: bool = False
    helping: bool = False
    offset: int = 0
    _of: list[Row] = field(default_factory=list, init=False, repr=False)
    _by: tuple[str, str] = field(default=("", ""), init=False, repr=False)
    _rows: list[Row] = field(default_factory=list, init=False, repr=False)

    def listed(self, symbols: list[Row]) -> list[Row]:
        """The symbols that the filter lets through, in their order; sorted once for each look."""
        by = (self.sort, self.wanted)
        if self._of is not symbols or self._by != by:
            fitting = (row for row in symbols if self.fits(row["symbol"]))
            self._of, self._by, self._rows = symbols, by, sorted(fitting, key=SORTS[self.sort])
        return self._rows

    def pressed(self, key: str) -> bool:
        """What a key does; False for the one that quits."""
        if self.typing:
            self._typed(key)
        elif key in ("q", "Q", "\x04"):
            return False
        elif key == "s":
            names = list(SORTS)
            self.sort, self.offset = names[(names.index(self.sort) + 1) % len(names)], 0
        elif key == "/":
            self.typing, self.helping = True, False
        elif key == "escape":
            self.wanted, self.helping, self.offset = "", False, 0
        elif key == "p":
            self.paused = not self.paused
        elif key == "?":
            self.helping = not self.helping
        elif key in MOVES:
            self.offset = max(0, self.offset + MOVES[key])
        elif key in ("home", "end"):
            self.offset = 0 if key == "home" else 1_000_000_000
        return True

    def _typed(self, key: str) -> None:
        if key == "escape":
            self.typing, self.wanted = False, ""
        elif key in ("\r", "\n"):
            self.typing = False
        elif key in ("\x7f", "\x08"):
            self.wanted = self.wanted[:-1]
        elif key == "\x15":
            self.wanted = ""
        elif len(key) == 1 and key.isprintable():
            self.wanted += key
        self.offset = 0

    def fits(self, *names: Any) -> bool:
        """True if the filter lets one of these names through."""
        return any(self.wanted.lower() in str(name).lower() for name in names)


def frame(
    view: View, seen: TopSnapshot, now: float, width: int, height: int, utc: bool
) -> list[Text]:
    """The whole screen, `height` lines; now: monotonic, as in `seen`."""
    lines = [_title(view, seen, now, utc), *_head(seen.overall, height)]
    room = max(0, height - len(lines) - 1)
    if view.helping:
        body = [Text(), *(Text(each) for each in HELP)]
    else:
        permits = _permits(view, seen, now)
        if width >= WIDE:
            left, rows = width * 11 // 20, max(1, room - 2)
            symbols = _symbol_table(view, seen, rows, left, utc)
            beside = _permit_table(permits, rows, width - left - drawing.MARGIN, utc)
            body = [Text(), *drawing.beside(symbols, left, beside)]
        else:
            # Two blank lines and two headers; symbols get what permits leave.
            rows = max(0, room - 4)
            most = max(1, round(rows * 0.4))
            left = rows - min(most, max(1, len(permits)))
            symbols = _symbol_table(view, seen, max(left, 1), width, utc)
            body = [Text(), *_permit_table(permits, most, width, utc), Text(), *symbols]
    lines = [*lines, *body[:room]][: max(0, height - 1)]
    lines += [Text() for _ in range(height - 1 - len(lines))]
    return [drawing.fitted(each, width) for each in (*lines, Text(_footer(view), "reverse"))]


def _permits(view: View, seen: TopSnapshot, now: float) -> list[Row]:
    """Those that are still open by now: they expire whether Redis can be asked or not."""
    # While it is paused the picture stands still.
    since = 0.0 if view.paused else max(0.0, now - seen.at)
    rows = [
        row if row["ttl_s"] == -1 else row | {"ttl_s": row["ttl_s"] - since}
        for row in seen.permits
        if view.fits(row["plan_id"], row.get("symbol", ""))
    ]
    return [row for row in rows if row["ttl_s"] == -1 or row["ttl_s"] > 0]


def _permit_table(rows: list[Row], most: int, width: int, utc: bool) -> list[Text]:
    if not rows:
        return [Text("no open permits", "bold")]
    return drawing.table(rows[:most], _titled(PERMITS, _counted(rows, most, "permit")), width, utc)


def _symbol_table(view: View, seen: TopSnapshot, most: int, width: int, utc: bool) -> list[Text]:
    rows = view.listed(seen.symbols)
    if not rows:
        return [Text("no symbols that fit the filter" if seen.symbols else "no targets", "bold")]
    view.offset = min(view.offset, max(0, len(rows) - most))
    shown = rows[view.offset : view.offset + most]
    title = _counted(rows, most, "symbol")
    if view.offset:
        title = f"{view.offset + 1:,}–{view.offset + len(shown):,} of {len(rows):,}"
    return drawing.table(shown, _titled(SYMBOLS, title), width, utc)


def _counted(rows: Sequence[Row], most: int, what: str) -> str:
    shown = f"{most:,} of " if len(rows) > most else ""
    return shown + format.count(len(rows), what)


def _titled(columns: Sequence[Column], title: str) -> tuple[Column, ...]:
    return (replace(columns[0], title=title), *columns[1:])


def summary(seen: TopSnapshot, now: float, utc: bool) -> str:
    """One look in one line, for where there is no screen."""
    found = seen.overall
    widest = min(seen.symbols, key=SORTS["change"], default=None)
    alarm = page.headline(found.banner)
    parts = [
        *([f"INCIDENT {alarm}"] if alarm else []),
        format.moment(found.at, utc) if seen.away_since is None else _away(seen, now, utc),
        *(f"{it.service} {it.name} {page.state(it)}".replace("  ", " ") for it in found.services),
        f"kill switch {page.kill_switch(found)}",
        f"plans {page.plans(found)}",
        f"group {page.group(found)}",
        f"permits {page.permits(found)}",
    ]
    if widest is not None:
        parts.append(f"widest change {widest['symbol']} {format.percent(widest['change_pct'])} %")
    return escape(" · ".join(parts))


def permit_line(row: Row) -> str:
    """A permit in one line."""
    parts = (row["plan_id"], row.get("symbol"), f"expires in {format.ttl(row['ttl_s'])}",
            format.size_hint(row.get("eff_action")), row.get("eff_factor"))  # fmt: skip
    return " ".join(escape(str(part)) for part in parts if part)


def _title(view: View, seen: TopSnapshot, now: float, utc: bool) -> Text:
    """Where and when; while Redis does not answer that stands in its place, so nothing moves."""
    if seen.away_since is not None:
        return Text(escape(_away(seen, now, utc)), "reverse")
    at = format.moment(seen.overall.at, utc)
    paused = Text.assemble(("PAUSED", "reverse"), "  ") if view.paused else Text()
    # Where it is may be long, and is cut first.
    return Text.assemble(
        (f"qtctl top  {at}  ", "bold"), paused, (escape(seen.overall.where), "bold")
    )


def _away(seen: TopSnapshot, now: float, utc: bool) -> str:
    away = format.span(max(0.0, now - (seen.away_since or now)))
    at = format.moment(seen.overall.at, utc).partition(" ")[2]
    return f"NO ANSWER for {away}, as of {at}: {seen.problem}"


def _head(found: Overall, height: int) -> list[Text]:
    alarm = page.headline(found.banner)
    lines = [_labelled("INCIDENT", alarm, "bold red")] if alarm else []
    lines += [_service(it) for it in _worst_first(found.services)[:MOST_SERVICES]]
    if len(found.services) > MOST_SERVICES:
        left = _worst_first(found.services)[MOST_SERVICES:]
        well = sum(it.well for it in left)
        lines.append(_labelled("", f"and {len(left)} more, {well} of them well"))
    evicts, role = found.redis.may_evict, found.redis.role
    odd = evicts or role not in ("master", None)
    if height >= 30 or odd or found.redis.primary is not None:
        # The URL stands in the first line.
        lines.append(_labelled("redis", page.server(found.redis), "bold red" if odd else ""))
    bad_group = found.group is None or found.group.stuck > 0
    bad_permits = "permits" in found.problems or found.permits.without_ttl > 0
    blocks = ", ".join(f"{count:,} {reason}" for reason, count in found.plans.blocks.items())
    return [
        *lines,
        _labelled("kill switch", page.kill_switch(found),
              "" if found.kill_switch.mode == "normal" else "bold red"),
        _labelled("plans", page.plans(found)),
        _labelled("group", page.group(found), "bold red" if bad_group else ""),
        *([_labelled("permits", page.permits(found), "bold red")] if bad_permits else []),
        *([_labelled("blocked", blocks)] if blocks else []),
    ]  # fmt: skip


def _worst_first(services: Sequence[Service]) -> list[Service]:
    return sorted(services, key=lambda it: it.well)


def _service(it: Service) -> Text:
    passed = (
        "" if it.last_pass_age_s is None else f"last pass {format.span(it.last_pass_age_s)} ago"
    )
    state = page.state(it)
    return Text.assemble(
        (f"{it.service:<13}", "bold"),
        f"{escape(it.name)}  " if it.name else "",
        (escape(state), "" if it.well else "bold red"),
        f", {passed}" if passed and it.state != "late" else "",
    )


def _labelled(title: str, value: str, style: str = "") -> Text:
    return Text.assemble((f"{title:<13}", "bold"), (escape(value), style))


def _footer(view: View) -> str:
    if view.typing:
        return f"filter: {view.wanted}_   Enter keeps it, Esc clears it"
    wanted = f": {view.wanted}" if view.wanted else ""
    pause = "p resume" if view.paused else "p pause"
    return f"s sort: {view.sort}   / filter{wanted}   ↑↓ scroll   {pause}   ? help   q quit"
