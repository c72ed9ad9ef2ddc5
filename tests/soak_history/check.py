"""The history against the diary: what breaks the promise of the recorder, in words."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from qtctl.domain.entry_ids import ms_of
from qtctl.domain.passes import COLUMNS, Columns, Pass
from qtctl.history.reader import History
from qtctl.history.rows import Gap
from qtctl.history.verify import verify
from qtctl.wire.queries.history_streams import stream_keys
from qtctl.wire.schema import pass_entry
from qtctl.wire.schema.ids import order
from qtctl.wire.schema.keys import Keys
from qtctl.wire.schema.records import text

Entries = Mapping[str, Mapping[str, Sequence[bytes]]]
LOSSES = ("trimmed", "emptied", "restored")
MOST_NAMED = 5
NOTHING = Columns(*([] for _ in COLUMNS))


class Found(msgspec.Struct, frozen=True):
    """counts: entries in the history by kind; missing: by kind, those that a gap reports."""

    breaches: list[str]
    counts: dict[str, int]
    missing: dict[str, int]
    gaps: dict[str, int]


def check(folder: Path, diary: Entries, still_there: Mapping[str, Sequence[str]]) -> Found:
    """still_there: by kind, the ids that the streams have at the end."""
    history = History(folder)
    rows = _rows(history)
    gaps = history.gaps()
    breaches, missing = [], {}
    keys = {str(kind): key for kind, key in stream_keys(Keys()).items()}
    for kind, sent in diary.items():
        ids = [entry_id for entry_id, _ in rows[kind]]
        had = dict(rows[kind])
        twice = [entry_id for entry_id, count in Counter(ids).items() if count > 1]
        lost = [entry_id for entry_id in sent if entry_id not in had]
        own = [gap for gap in gaps if gap.stream == keys[kind] and gap.kind in LOSSES]
        untold = [each for each in lost if not any(_covers(gap, each) for gap in own)]
        faults = {
            "there twice": twice,
            "not in their order": [] if ids == sorted(ids, key=order) else ids[:1],
            "never sent": [entry_id for entry_id in had if entry_id not in sent],
            "still in the stream and missing": [it for it in still_there[kind] if it not in had],
            "missing without a gap": untold,
            "other than they were sent": [
                entry_id
                for entry_id, found in had.items()
                if entry_id in sent and found != _sent(kind, sent[entry_id])
            ],
        }
        breaches += [
            f"{kind} {what}: {len(named)} ({', '.join(named[:MOST_NAMED])})"
            for what, named in faults.items()
            if named
        ]
        counted = sum(gap.count or 0 for gap in own if gap.kind == "trimmed")
        if all(gap.kind == "trimmed" for gap in own) and counted != len(lost):
            breaches.append(
                f"{kind}: gaps count {counted} trimmed entries, {len(lost)} are missing"
            )
        missing[kind] = len(lost)
    breaches += untold_restarts(diary["passes"], dict(rows["passes"]), gaps)
    breaches += [f"{it.what}: {it.detail}" for it in verify(folder) if it.status == "differs"]
    breaches += [f"damaged: {each.problem}" for each in history.damage]
    return Found(
        breaches,
        {kind: len(found) for kind, found in rows.items()},
        missing,
        dict(Counter(gap.kind for gap in gaps)),
    )


def _rows(history: History) -> dict[str, list[tuple[str, object]]]:
    return {
        "passes": [(each.id, _pass(each.value)) for each in history.passes()],
        "decisions": [(each.id, each.record()) for each in history.decisions()],
        "events": [(each.id, dict(each.fields)) for each in history.events()],
        "rejected": [(each.id, dict(each.fields)) for each in history.rejected()],
    }


def _sent(kind: str, raw: Sequence[bytes]) -> object:
    if kind == "passes":
        return _pass(pass_entry.read(dict(zip(raw[::2], raw[1::2], strict=True))))
    return {text(name): text(value) for name, value in zip(raw[::2], raw[1::2], strict=True)}


def _pass(value: Pass) -> object:
    """A pass as it is compared: its symbols may stand in another order."""
    rows = sorted(zip(*msgspec.structs.astuple(value.columns), strict=True))
    return msgspec.structs.replace(value, columns=NOTHING), rows


def _covers(gap: Gap, entry_id: str) -> bool:
    return gap.from_ms <= ms_of(entry_id) <= gap.to_ms


def untold_restarts(
    sent: Mapping[str, Sequence[bytes]], had: Mapping[str, object], gaps: Sequence[Gap]
) -> Iterator[str]:
    """Loops that began anew between two passes that are both there, without a word."""
    before: tuple[str, int] | None = None
    for entry_id, raw in sent.items():
        number = int(raw[list(raw[::2]).index(b"pass") * 2 + 1])
        if before is not None and number <= before[1] and {entry_id, before[0]} <= set(had):
            told = any(
                gap.kind == "loop_restarted"
                and gap.from_ms <= ms_of(entry_id)
                and gap.to_ms >= ms_of(before[0])
                for gap in gaps
            )
            if not told:
                yield f"the loop that restarted before its pass {entry_id} is not reported"
        before = entry_id, number
