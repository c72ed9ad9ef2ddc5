"""What `history list`, `show`, `verify`, `prune` and `export` print, and which folder they read."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from qtctl import clock
from qtctl.cli.framework import arguments
from qtctl.cli.framework.context import Context
from qtctl.cli.output import Listed, format
from qtctl.cli.output.columns import Column, moment, number, text, texts
from qtctl.errors import NotFoundError, UsageError
from qtctl.history import chain
from qtctl.history.folder import CHAIN
from qtctl.history.ids import day_start_ms
from qtctl.history.overview import Day
from qtctl.history.reader import History
from qtctl.history.rows import Gap
from qtctl.settings.places import history_to_read

SYNTHETIC = "All of it is synthetic: qtctl simulate made it."


def size(value: Any) -> str:
    """Bytes as `912 B`, `1.4 MB`."""
    bytes_ = format.as_number(value)
    if bytes_ is None:
        return format.text(value)
    for limit, unit in ((1e3, "B"), (1e6, "kB"), (1e9, "MB")):
        if bytes_ < limit:
            scaled = bytes_ / (limit / 1e3)
            return f"{scaled:.0f} {unit}" if unit == "B" else f"{scaled:.1f} {unit}"
    return f"{bytes_ / 1e9:,.1f} GB"


def _at(name: str) -> Any:
    def seconds(row: Any) -> float | None:
        found = getattr(row, name)
        return None if found is None else found / 1000

    return seconds


def _bytes(title: str, **more: Any) -> Column:
    return Column(title, "bytes", lambda value, utc: size(value), right=True, **more)


LISTED = Listed((
    text("day", "day"),
    text("state", "state", style=lambda state: "red" if state in ("missing", "damaged") else ""),
    moment("from", _at("first_ms"), named="first_ms", drop=2),
    moment("to", _at("last_ms"), named="last_ms", drop=2),
    number("passes", "passes"),
    number("decisions", "decisions"),
    number("events", "events", drop=3),
    number("rejected", "rejected", drop=4),
    number("gaps", "gaps"),
    _bytes("size"),
    text("problem", "problem", fold=True, drop=1),
))  # fmt: skip
DAY = (*LISTED.columns[:-1], text("sha256", "sha256"), text("problem", "problem", fold=True))
GAPS = (
    text("kind", "kind"),
    moment("from", _at("from_ms"), named="from_ms"),
    moment("to", _at("to_ms"), named="to_ms"),
    number("missing", lambda gap: "unknown" if gap.count is None else gap.count, named="count"),
    text("detail", "detail", fold=True),
)
SERVICES = (
    moment("time", _at("at_ms"), named="at_ms"),
    *texts("what", "service", "name", "version"),
    text("host", "host", drop=2),
    text("pid", "pid", right=True, drop=3),
    text("settings", "settings", drop=1),
)
SERVERS = (
    moment("time", _at("at_ms"), named="at_ms"),
    *texts("what", "role", "version"),
    text("run id", "run_id", drop=2),
    text("detail", "detail", fold=True, drop=1),
)
HALTS = (
    moment("time", _at("at_ms"), named="at_ms"),
    text("what", "what"),
    text("scope", "scope"),
    text("key", "key", drop=1),
    text("value", "value", drop=2),
    text("by", "actor"),
    text("why", "why", fold=True),
)
FINDINGS = (
    text("what", "what"),
    text("status", "status", style=lambda status: "red" if status == "differs" else ""),
    text("detail", "detail", fold=True),
)
PRUNED = (text("day", "day"), _bytes("size"), text("why", "why"))
FILES = (text("file", "file"), number("rows", "rows"), _bytes("size"))


def folder(ctx: Context, given: str | None) -> Path:
    """The folder of the history: `--dir`, else by the settings."""
    return Path(given) if given else history_to_read(ctx.settings.history, ctx.environ)


def opened(ctx: Context, given: str | None) -> History:
    """The history. Errors: NotFoundError, ConfigError."""
    return History(folder(ctx, given))


def window(ctx: Context, since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """Epoch ms of --since and --until, by this host's clock: there may be no Redis here."""
    now = clock.now()
    low = None if since is None else arguments.when(since, "--since", utc=ctx.utc).on(now)
    high = None if until is None else arguments.when(until, "--until", utc=ctx.utc).end(now, low)
    if low is not None and high is not None and low >= high:
        raise UsageError("--since is later than --until: nothing can lie between")
    return None if low is None else int(low * 1000), None if high is None else int(high * 1000)


