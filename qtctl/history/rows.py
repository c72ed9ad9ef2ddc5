"""What the history takes in and gives back, beside passes and decisions.

Times are epoch ms by the clock of the Redis server; ids are those of stream entries, `ms-seq`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from qtctl.domain.passes import Pass


class Entry(msgspec.Struct, frozen=True):
    """An entry of a stream: its id and its fields as text, in their order."""

    id: str
    fields: Mapping[str, str]


class PassEntry(msgspec.Struct, frozen=True):
    """An entry of the stream of passes."""

    id: str
    value: Pass


GapKind = Literal[
    "trimmed",  # the stream was trimmed beyond what was read
    "emptied",  # the stream or the whole server was emptied, or a server came up without data
    "restored",  # the stream's ids went back: a restore, a promoted replica that lagged
    "group_reset",  # the governor's group was set to another place: plans skipped or seen again
    "pass_numbers",  # numbers of an instance's passes jump
    "loop_restarted",  # numbers begin anew
    "two_loops",  # passes of two instances at the same time
    "unreadable",  # an entry or a block that can't be read
    "day_missing",  # a day's file is not there
    "day_damaged",  # a day's file can't be read in full
]


class Gap(msgspec.Struct, frozen=True):
    """What is missing from the history, or must not be taken for continuous.

    from_ms, to_ms: the last time before and the first time after that are known to be whole.
    stream: which stream lacks entries, "" where it is not one. count: how many entries (passes,
    decisions) are missing; None is unknown, never 0 for it. detail: one sentence for people.
    at_ms: when it was noticed.
    """

    kind: str
    from_ms: int
    to_ms: int
    stream: str
    count: int | None
    detail: str
    at_ms: int


class ServiceRow(msgspec.Struct, frozen=True):
    """Something that was seen of a running service.

    what: `started`, `seen` (it already ran: at the recorder's start, and in each new day),
    `changed` (another version or other settings), `ended` (its record is gone). settings: the
    digest under which `Batch.documents` has its settings.
    """

    at_ms: int
    what: str
    service: str
    name: str
    version: str
    host: str
    pid: int
    started_ms: int
    settings: str


class ServerRow(msgspec.Struct, frozen=True):
    """Something that was seen of the Redis server: what is `seen`, `restarted`, `promoted`,
    `replaced` or `emptied`; started_ms is by its uptime."""

    at_ms: int
    what: str
    run_id: str
    role: str
    version: str
    started_ms: int
    detail: str


class HaltRow(msgspec.Struct, frozen=True):
    """A halt or its end. what: `halted` or `resumed`; scope: `opens`, `all` or a symbol; key and
    value: what was set; actor, why: who and why, "" where that is unknown."""

    at_ms: int
    what: str
    scope: str
    key: str
    value: str
    actor: str
    why: str


DocumentKind = Literal["rules", "limits", "settings"]


class Document(msgspec.Struct, frozen=True):
    """A JSON text under its digest: rules of a pass, limits of a decision, settings of a service.
    It is kept in each day that mentions it, so that a day can be read alone."""

    kind: DocumentKind
    digest: str
    body: bytes


class Batch(msgspec.Struct, kw_only=True):
    """What is written in one transaction: rows, and how far the streams were read for them.

    cursors: the full name of a stream, and the id of its last entry that was read, whether it gave
    a row or not; a stream that is left out stays where it was. passes, decisions, events, rejected:
    entries in the order of their streams. A decision's fields are those of
    `stream:governor.decisions`.
    """

    cursors: dict[str, str] = {}
    passes: Sequence[PassEntry] = ()
    decisions: Sequence[Entry] = ()
    events: Sequence[Entry] = ()
    rejected: Sequence[Entry] = ()
    services: Sequence[ServiceRow] = ()
    servers: Sequence[ServerRow] = ()
    halts: Sequence[HaltRow] = ()
    gaps: Sequence[Gap] = ()
    documents: Sequence[Document] = ()


class Written(msgspec.Struct, frozen=True):
    """What a batch became. rows: how many were new, by kind; known: how many were there already;
    late: how many belong to a sealed day and stand in the next file."""

    rows: dict[str, int]
    known: int = 0
    late: int = 0
