"""How each stream stands: how long it is, how far back it goes, how fast it grows."""

from typing import Any

from qtctl.cli.output import Listed
from qtctl.cli.output.columns import age, number, text
from qtctl.cli.views.streams import stream_keys
from qtctl.wire.client.store import Store
from qtctl.wire.queries import groups
from qtctl.wire.queries.groups import StreamState

MOST_COUNTED = 1_000
"""Entries of the last minute that are counted, at most."""
COLUMNS = (
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
LISTED = Listed(COLUMNS)


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
