"""What `replay` asks of the history, and what it prints."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from qtctl.cli.framework import arguments
from qtctl.cli.framework.context import Context
from qtctl.cli.output import format
from qtctl.cli.output.columns import Column, moment, number, plan_id, text, word
from qtctl.cli.output.render import Fields, Rows, emit_one
from qtctl.cli.output.tables import on_terminal
from qtctl.errors import QtctlError, UsageError
from qtctl.evidence import replay, sweep
from qtctl.evidence.comparison import Tally
from qtctl.evidence.parity import Parity
from qtctl.evidence.proposed import Proposed
from qtctl.evidence.replay import Curve
from qtctl.evidence.rules import SECTIONS
from qtctl.evidence.window import Window, choose, end_ms
from qtctl.history.reader import History
from qtctl.settings.catalog import by_path, plain
from qtctl.settings.places import history_to_read

NOT_MODELLED = (
    "Upstream would have reacted to other verdicts, with other plans: that is not modelled."
)
BAR = 24


class Found(msgspec.Struct, frozen=True):
    """A replay and the window that it is about."""

    window: Window
    result: replay.Replay


def run(
    ctx: Context, folder: str | None, since: str, until: str | None, sweeps: Sequence[str]
) -> Found:
    """Errors: UsageError, ConfigError, NotFoundError; QtctlError where nothing can be judged."""
    changes, curves = _changes(ctx), [sweep.parse(each) for each in sweeps]
    history = History(
        Path(folder) if folder else history_to_read(ctx.settings.history, ctx.environ)
    )
    window = _window(ctx, history, since, until)
    found = replay.run(history, window, changes, curves, partial(_progress, ctx))
    parity = found.parity
    if not parity.decisions + parity.proposals:
        why = "; ".join(parity.unproven) or "no proposals and no decisions"
        raise QtctlError(f"nothing in that window can be judged again: {why}")
    return Found(window, found)


def _progress(ctx: Context, doing: str) -> None:
    """What is being worked on, for a person who waits: days of history take a while."""
    if sys.stderr.isatty():
        ctx.say(f"Working on {doing} …")


def _changes(ctx: Context) -> dict[str, Any]:
    """The settings of --set that a replay is about. Errors: ConfigError, UsageError."""
    settings = ctx.settings
    given = (each.partition("=")[0].strip() for each in ctx.sets)
    paths = [path for path in given if path.partition(".")[0] in SECTIONS]
    return sweep.changes({path: by_path()[path].of(settings) for path in paths})


def _window(ctx: Context, history: History, since: str, until: str | None) -> Window:
    now = end_ms(history) / 1000
    low = arguments.when(since, "--since", utc=ctx.utc).on(now)
    high = None if until is None else arguments.when(until, "--until", utc=ctx.utc).on(now)
    if high is not None and low >= high:
        raise UsageError("--since is later than --until: nothing can lie between")
    return choose(history, int(low * 1000), None if high is None else int(high * 1000))


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


def _remarks(found: Found) -> Iterator[str]:
    """What a person must know to read the figures."""
    window, result = found.window, found.result
    parity = result.parity
    if window.synthetic:
        yield "All of it is synthetic: qtctl simulate made it."
    if window.asked_ms is not None:
        yield "The history begins later than was asked for: nothing was recorded before."
    for why, count in parity.unproven.items():
        yield f"{format.count(count, 'row')} can't be proven: {why}."
    if parity.uncounted:
        yield (
            f"{format.count(parity.uncounted, 'open')} had counts that the recorded permits do not "
            "account for (a gap, or before the history began): what is missing stays as recorded."
        )
    if result.alone is not None:
        for why, count in result.alone.unknown.items():
            yield f"{format.count(count, 'decision')} can't be told alone: {why}."
    if result.alone is not None or any(curve.decisions for curve in result.curves):
        yield NOT_MODELLED


def as_record(found: Found) -> dict[str, Any]:
    """The JSON of a replay; a part that was not asked for is null."""
    window, result = found.window, found.result
    return {
        "window": {
            "since_ms": window.since_ms, "until_ms": window.until_ms,
            "asked_ms": window.asked_ms, "hours": round(window.hours, 3),
            "gaps": len(window.gaps), "synthetic": window.synthetic,
        },
        "parity": {
            "holds": result.parity.holds, "decisions": result.parity.decisions,
            "proposals": result.parity.proposals, "unproven": result.parity.unproven,
            "uncounted": result.parity.uncounted, "differences": result.parity.differences,
            "listed": result.parity.listed,
        },
        "settings": {
            path: {"recorded": result.today.get(path), "replayed": value}
            for path, value in result.changes.items()
        },
        "governor": _governor(result),
        "allocation": None if result.proposed is None else _allocation(result.proposed),
        "curves": [_curve_record(curve) for curve in result.curves],
        "not_modelled": NOT_MODELLED,
    }  # fmt: skip


# The governor ------------------------------------------------------------------------------------


def _governor(result: replay.Replay) -> dict[str, Any] | None:
    alone, found = result.alone, result.in_sequence
    if alone is None or found is None:
        return None
    return {
        "decisions": found.decisions,
        "figures": _figures(alone, found),
        "verdicts": _verdicts(alone, found),
        "largest": result.largest,
        "unknown_alone": dict(alone.unknown),
        "unknown_in_sequence": dict(found.unknown),
    }


def _figures(alone: Tally, found: Tally) -> list[dict[str, Any]]:
    """One line for each figure: recorded, alone, in sequence, and the knock-on effect."""
    was = found.recorded_permits
    lines: list[tuple[str, str, float | None, float, float]] = [
        ("opens_permitted", "", was.count, alone.permits.count, found.permits.count),
        (
            "opens_permitted_usd", "USD",
            was.notional_usd, alone.permits.notional_usd, found.permits.notional_usd,
        ),
        ("opens_let_through", "", None, alone.let_through.count, found.let_through.count),
        (
            "opens_let_through_usd", "USD",
            None, alone.let_through.notional_usd, found.let_through.notional_usd,
        ),
        ("opens_held", "", None, alone.held.count, found.held.count),
        ("opens_held_usd", "USD", None, alone.held.notional_usd, found.held.notional_usd),
        (
            "opens_of_unknown_worth", "",
            was.unknown_notional, alone.permits.unknown_notional, found.permits.unknown_notional,
        ),
        ("closes_let_through", "", None, alone.closes_let_through, found.closes_let_through),
        ("closes_held", "", None, alone.closes_held, found.closes_held),
        (
            "downsizes", "",
            found.downsizes.recorded, alone.downsizes.replayed, found.downsizes.replayed,
        ),
        ("downsizes_added", "", None, alone.downsizes.added, found.downsizes.added),
        ("downsizes_prevented", "", None, alone.downsizes.prevented, found.downsizes.prevented),
        (
            "downsizes_take_off_usd", "USD", found.downsizes.recorded_off_usd,
            alone.downsizes.replayed_off_usd, found.downsizes.replayed_off_usd,
        ),
        ("unknown", "", None, alone.unknown.total(), found.unknown.total()),
    ]  # fmt: skip
    return [
        {
            "figure": name, "unit": unit, "recorded": _cents(recorded), "alone": _cents(one),
            "in_sequence": _cents(other), "knock_on": _cents(other - one),
        }
        for name, unit, recorded, one, other in lines
    ]  # fmt: skip


def _cents(value: float | None) -> float | None:
    return round(value, 2) + 0.0 if isinstance(value, float) else value


def _verdicts(alone: Tally, found: Tally) -> list[dict[str, Any]]:
    """The matrix, a line for each cell that is not empty: first those that change."""
    cells = {**alone.verdicts, **found.verdicts}
    order = sorted(
        cells,
        key=lambda cell: (
            cell[0] == cell[1],
            -max(alone.verdicts[cell], found.verdicts[cell]),
            cell,
        ),
    )
    return [
        {
            "recorded": cell[0], "replayed": cell[1],
            "alone": alone.verdicts[cell], "in_sequence": found.verdicts[cell],
        }
        for cell in order
    ]  # fmt: skip


def _amount(title: str, key: str, **more: Any) -> Column:
    """A count, or USD with cents."""

    def shown(row: Mapping[str, Any]) -> str:
        value = row[key]
        return format.fixed(value, 2 if isinstance(value, float) else 0)

    return Column(title, shown, lambda value, utc: format.text(value), right=True, **more)


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
    Column("USD", "notional_usd", lambda value, utc: format.money(value), right=True),
    Column("factor", "factor", lambda value, utc: format.fixed(value, 4), right=True, drop=4),
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


def _allocation(found: Proposed) -> dict[str, Any]:
    sides = (found.recorded, found.replayed)
    figures = [
        {"figure": name, "unit": unit, "recorded": one, "replayed": other,
         "change": None if one is None or other is None else round(other - one, 6)}
        for name, unit, (one, other) in (
            *((f"multiplier_{name}", "", [getattr(s, name) for s in sides])
              for name in ("p10", "p50", "p90", "mean")),
            ("at_the_clamps", "share", [side.clamped for side in sides]),
            ("gross_proposed_usd", "USD", [side.gross_usd for side in sides]),
            ("turnover_usd", "USD", [side.turnover_usd for side in sides]),
        )
    ]  # fmt: skip
    cells = Counter(found.reasons)
    order = sorted(cells, key=lambda cell: (cell[0] == cell[1], -cells[cell], cell))
    return {
        "proposals": found.proposals,
        "passes": found.passes,
        "changed": found.changed,
        "unknown": found.unknown,
        "live_gross_usd": found.live_gross_usd,
        "figures": figures,
        "reasons": [
            {"recorded": cell[0], "replayed": cell[1], "proposals": cells[cell]} for cell in order
        ],
    }


def _figure(title: str, key: str, sign: bool = False) -> Column:
    def shown(row: Mapping[str, Any]) -> str:
        return format.fixed(row[key], 2 if row["unit"] == "USD" else 4, sign)

    return Column(title, shown, lambda value, utc: format.text(value), right=True)


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


def _curve_record(curve: Curve) -> dict[str, Any]:
    return {
        "setting": curve.setting,
        "today": curve.today,
        "points": list(curve.decisions or curve.proposals),
    }


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
            Column("USD", "notional_usd", lambda value, utc: format.money(value), right=True),
            number("downsized", "downsizes", drop=1),
        ]
    else:
        columns += [
            number("mean multiplier", "mean", 4),
            number("at the clamps", "clamped", 4),
            number("ok", "ok", 4, drop=1),
            Column("gross USD", "gross_usd", lambda value, utc: format.money(value), right=True),
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
