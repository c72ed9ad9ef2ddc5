"""The tables of docs/redis-contract.md, made from keys and records: `make docs` writes them in,
a test checks that they are there. Source: wire/schema/.
"""

from collections.abc import Iterable, Sequence

from qtctl.domain.gates import GATES, Facts, Limits
from qtctl.domain.reasons import Kind
from qtctl.wire.schema.decision import DECISION_FIELDS
from qtctl.wire.schema.keys import CONTRACT
from qtctl.wire.schema.permit import PERMIT_CREATED, PERMIT_HEAD, PERMIT_TAIL
from qtctl.wire.schema.records import BLOCK_FIELDS, EVENT_FIELDS, HINT, PROPOSAL, REJECTED_FIELDS

BEGIN, END = "<!-- generated: {} -->", "<!-- end: {} -->"


def tables() -> dict[str, str]:
    """Every generated part of the page by name, as Markdown."""
    permit = [(name, holds) for name, holds, _ in PERMIT_HEAD]
    permit += [PERMIT_CREATED, *((name, holds) for name, holds, _ in PERMIT_TAIL)]
    permit += [(field.name, field.holds) for field in HINT]
    return {
        "keys": _table(
            ("key or stream", "type", "lifetime", "written by", "holds"),
            [(f"`{k.template}`", k.type, k.ttl, k.writer, k.holds) for k in CONTRACT],
        ),
        "proposal": _fields((field.name, field.holds) for field in PROPOSAL),
        "permit": _fields(permit),
        "decision": _fields(DECISION_FIELDS),
        "block": _fields(BLOCK_FIELDS),
        "event": _fields(EVENT_FIELDS),
        "rejected": _fields(REJECTED_FIELDS),
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
    facts = Facts(symbol="", kind=Kind.OPEN, queue_age_sec=0.0)
    checks = [gate(facts, Limits()) for gate in GATES]
    return _table(
        ("gate", "reason when it blocks"),
        [(f"`{check.gate}`", f"`{check.reason.value}`") for check in checks],
    )


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