def explain_start(ctx: Context, history: History, since_ms: int | None) -> None:
    """One line on stderr where a window begins before the first record, or after the last."""
    span = None if since_ms is None else history.span()
    if since_ms is None or span is None:
        return
    asked = f"(asked for: {format.moment(since_ms / 1000, ctx.utc)})"
    if span[0] > since_ms + 60_000:
        first = format.moment(span[0] / 1000, ctx.utc)
        ctx.say(f"The history begins at {first}: nothing was recorded before {asked}.")
    elif span[1] < since_ms:
        last = format.moment(span[1] / 1000, ctx.utc)
        ctx.say(f"The history ends at {last}: nothing was recorded since {asked}.")


def day(text: str) -> str:
    """A day as it was typed. Errors: UsageError."""
    try:
        day_start_ms(text)
    except ValueError:
        raise UsageError(f"DAY {text!r} is not a day as 2026-01-31") from None
    return text


def one_day(days: Sequence[Day], wanted: str) -> Day:
    """The day that is asked for. Errors: NotFoundError."""
    for found in days:
        if found.day == wanted:
            return found
    raise NotFoundError(f"nothing was recorded on {wanted}: see 'qtctl history'")


def describe(ctx: Context, history: History, days: Sequence[Day], head: str) -> Iterator[str]:
    """What a person should know beside the list of days."""
    times = [each for day in days for each in (day.first_ms, day.last_ms) if each is not None]
    if times:
        total = sum(day.bytes for day in days)
        first, last = (format.moment(at / 1000, ctx.utc) for at in (min(times), max(times)))
        yield f"{first} to {last}, {size(total)} in {history.folder}"
    if history.synthetic():
        yield SYNTHETIC
    if gaps := gaps_in_words(history.gaps()):
        yield f"{gaps}: 'qtctl history show DAY', or query \"SELECT * FROM gaps\""
    if head.strip("0"):
        yield f"Head of the chain: {head}"
    for place, _, problem in chain.examined(history.folder):
        if problem:
            yield f"Line {place} of {CHAIN} {problem}. See 'qtctl history verify'."


def gaps_in_words(gaps: Sequence[Gap]) -> str:
    """`3 gaps, the longest 12 min (loop_restarted)`; "" for none."""
    if not gaps:
        return ""
    longest = max(gaps, key=lambda gap: gap.to_ms - gap.from_ms)
    span = format.span((longest.to_ms - longest.from_ms) / 1000)
    return f"{format.count(len(gaps), 'gap')}, the longest {span} ({longest.kind})"


def say_synthetic(ctx: Context, history: History) -> None:
    """One line on stderr where the history was made up."""
    if history.synthetic():
        ctx.say(SYNTHETIC)


def unique(names: Sequence[str]) -> list[str]:
    """Names of columns, each once: a second `count` becomes `count_2`."""
    found: list[str] = []
    for name in names:
        other, number_ = name, 2
        while other in found:
            other, number_ = f"{name}_{number_}", number_ + 1
        found.append(other)
    return found


def plain(value: Any) -> Any:
    """A value of SQLite for JSON: bytes as hexadecimal."""
    return value.hex() if isinstance(value, bytes) else value


def usual(days: Sequence[Day]) -> Sequence[Column]:
    """The columns of the list, the last one only where there is a problem."""
    return LISTED.columns if any(day.problem for day in days) else LISTED.columns[:-1]
