"""What `replay` asks of the history, and its page."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.cli.output import Fields, Rows, emit_one, format
from qtctl.cli.output.columns import Column, moment, money, number, plan_id, text, word
from qtctl.cli.output.tables import on_terminal
from qtctl.cli.views import evidence_window
from qtctl.cli.views.history import opened
from qtctl.cli.views.replay_record import NOT_MODELLED, Found, as_record
from qtctl.errors import QtctlError
from qtctl.evidence import replay, sweep
from qtctl.evidence.parity import Parity
from qtctl.evidence.replay import Curve
from qtctl.evidence.rules import SECTIONS
from qtctl.settings.catalog import by_path, plain

BAR = 24


def run(
    ctx: Context, folder: str | None, since: str, until: str | None, sweeps: Sequence[str]
) -> Found:
    """Errors: UsageError, ConfigError, NotFoundError; QtctlError where nothing can be judged."""
    changes, curves = _changes(ctx), [sweep.parse(each) for each in sweeps]
    history = opened(ctx, folder)
    window = evidence_window.asked(ctx, history, since, until)
    found = replay.run(history, window, changes, curves, partial(progress, ctx))
    parity = found.parity
    if not parity.decisions + parity.proposals:
        why = "; ".join(parity.unproven) or "no proposals and no decisions"
        raise QtctlError(f"nothing in that window can be judged again: {why}")
    return Found(window, found)


def progress(ctx: Context, doing: str) -> None:
    """What is being worked on, for a person who waits: days of history take a while."""
    if sys.stderr.isatty():
        ctx.say(f"Working on {doing} …")


def _changes(ctx: Context) -> dict[str, Any]:
    """The settings of --set that a replay is about. Errors: ConfigError, UsageError."""
    settings = ctx.settings
    given = (each.partition("=")[0].strip() for each in ctx.sets)
    paths = [path for path in given if path.partition(".")[0] in SECTIONS]
    return sweep.changes({path: by_path()[path].of(settings) for path in paths})


def show(ctx: Context, found: Found) -> None:
    """The whole of it."""
    result = found.result
    record = as_record(found)
    parts: list[Fields | Rows] = [Fields(_head(found))]
    if not result.parity.holds:
        parts.append(Rows(result.parity.listed, DIFFERENCES, "What does not come out again"))
    if result.alone is not None:
        parts += [
            Rows(record["governor"]["figures"], FIGURES, "Opens, closes and hints"),
            Rows(record["governor"]["verdicts"], VERDICTS, "Recorded × replayed"),
            Rows(result.largest, CHANGES, "Decisions that change most"),
        ]
    if result.proposed is not None:
        parts += [
            Rows(record["allocation"]["figures"], PROPOSED, "Proposals"),
            Rows(record["allocation"]["reasons"], REASONS, "Recorded × replayed reasons"),
        ]
    parts += [_curve(ctx, curve) for curve in result.curves]
    emit_one(ctx, record, *parts)
    if ctx.output == "table":
        for line in _remarks(found):
            ctx.say(line)


def _head(found: Found) -> tuple[Column, ...]:
    changes = found.result.changes
    return (
        moment("from", lambda record: record["window"]["since_ms"] / 1000),
        moment("to", lambda record: record["window"]["until_ms"] / 1000),
        number("hours", lambda record: record["window"]["hours"], 1),
        number("gaps", lambda record: record["window"]["gaps"]),
        *(
            text("history", lambda _: evidence_window.SYNTHETIC)
            for _ in range(found.window.synthetic)
        ),
        text("parity", lambda record: _parity(found.result.parity)),
        *(
            text(path, lambda record, path=path: _change(record["settings"][path]))
            for path in changes
        ),
    )


def _parity(found: Parity) -> str:
    what = (
        f"{format.count(found.decisions, 'decision')} and "
        f"{format.count(found.proposals, 'proposal')}"
    )
    if found.differences:
        return f"DOES NOT HOLD: {found.differences:,} of {what} differ"
    return f"holds: {what} come out as recorded"


def _change(values: Mapping[str, Any]) -> str:
    today = "unknown" if values["recorded"] is None else plain(values["recorded"])
    return f"{today} → {plain(values['replayed'])}"


def unproven(parity: Parity) -> Iterator[str]:
    """What parity says nothing about, a sentence each."""
    for why, count in parity.unproven.items():
        yield f"{format.count(count, 'row')} can't be proven: {why}."
    if parity.uncounted:
        yield (
            f"{format.count(parity.uncounted, 'open')} had counts that the recorded permits do not "
            "account for (a gap, or before the history began): what is missing stays as recorded."
        )


def _remarks(found: Found) -> Iterator[str]:
    """What a person must know to read the figures."""
    window, result = found.window, found.result
    if window.asked_ms is not None:
        yield "The history begins later than was asked for: nothing was recorded before."
    yield from unproven(result.parity)
    if result.alone is not None:
        for why, count in result.alone.unknown.items():
            yield f"{format.count(count, 'decision')} can't be told alone: {why}."
    if result.alone is not None or any(curve.decisions for curve in result.curves):
        yield NOT_MODELLED


# The governor ------------------------------------------------------------------------------------


def _amount(title: str, key: str, **more: Any) -> Column:
    """A count, or USD with cents."""

    def shown(row: Mapping[str, Any]) -> str:
        value = row[key]
        return format.fixed(value, 2 if isinstance(value, float) else 0)

    return text(title, shown, right=True, **more)


FIGURES = (
    text("figure", lambda row: row["figure"].removesuffix("_usd").replace("_", " ")),
    text("unit", "unit"),
    _amount("recorded", "recorded"),
    _amount("alone", "alone"),
    _amount("in sequence", "in_sequence"),
    _amount("knock-on", "knock_on"),
)
VERDICTS = (
    word("recorded", "recorded"),
    word("replayed", "replayed"),
    number("alone", "alone"),
    number("in sequence", "in_sequence"),
)
CHANGES = (
    moment("time", lambda change: change.at_ms / 1000, drop=2),
    plan_id("plan", "plan_id"),
    text("symbol", "symbol"),
    text("kind", "kind", drop=3),
    word("was", "was"),
    word("alone", "alone", drop=1),
    word("in sequence", "in_sequence"),
    money("USD", "notional_usd"),
    number("factor", "factor", 4, drop=4),
)
DIFFERENCES = (
    moment("time", lambda each: each.at_ms / 1000, drop=1),
    text("what", "what"),
    plan_id("name", "name"),
    text("field", "field"),
    word("recorded", "recorded"),
    word("again", "again"),
    text("id", "id", drop=2),
)


# The allocation loop ------------------------------------------------------------------------------


def _figure(title: str, key: str, sign: bool = False) -> Column:
    def shown(row: Mapping[str, Any]) -> str:
        return format.fixed(row[key], 2 if row["unit"] == "USD" else 4, sign)

    return text(title, shown, right=True)


PROPOSED = (
    text("figure", lambda row: row["figure"].removesuffix("_usd").replace("_", " ")),
    text("unit", "unit"),
    _figure("recorded", "recorded"),
    _figure("replayed", "replayed"),
    _figure("change", "change", sign=True),
)
REASONS = (
    word("recorded", "recorded"),
    word("replayed", "replayed"),
    number("proposals", "proposals"),
)


# Curves -------------------------------------------------------------------------------------------


def _curve(ctx: Context, curve: Curve) -> Rows:
    points: Sequence[Any] = curve.decisions or curve.proposals
    columns = [
        text("value", lambda point: plain(point.value)),
        text("", lambda point: "← today" if point.today else " ", named="today"),
    ]
    if curve.decisions:
        columns += [
            number("opens alone", "alone_permits"),
            number("in sequence", "permits"),
            money("USD", "notional_usd"),
            number("downsized", "downsizes", drop=1),
        ]
    else:
        columns += [
            number("mean multiplier", "mean", 4),
            number("at the clamps", "clamped", 4),
            number("ok", "ok", 4, drop=1),
            money("gross USD", "gross_usd"),
        ]
    if curve.decisions and on_terminal(ctx):
        sizes = [float(point.permits) for point in curve.decisions]
        bars = dict(zip(map(id, points), _bars(sizes), strict=True))
        columns.append(text("", lambda point: bars[id(point)], named="bar", drop=2))
    return Rows(points, columns, curve.setting)


def _bars(sizes: Sequence[float]) -> list[str]:
    """Bars in eighths of a cell; the longest fills the column."""
    most = max(sizes, default=0.0)
    if most <= 0:
        return [" " for _ in sizes]
    eighths = [round(size / most * BAR * 8) for size in sizes]
    return ["█" * (n // 8) + " ▏▎▍▌▋▊▉"[n % 8].strip() or " " for n in eighths]
