"""The entries of the streams as rows, plans beside their verdicts."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qtctl.cli.framework.context import Context
from qtctl.cli.framework.listing import Listing
from qtctl.cli.output import Filter, Listed, reason_style, verdict_style
from qtctl.cli.output.columns import Column, money, number, plan_id, recent, size_hint, text, word
from qtctl.cli.views.in_force import InForce
from qtctl.domain.entry_ids import time_of
from qtctl.domain.names import ascii_upper
from qtctl.domain.plans import PlanRules
from qtctl.domain.reasons import EffReason, Kind, Verdict
from qtctl.wire.client.store import Store
from qtctl.wire.queries import streams, verdicts
from qtctl.wire.queries.streams import PAGE, StreamEntry
from qtctl.wire.schema import pass_entry
from qtctl.wire.schema.decision import DECISION_FIELDS, HISTORY
from qtctl.wire.schema.pass_entry import PASS_FIELDS
from qtctl.wire.schema.records import PROPOSAL_FIELDS

OF_A_BLOCK = ("reasons", "block_bytes", "problem")
"""What stands for the block of a pass, which is compressed."""
PLAN_FIELDS = (
    *("plan_id", "symbol", "action", "decision", "kill_score", "side", "qty", "close_qty"),
    *("price", "entry_price", "reduceOnly", "timestamp", "source"),
)
"""What a plan may have; its publisher may add others."""


def _queued(row: Mapping[str, Any]) -> float | None:
    return time_of(str(row.get("entry_id", ""))) or None


def _added(row: Mapping[str, Any]) -> float:
    return time_of(row["id"])


def _entries(columns: Sequence[Column], *fields: str, **filters: Filter) -> Listed:
    """The entries of a stream, which may have other fields as well."""
    return Listed(columns, ("id", *fields), any_field=True, at=_added, filters=filters)


LISTED: dict[str, Listed] = {
    "proposed": _entries(
        (
            recent("time", "ts_epoch"),
            text("symbol", "symbol", width=10),
            money("base USD", "base_target", width=12),
            money("proposed USD", "proposed_target", width=12),
            number("multiplier", "multiplier", places=4),
            text("reason", "reason", style=reason_style, width=11),
            number("score", "eff_score", places=4, drop=2, width=6),
            text("confidence", "eff_confidence", drop=3, right=True),
        ),
        *(field.name for field in PROPOSAL_FIELDS),
        reason=Filter("reason", tuple(EffReason)),
    ),
    "plans": _entries(
        (
            recent("queued", _added),
            plan_id("plan", "plan_id", width=12),
            text("symbol", "symbol", width=10),
            text("kind", "kind", width=5),
            word("action", "action", width=11),
            text("decision", "decision", drop=3),
            text("qty", "qty", right=True, drop=4, width=6),
            text("verdict", "verdict", style=verdict_style, width=9),
            word("reason", "verdict_reason", width=10),
        ),
        *PLAN_FIELDS,
        verdict=Filter("verdict", tuple(Verdict)[:4]),
        kind=Filter("kind", tuple(Kind)),
        reason=Filter("verdict_reason"),
    ),
    "events": _entries(
        (
            recent("time", "ts"),
            word("event", "event", style=verdict_style, width=9),
            plan_id("plan", "plan_id", width=12),
            text("symbol", "symbol", width=10),
            word("reason", "reason", width=18),
            text("value", "value", drop=3),
            text("actor", "actor", drop=2),
        ),
        verdict=Filter("event"),
        reason=Filter("reason"),
    ),
    "decisions": _entries(
        (
            recent("decided", _added),
            plan_id("plan", "plan_id", width=12),
            text("symbol", "symbol", width=10),
            text("kind", "kind", width=5),
            word("action", "action", width=11),
            text("verdict", "verdict", style=verdict_style, width=9),
            word("reason", "reason", width=10),
            size_hint("eff_action", drop=2, width=9),
            text("score", "score", drop=3, right=True, width=6),
        ),
        *(name for name, _ in (*DECISION_FIELDS, *HISTORY)),
        verdict=Filter("verdict", (Verdict.PERMITTED, Verdict.BLOCKED)),
        kind=Filter("kind", tuple(Kind)),
        reason=Filter("reason"),
    ),
    "passes": _entries(
        (
            recent("time", _added),
            text("pass", "pass", right=True, width=6),
            text("symbols", "symbols", right=True, width=7),
            text("reasons", "reasons", width=20),
            text("loop", "instance", width=8),
            text("rules", "rules", drop=1, width=16),
            text("block bytes", "block_bytes", drop=2, right=True),
        ),
        *(name for name, _ in PASS_FIELDS if name != "block"),
        *OF_A_BLOCK,
    ),
    "rejected": _entries(
        (
            recent("queued", _queued),
            plan_id("plan", "raw:plan_id", width=8),
            text("symbol", "raw:symbol", width=8),
            text("problem", "problem", fold=True, width=24),
            text("entry", "entry_id", drop=1),
        ),
        "reason",
        "sha256",
        reason=Filter("reason"),
    ),
}
"""The entries of each stream."""


@dataclass(frozen=True)
class Look:
    """Which entries of a stream are asked for. symbols: in upper case, empty for all."""

    stream: str
    listing: Listing = field(default_factory=Listing)
    symbols: frozenset[str] = frozenset()

    @property
    def listed(self) -> Listed:
        """Its columns and filters."""
        return LISTED[self.stream]

    @property
    def most(self) -> int | None:
        """How many of the latest entries can matter, None for all."""
        return None if self.listing.order else self.listing.limit

    def has_symbol(self, entry: StreamEntry) -> bool:
        """False for an entry of a symbol that is not asked for."""
        name = "raw:symbol" if self.stream == "rejected" else "symbol"
        return not self.symbols or ascii_upper(entry.fields.get(name, "")) in self.symbols


PASSES_PAGE = 20
"""Passes read at once: each has all symbols."""


def stream_keys(store: Store) -> dict[str, str]:
    """The key of each stream by the name that the command line gives it."""
    keys = store.keys
    return {
        "plans": keys.plans,
        "proposed": keys.proposed_stream,
        "events": keys.events,
        "decisions": keys.decisions,
        "passes": keys.passes,
        "rejected": keys.rejected,
    }


def last(
    ctx: Context,
    store: Store,
    look: Look,
    is_known: Callable[[StreamEntry], bool] = lambda entry: True,
) -> list[dict[str, str]]:
    """The last entries asked for as rows, oldest first. Errors: UsageError for a name of a field
    that no entry has."""
    if look.most == 0:
        return []
    listing, wanted = look.listing, look.listed.matches(look.listing)
    narrowed = bool(look.symbols or listing.where or listing.only or look.most is None)
    size = PAGE if narrowed else look.most or PAGE
    if look.stream == "passes":
        size = min(size, PASSES_PAGE)
    found: list[dict[str, str]] = []
    fields: set[str] = set()
    name = stream_keys(store)[look.stream]
    for page in streams.pages(store, name, after=listing.after, before=listing.before, size=size):
        fields.update(name for entry in page for name in entry.fields)
        page = [entry for entry in page if is_known(entry) and look.has_symbol(entry)]
        found += [row for row in rows_of(ctx, store, look.stream, page) if wanted(row)]
        if look.most is not None and len(found) >= look.most:
            break
    look.listed.check_fields(listing, fields)
    return found[: look.most][::-1]


def rows_of(
    ctx: Context, store: Store, stream: str, entries: Sequence[StreamEntry]
) -> list[dict[str, str]]:
    """The JSON of entries: wire fields and `id`; plans also with kind, verdict and
    verdict_reason."""
    rows = [{"id": entry.id} | entry.fields | {"id": entry.id} for entry in entries]
    if stream == "passes":
        return [_of_pass(row, entry) for row, entry in zip(rows, entries, strict=True)]
    if stream == "plans":
        rules, _ = InForce(ctx, store).of("governor", PlanRules)
        found = verdicts.of_entries(store, entries, rules)
        for row, seen in zip(rows, found, strict=True):
            row |= {"kind": seen.kind, "verdict": seen.verdict, "verdict_reason": seen.reason}
    return rows


def _of_pass(row: dict[str, str], entry: StreamEntry) -> dict[str, str]:
    """A pass without its block: how many symbols had which reason, or why it can't be read."""
    fields = dict(zip(entry.raw[::2], entry.raw[1::2], strict=True))
    found = {"block_bytes": str(len(fields.get(b"block", b""))), "reasons": "", "problem": ""}
    try:
        reasons = Counter(pass_entry.read(fields).columns.reason)
    except ValueError as problem:
        found["problem"] = str(problem)
    else:
        found["reasons"] = ", ".join(
            f"{reason or 'no proposal'} {count:,}" for reason, count in reasons.most_common()
        )
    return {name: value for name, value in row.items() if name != "block"} | found
