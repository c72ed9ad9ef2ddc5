"""`qtctl stream list`: how long each stream is, how far back it goes, how fast it grows."""

from typing import TYPE_CHECKING, Any

from qtctl.cli.framework.command import command, group
from qtctl.cli.framework.context import Context
from qtctl.cli.output.columns import age, number, text
from qtctl.cli.output.render import emit

if TYPE_CHECKING:
    from qtctl.wire.client.store import Store
    from qtctl.wire.queries.groups import StreamState

app = group(
    "stream",
    help="The four streams: length, age and growth.",
    default="list",
    examples="""
    qtctl stream list
    qtctl stream list -o json
    """,
)

MOST = 1_000
"""Entries of the last minute that are counted, at most."""


def _counted(value: Any) -> Any:
    return f"{MOST:,}+" if value == MOST else value


LISTED = (
    text("stream", "stream"),
    number("entries", "length"),
    age("first", "first_age_s", drop=3),
    age("last", "last_age_s"),
    number("minutes kept", "minutes_kept", places=1, drop=1),
    number("per minute", "per_minute", places=1, drop=2),
    text("last minute", lambda row: _counted(row["last_minute"]), right=True),
)
PROBLEM = text("problem", "problem", fold=True, style="red")


@command(app, "list")
def list_streams(ctx: Context) -> None:
    """Plans, proposals, events and rejected: entries, ages, how many minutes are kept, growth.

    "per minute" is the average over what is kept; "last minute" is counted, up to 1,000.

    Examples:
        qtctl stream list
        qtctl stream list -o ndjson
    """
    with ctx.store() as store:
        found = rows(store)
    any_problem = any(row["problem"] for row in found)
    emit(ctx, found, (*LISTED, PROBLEM) if any_problem else LISTED)


def rows(store: "Store") -> list[dict[str, Any]]:
    """One row a stream."""
    from qtctl.wire.queries import groups

    keys = store.keys
    names = [keys.plans, keys.proposed_stream, keys.events, keys.rejected]
    now_ms = store.now_ms()
    fresh = groups.added_since(store, names, now_ms - 60_000, MOST)
    states = groups.streams(store, names)
    return [_row(state, count, now_ms) for state, count in zip(states, fresh, strict=True)]


def _row(state: "StreamState", last_minute: int | None, now_ms: int) -> dict[str, Any]:
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
