"""The streams that the history is made from, read by saved ids and without a consumer group, so
that the recorder is in nobody's way.

Redis counts the entries ever added to a stream: so what was trimmed before it could be read is
known by number, and a stream that was made anew is noticed. Source: docs/history.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from qtctl.wire.client import xinfo
from qtctl.wire.client.connect import is_error, reply_error
from qtctl.wire.client.store import Store
from qtctl.wire.schema.ids import order
from qtctl.wire.schema.keys import Keys
from qtctl.wire.schema.records import text

START = "0-0"
Kind = Literal["passes", "decisions", "events", "rejected"]
COUNTS: dict[Kind, int] = {"passes": 4, "decisions": 500, "events": 500, "rejected": 50}
"""Entries read at once: some MB of memory at most."""


def stream_keys(keys: Keys) -> dict[Kind, str]:
    """The full name of each stream; Keys has each under its kind."""
    return {kind: getattr(keys, kind) for kind in COUNTS}


class Place(msgspec.Struct, frozen=True):
    """How far a stream was read. position: how many of all entries ever added lie up to id; None
    while that is unknown (it was never read, or before Redis 7)."""

    id: str = START
    position: int | None = None


class RawEntry(msgspec.Struct, frozen=True):
    """An entry to the byte; raw: name, value, …"""

    id: str
    raw: Sequence[bytes]


class News(msgspec.Struct, frozen=True):
    """What a stream gave. place: where reading goes on; more: there is more to read at once.

    lost: entries that were trimmed before they could be read, None for an unknown number, 0 for
    none. break_: `emptied` where the stream went or was made anew since, `restored` where its ids
    went back; what it still has is read from its start. behind_ms: how old the next entry to be
    read is, 0 where all was read. oldest_ms: the time of the oldest entry in the stream, None where
    it is empty. problem: why the stream can't be read.
    """

    entries: Sequence[RawEntry]
    place: Place
    more: bool = False
    lost: int | None = 0
    break_: Literal["", "emptied", "restored"] = ""
    oldest_ms: int | None = None
    last_ms: int | None = None
    problem: str = ""


def read(
    store: Store, places: Mapping[Kind, Place], counts: Mapping[Kind, int] = COUNTS
) -> dict[Kind, News]:
    """What is new in each stream, in one round trip. Errors: RedisUnreachable."""
    keys = stream_keys(store.keys)
    commands: list[tuple[Any, ...]] = []
    for kind, key in keys.items():
        newer = ("XREAD", "COUNT", counts[kind], "STREAMS", key, places[kind].id)
        commands += [newer, ("XINFO", "STREAM", key)]
    # One step for both: what is trimmed in between would be neither read nor known to be lost.
    replies = store.batch(commands, atomic=True)
    found: dict[Kind, News] = {}
    for index, (kind, key) in enumerate(keys.items()):
        page, info = replies[2 * index : 2 * index + 2]
        found[kind] = _news(places[kind], key, page, info, counts[kind])
    return found


def _news(place: Place, key: str, page: Any, info: Any, count: int) -> News:
    if is_error(info) and xinfo.is_missing(info):
        return News((), Place(START, 0), break_="emptied" if place.id != START else "")
    for reply in (page, info):
        if is_error(reply):
            return News((), place, problem=str(reply_error(reply, key)))
    stream = xinfo.stream(info)
    if place.id != START:
        if order(stream.last_id) < order(place.id):
            return News((), Place(), more=True, break_="restored" if stream.length else "emptied")
        if _is_another(place, stream):
            return News((), Place(), more=True, break_="emptied")
    entries = [RawEntry(text(id_), raw) for id_, raw in (page[0][1] if page else ())]
    lost, position = _lost(place, stream)
    last = entries[-1].id if entries else place.id
    if position is not None:
        position += len(entries)
    return News(
        entries,
        Place(last, position),
        more=len(entries) == count,
        lost=lost,
        oldest_ms=order(stream.first)[0] if stream.first else None,
        last_ms=order(stream.last_id)[0],
    )


def _is_another(place: Place, stream: xinfo.StreamInfo) -> bool:
    """True if the stream was made anew since: fewer entries were ever added to it than were
    read, or it begins behind the place and has lost fewer than were read up to there."""
    if stream.added is None or place.position is None:
        return False
    begins_later = bool(stream.first) and order(stream.first) > order(place.id)
    gone = stream.added - stream.length if begins_later else stream.added
    return gone < place.position


def _lost(place: Place, stream: xinfo.StreamInfo) -> tuple[int | None, int | None]:
    """How many entries behind the place are gone, and the position of the place with them."""
    if stream.added is None:
        return 0, None
    removed = stream.added - stream.length
    if place.position is None:
        return 0, removed  # Nothing was read before: the history begins with what is there.
    if removed <= place.position or (stream.first and order(stream.first) <= order(place.id)):
        return 0, place.position
    return removed - place.position, removed
