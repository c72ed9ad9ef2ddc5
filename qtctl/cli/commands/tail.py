"""`qtctl tail`: the last entries of a stream, and what comes after them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtctl import clock
from qtctl.cli.commands.target import reason_style
from qtctl.cli.framework import arguments
from qtctl.cli.framework.command import command, new_app
from qtctl.cli.framework.context import Context
from qtctl.cli.output.columns import Column, money, number, recent, text
from qtctl.cli.output.render import Stream, emit
from qtctl.errors import RedisUnreachable, UsageError

if TYPE_CHECKING:
    from qtctl.wire.client.store import Store
    from qtctl.wire.queries.streams import Follower, StreamEntry
    from qtctl.wire.queries.verdicts import EntryVerdict

app = new_app("tail")

SETTLE_SEC = 1.0
"""So long a plan is held back for its verdict while following."""
RETRY_SEC = 0.5
HALT_EVERY_SEC = 2.0
"""While following, so often the kill switch is looked at."""


def verdict_style(value: Any) -> str:
    """The colour of a verdict, or of what became of a permit."""
    return {"permitted": "green", "blocked": "red", "rejected": "red", "withdrawn": "yellow"}.get(
        str(value), ""
    )


def _queued(row: Any) -> float:
    return int(row["id"].partition("-")[0]) / 1000


COLUMNS: dict[str, tuple[Column, ...]] = {
    "proposed": (
        recent("time", "ts_epoch", drop=1),
        text("symbol", "symbol", width=10),
        money("base USD", "base_target", width=12),
        money("proposed USD", "proposed_target", width=12),
        number("multiplier", "multiplier", places=4),
        text("reason", "reason", style=reason_style, width=11),
        number("score", "eff_score", places=4, drop=2, width=6),
        text("confidence", "eff_confidence", drop=3, right=True),
    ),
    "plans": (
        recent("queued", _queued, drop=1),
        text("plan", "plan_id", width=12),
        text("symbol", "symbol", width=10),
        text("action", "action", drop=2, width=19),
        text("decision", "decision", drop=3),
        text("qty", "qty", right=True, drop=4, width=6),
        text("verdict", "verdict", style=verdict_style, width=9),
        text("reason", "verdict_reason", width=10),
    ),
    "events": (
        recent("time", "ts", drop=1),
        text("event", "event", style=verdict_style, width=9),
        text("plan", "plan_id", width=12),
        text("symbol", "symbol", width=10),
        text("reason", "reason", width=18),
        text("actor", "actor", drop=2),
    ),
    "rejected": (
        recent("queued", lambda row: _entry_time(row), drop=2),
        text("plan", "raw:plan_id", width=8),
        text("symbol", "raw:symbol", width=8),
        text("problem", "problem", fold=True, width=24),
        text("entry", "entry_id", drop=1),
    ),
}
SYMBOL_FIELD = {"rejected": "raw:symbol"}


def _entry_time(row: Any) -> float | None:
    ms = str(row.get("entry_id", "")).partition("-")[0]
    return int(ms) / 1000 if ms.isdecimal() else None


@command(app)
def tail(
    ctx: Context,
    stream: Annotated[str, typer.Argument(help="proposed, plans, events or rejected.")],
    symbols: Annotated[list[str] | None, typer.Argument(metavar="SYMBOL")] = None,
    count: Annotated[str, typer.Option("-n", metavar="N", help="How many entries.")] = "10",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
) -> None:
    """The last entries of a stream, oldest first; with -f also what comes after them.

    proposed: the allocation loop's; plans: with their verdicts; events: what happened to plans
    and permits; rejected: plans that can't be read. Following survives a lost connection without
    a gap or a repeat; what was trimmed meanwhile is told.

    Examples:
        qtctl tail proposed
        qtctl tail plans BTCUSDT -n 20
        qtctl tail events -f
        qtctl tail rejected -o json
    """
    if stream not in COLUMNS:
        raise UsageError(f"STREAM {stream!r} is none of {', '.join(COLUMNS)}")
    wanted = set(arguments.symbols(symbols))
    number_ = arguments.whole(count, "-n", 0, 1_000_000)
    field = SYMBOL_FIELD.get(stream, "symbol")

    def is_wanted(entry: "StreamEntry") -> bool:
        return not wanted or entry.fields.get(field) in wanted

    with ctx.store() as store:
        if follow:
            _follow(ctx, store, stream, number_, is_wanted)
            return
        empty = f"{_name(store, stream)} has no entries" + (" of these symbols." if wanted else ".")
        found = last_rows(ctx, store, stream, number_, is_wanted)
        emit(ctx, found, COLUMNS[stream], empty=empty)


def last_rows(
    ctx: Context,
    store: "Store",
    stream: str,
    count: int,
    is_wanted: "Callable[[StreamEntry], bool]" = lambda entry: True,
) -> list[dict[str, str]]:
    """The last entries of a stream as rows, oldest first."""
    from qtctl.wire.queries import streams

    entries = streams.last(store, _name(store, stream), count, is_wanted)
    return _rows(ctx, store, stream, entries)


def _name(store: "Store", stream: str) -> str:
    keys = store.keys
    return {
        "proposed": keys.proposed_stream,
        "plans": keys.plans,
        "events": keys.events,
        "rejected": keys.rejected,
    }[stream]


def _rows(
    ctx: Context, store: "Store", stream: str, entries: "Sequence[StreamEntry]"
) -> list[dict[str, str]]:
    """The JSON of entries: wire fields and `id`; plans also with verdict and verdict_reason."""
    rows = [{"id": entry.id} | entry.fields | {"id": entry.id} for entry in entries]
    if stream == "plans":
        for row, seen in zip(rows, _verdicts(ctx, store, entries), strict=True):
            row |= {"verdict": seen.verdict, "verdict_reason": seen.reason}
    return rows


def _verdicts(
    ctx: Context, store: "Store", entries: "Sequence[StreamEntry]"
) -> "list[EntryVerdict]":
    from qtctl.wire.queries import rules_in_force, verdicts

    return verdicts.of_entries(store, entries, rules_in_force.plan_rules(store, ctx.settings)[0])


def _follow(
    ctx: Context,
    store: "Store",
    stream: str,
    count: int,
    is_wanted: "Callable[[StreamEntry], bool]",
) -> None:
    from qtctl.wire.queries import streams

    name = _name(store, stream)
    out = Stream(ctx, COLUMNS[stream])
    follower = streams.Follower(store, name)
    try:
        # The place first: what comes between it and the last entries is told once, by id.
        follower.to_end()
        before = streams.last(store, name, count, lambda e: is_wanted(e) and follower.is_behind(e))
        out.write(_rows(ctx, store, stream, before))
        ctx.tell_halt(store)
        while True:
            entries, lost = _next(ctx, store, follower)
            if lost:
                ctx.say(f"{lost:,} entries of {name} were trimmed before they could be read")
            fresh = [entry for entry in entries if is_wanted(entry)]
            if fresh:
                out.write(_settled_rows(ctx, store, stream, fresh))
    finally:
        follower.close()


def _next(
    ctx: Context, store: "Store", follower: "Follower"
) -> "tuple[Sequence[StreamEntry], int]":
    """What is new; a lost connection is told once and waited out."""
    away = False
    while True:
        try:
            entries, lost = follower.read()
            if away:
                ctx.say("Redis is back")
                away = False
            if entries or lost:
                return entries, lost
            ctx.tell_halt(store, HALT_EVERY_SEC)
            follower.wait()
        except RedisUnreachable as problem:
            if not away:
                ctx.say(f"{problem}; waiting for it")
            away = True
            clock.sleep(RETRY_SEC)


def _settled_rows(
    ctx: Context, store: "Store", stream: str, entries: "Sequence[StreamEntry]"
) -> list[dict[str, str]]:
    """Plans come with their verdicts, or without where none fell within a second."""
    deadline = clock.monotonic() + SETTLE_SEC
    while True:
        try:
            rows = _rows(ctx, store, stream, entries)
        except RedisUnreachable:
            rows = [{"id": entry.id} | entry.fields for entry in entries]
        open_ = stream == "plans" and any(not row.get("verdict") for row in rows)
        if not open_ or clock.monotonic() >= deadline:
            return rows
        clock.sleep(0.05)
