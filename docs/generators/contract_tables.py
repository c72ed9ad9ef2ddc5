"""The tables of docs/redis-contract.md, made from keys and records: `make docs` writes them in,
a test checks that they are there. Source: wire/schema/.
"""

from collections.abc import Iterable, Sequence

from qtctl.domain.gates import GATES
from qtctl.wire.schema.decision import DECISION_FIELDS, HISTORY
from qtctl.wire.schema.keys import CONTRACT
from qtctl.wire.schema.pass_entry import PASS_FIELDS
from qtctl.wire.schema.permit import PERMIT_CREATED, PERMIT_HEAD, PERMIT_TAIL
from qtctl.wire.schema.records import HINT, PROPOSAL_FIELDS

# What the atomic steps write, beside decisions and permits.
EVENT_FIELDS: tuple[tuple[str, str], ...] = (
    (
        "event",
        "permitted, blocked, withdrawn, backlog_skipped, trimmed, unknown_decision, "
        "group_set_back, clock_step, clock_jump, halted, resumed, halt_kept (a governor wrote a "
        "halt again that Redis had lost), redis_emptied (how is the reason), loss_acknowledged "
        "(an operator resumed after that), server_changed "
        "(another run of Redis answers; the reason is restarted, promoted or another_server), "
        "permits_stopped and permits_resumed (the reason says why, in words), …",
    ),
    ("plan_id", "empty where it concerns no single plan"),
    ("symbol", "likewise"),
    ("reason", "the gate's word, or ok; of halted and resumed the operator's own words"),
    ("ts", "epoch seconds, the server's clock"),
    ("actor", "who did it: governor:{name}, operator:{user}@{host}, …"),
    ("key", "halted, halt_kept and resumed: the kill key, or `governor:halt:symbols:{symbol}`"),
    (
        "value",
        "likewise: its value from now on, empty for none; of group_set_back: its last id now; "
        "of clock_step and clock_jump: the seconds; of server_changed: the run id now",
    ),
    (
        "before",
        "likewise: its value before; of group_set_back: the last id of the group before; of "
        "server_changed: the run id before",
    ),
    ("count", "of backlog_skipped, trimmed, unknown_decision: how many plans it stands for"),
    (
        "first",
        "of backlog_skipped and trimmed: the entry id of the first of them; where they were "
        "trimmed unread, value is the last that was read",
    ),
    ("last", "likewise of the last"),
    ("decision", "of unknown_decision: the word, over 64 bytes cut and with a digest"),
    ("source", "likewise: who sent it"),
)
RUN_FIELDS: tuple[tuple[str, str], ...] = (
    ("event", "started or stopped"),
    ("service", "allocation or governor"),
    ("name", "which of several"),
    ("ts", "epoch seconds, the server's clock"),
    ("version", "of qtctl"),
    ("host", "where it runs"),
    ("pid", "its process"),
    ("digest", "of its settings"),
    ("settings", "of started: its settings without secrets, a JSON object"),
)
BLOCK_FIELDS: tuple[tuple[str, str], ...] = (
    ("reason", "the gate's word"),
    ("timestamp", "epoch seconds, number"),
    ("symbol", "the symbol"),
)
REJECTED_FIELDS: tuple[tuple[str, str], ...] = (
    ("reason", "invalid_plan"),
    ("entry_id", "of the entry in the plan stream"),
    (
        "sha256",
        "of the entry: each name and value as a netstring, in their order; of a value over 256 KiB "
        "the length of all of it and the first 256 KiB",
    ),
    ("problem", "what is wrong with it, in words"),
    ("raw:*", "the entry's fields to the byte, cut at 64 KiB in all"),
)

BEGIN, END = "<!-- generated: {} -->", "<!-- end: {} -->"


def tables() -> dict[str, str]:
    """Every generated part of the page by name, as Markdown."""
    permit = [*PERMIT_HEAD, PERMIT_CREATED, *PERMIT_TAIL]
    permit += [(field.name, field.holds) for field in HINT]
    return {
        "keys": _table(
            ("key or stream", "type", "lifetime", "written by", "holds"),
            [(f"`{k.template}`", k.type, k.ttl, k.writer, k.holds) for k in CONTRACT],
        ),
        "proposal": _fields((field.name, field.holds) for field in PROPOSAL_FIELDS),
        "permit": _fields(permit),
        "decision": _fields(DECISION_FIELDS),
        "pass": _fields(PASS_FIELDS),
        "history": _fields(HISTORY),
        "block": _fields(BLOCK_FIELDS),
        "event": _fields(EVENT_FIELDS),
        "rejected": _fields(REJECTED_FIELDS),
        "run": _fields(RUN_FIELDS),
        "gates": _gates(),
    }


def filled(page: str) -> str:
    """The page with every generated part as it is now.

    Errors: ValueError where the page lacks the marks of one.
    """
    for name, table in tables().items():
        begin, end = BEGIN.format(name), END.format(name)
        head, mark, rest = page.partition(begin)
        _, mark_end, tail = rest.partition(end)
        if not mark or not mark_end:
            raise ValueError(f"the page has no place for {name!r}")
        page = f"{head}{begin}\n{table}{end}{tail}"
    return page


def _fields(fields: Iterable[tuple[str, str]]) -> str:
    return _table(("field", "holds"), [(f"`{name}`", holds) for name, holds in fields])


def _gates() -> str:
    return _table(
        ("gate", "applies to", "reason when it blocks", "because", "settings", "0 is off"),
        [
            (
                f"`{gate.name}`",
                "opens" if gate.opens_only else "all",
                f"`{gate.reason.value}`",
                gate.blocks,
                ", ".join(f"`{name}`" for name in gate.limits),
                "yes" if gate.zero_is_off else "",
            )
            for gate in GATES
        ],
    )


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
