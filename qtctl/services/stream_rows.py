"""What the streams gave, as rows of the history, with the gaps before it."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from qtctl.domain.entry_ids import ms_of
from qtctl.history.rows import Batch, Entry, Gap, HaltRow, PassEntry
from qtctl.services.pass_continuity import PassContinuity
from qtctl.wire.queries.history_streams import START, Kind, News, Place, RawEntry, stream_keys
from qtctl.wire.schema import pass_entry
from qtctl.wire.schema.keys import HALTED_SYMBOLS, Keys
from qtctl.wire.schema.records import pairs

_BREAKS = {
    "emptied": "was emptied or made anew",
    "restored": "went back: a restore, or a server that had lost its last writes",
}
_AGAIN = "was not there before the server was emptied; what was written just before that is unknown"
_GROUP_EVENTS = {
    "group_set_back": "the governors' group lay ahead of the stream and was set back",
    "backlog_skipped": "plans queued for over an hour were skipped, without a verdict",
    "trimmed": "plans were trimmed before a governor had read them",
}
_PIECE = 25
"""Entries in a row: half a millisecond of decisions."""
_HALTS = {"halted": "halted", "halt_kept": "halted", "resumed": "resumed"}


class StreamRows:
    """Makes rows of entries. publishers: the kind and name of each service that wrote one;
    interval_sec: of the loop whose passes name these rules; give_way: called between small pieces
    of work, may wait."""

    def __init__(
        self, keys: Keys, interval_sec: Callable[[str], float], give_way: Callable[[], None]
    ) -> None:
        self._keys, self._streams = keys, stream_keys(keys)
        self._interval_sec, self._give_way = interval_sec, give_way
        self.continuity = PassContinuity(keys.passes)
        self.publishers: set[tuple[str, str]] = set()

    def batch(
        self,
        news: Mapping[Kind, News],
        places: Mapping[Kind, Place],
        now_ms: int,
        emptied_since_ms: int | None = None,
    ) -> Batch:
        """places: from where each stream was read. emptied_since_ms: when these were the places,
        where the whole server has been emptied since."""
        gaps = [
            gap
            for kind, each in news.items()
            for gap in _stream_gaps(each, self._streams[kind], ms_of(places[kind].id), now_ms)
        ]
        if emptied_since_ms is not None:
            # What was not there looks the same as before, whatever was in it in between.
            gaps += [
                Gap("emptied", emptied_since_ms, now_ms, key, None, f"{key} {_AGAIN}", now_ms)
                for kind, key in self._streams.items()
                if places[kind].id == START and not news[kind].break_
            ]
        events = self._entries(news["events"].entries)
        decisions = self._entries(news["decisions"].entries)
        self.publishers |= {
            ("governor", name) for each in decisions if (name := each.fields.get("instance"))
        }
        passes = self._passes(news["passes"].entries, gaps, now_ms)
        return Batch(
            passes=passes,
            decisions=decisions,
            events=events,
            rejected=self._entries(news["rejected"].entries),
            halts=[row for entry in events for row in _halts(entry)],
            gaps=[*gaps, *(gap for entry in events for gap in self._group_gaps(entry, now_ms))],
        )

    def _entries(self, raws: Sequence[RawEntry]) -> list[Entry]:
        found: list[Entry] = []
        for place, raw in enumerate(raws):
            if place % _PIECE == 0:
                self._give_way()
            found.append(Entry(raw.id, pairs(raw.raw)))
        return found

    def _passes(self, entries: Sequence[RawEntry], gaps: list[Gap], now_ms: int) -> list[PassEntry]:
        found: list[PassEntry] = []
        for raw in entries:
            fields = dict(zip(raw.raw[::2], raw.raw[1::2], strict=True))
            try:
                entry = PassEntry(raw.id, pass_entry.read(fields, self._give_way))
            except ValueError as problem:
                at, key = ms_of(raw.id), self._keys.passes
                gaps.append(Gap("unreadable", at, at, key, 1, f"{raw.id}: {problem}", now_ms))
                continue
            found.append(entry)
            self.publishers.add(("allocation", entry.value.instance))
            interval_ms = int(self._interval_sec(entry.value.rules) * 1000)
            gaps += self.continuity.note(entry, interval_ms, now_ms)
        return found

    def _group_gaps(self, entry: Entry, now_ms: int) -> list[Gap]:
        """A group that was set back sees plans again; one that skips has not judged them."""
        what, at = entry.fields.get("event", ""), ms_of(entry.id)
        if what not in _GROUP_EVENTS:
            return []
        count = entry.fields.get("count", "")
        lost = int(count) if count.isdecimal() else None
        return [Gap("group_reset", at, at, self._keys.plans, lost, _GROUP_EVENTS[what], now_ms)]


def _stream_gaps(news: News, key: str, since_ms: int, now_ms: int) -> Iterator[Gap]:
    """What a stream lost before it could be read. since_ms: up to there it was read."""
    if news.break_:
        detail = f"{key} {_BREAKS[news.break_]}"
        yield Gap(news.break_, since_ms, now_ms, key, None, detail, now_ms)
    if news.lost:
        until = news.oldest_ms if news.oldest_ms is not None else now_ms
        detail = f"{news.lost} entries of {key} were trimmed before they were read"
        yield Gap("trimmed", since_ms, until, key, news.lost, detail, now_ms)


def _halts(entry: Entry) -> list[HaltRow]:
    fields = entry.fields
    what = _HALTS.get(fields.get("event", ""))
    if what is None:
        return []
    key, value = fields.get("key", ""), fields.get("value", "")
    symbol = key.partition(f"{HALTED_SYMBOLS.template}:")[2]
    scope = symbol or ("all" if value in ("all", "1") else "opens")
    return [
        HaltRow(
            ms_of(entry.id), what, scope, key, value, fields.get("actor", ""),
            fields.get("reason", ""),
        )
    ]  # fmt: skip
