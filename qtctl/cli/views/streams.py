"""The streams: how each stands, and its entries as rows, plans beside their verdicts."""

from collections.abc import Callable, Sequence
from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.cli.output.columns import Column, age, money, number, recent, text
from qtctl.cli.output.styles import reason_style, verdict_style
from qtctl.cli.views.in_force import InForce
from qtctl.domain.plans import PlanRules
from qtctl.wire.client.store import Store
from qtctl.wire.queries import groups, streams, verdicts
from qtctl.wire.queries.groups import StreamState
from qtctl.wire.queries.streams import StreamEntry
from qtctl.wire.schema.ids import time_of

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
        recent("queued", lambda row: time_of(row["id"]), drop=1),
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
        text("value", "value", drop=3),
        text("actor", "actor", drop=2),
    ),
    "rejected": (
        recent("queued", lambda row: time_of(str(row.get("entry_id", ""))) or None, drop=2),
        text("plan", "raw:plan_id", width=8),
        text("symbol", "raw:symbol", width=8),
        text("problem", "problem", fold=True, width=24),
        text("entry", "entry_id", drop=1),
    ),
}


MOST_COUNTED = 1_000
"""Entries of the last minute that are counted, at most."""
STATES = (
    text("stream", "stream"),
    number("entries", "length"),
    age("first", "first_age_s", drop=3),
    age("last", "last_age_s"),
    number("minutes kept", "minutes_kept", places=1, drop=1),
    number("per minute", "per_minute", places=1, drop=2),
    text(
        "last minute",
        lambda row: (
            f"{MOST_COUNTED:,}+" if row["last_minute"] == MOST_COUNTED else row["last_minute"]
        ),
        right=True,
    ),
    text("problem", "problem", fold=True, style="red"),
)


def stream_keys(store: Store) -> dict[str, str]:
    """The key of each stream by the name that the command line gives it."""
    keys = store.keys
    return {
        "plans": keys.plans,
        "proposed": keys.proposed_stream,
        "events": keys.events,
        "rejected": keys.rejected,
    }


def last(
    ctx: Context,
    store: Store,
    stream: str,
    count: int,
    is_wanted: Callable[[StreamEntry], bool] = lambda entry: True,
) -> list[dict[str, str]]:
    """The last entries of a stream as rows, oldest first."""
    entries = streams.last(store, stream_keys(store)[stream], count, is_wanted)
    return rows_of(ctx, store, stream, entries)


def rows_of(
    ctx: Context, store: Store, stream: str, entries: Sequence[StreamEntry]
) -> list[dict[str, str]]:
    """The JSON of entries: wire fields and `id`; plans also with verdict and verdict_reason."""
    rows = [{"id": entry.id} | entry.fields | {"id": entry.id} for entry in entries]
    if stream == "plans":
        rules, _ = InForce(ctx, store).of("governor", PlanRules)
        found = verdicts.of_entries(store, entries, rules)
        for row, seen in zip(rows, found, strict=True):
            row |= {"verdict": seen.verdict, "verdict_reason": seen.reason}
    return rows


def states(store: Store) -> list[dict[str, Any]]:
    """A row for each stream: entries, ages in seconds, minutes kept, entries per minute."""
    names = list(stream_keys(store).values())
    now_ms = store.now_ms()
    fresh = groups.added_since(store, names, now_ms - 60_000, MOST_COUNTED)
    found = groups.streams(store, names)
    return [_state(state, count, now_ms) for state, count in zip(found, fresh, strict=True)]


def _state(state: StreamState, last_minute: int | None, now_ms: int) -> dict[str, Any]:
    first, last = state.first_ms, state.last_ms
    kept = None if first is None or last is None else (last - first) / 60_000
    return {
        "stream": state.name,
        "length": state.length,
        "first_age_s": None if first is None else round((now_ms - first) / 1000, 3),
        "last_age_s": None if last is None else round((now_ms - last) / 1000, 3),
        "minutes_kept": None if kept is None else round(kept, 3),
        "per_minute": round(state.length / kept, 3) if kept else None,
        "last_minute": last_minute,
        "problem": state.problem,
    }
