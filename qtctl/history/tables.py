"""The tables of `history query` and `history export`: their columns, where each comes from, and
what it holds. docs/history.md lists them from here.

Each is a SELECT over one day's file, under the name that the file is attached as; a query sees the
days together. {db} is that name, {day} a quoted day, {start} the first id of the day.
"""

import msgspec

from qtctl.domain.passes import COLUMNS
from qtctl.history.ids import SEQ_BITS

_MASK = (1 << SEQ_BITS) - 1


class Column(msgspec.Struct, frozen=True):
    """A column. type: `integer`, `real` or `text`; sql: its expression over one day."""

    name: str
    type: str
    holds: str
    sql: str


class Table(msgspec.Struct, frozen=True):
    """A table. source: the FROM of its SELECT; keyed: its rows go by ids of stream entries, so that
    a window picks them by `i.id`."""

    name: str
    holds: str
    source: str
    columns: tuple[Column, ...]
    keyed: bool = True

    def select(self, db: str, day: str, start: int, names: set[str], index: int) -> str:
        """The rows of one day, with these columns only. index: of the day, for proposals."""
        chosen = [c for c in self.columns if c.name in names] or list(self.columns[:1])
        shown = ", ".join(f"{c.sql} AS {c.name}" for c in chosen)
        whole = f"SELECT {shown} FROM {self.source}"
        return whole.format(db=db, day=f"'{day}'", start=start, index=index)


def _text_id(number: str, otherwise: str) -> str:
    made = f"printf('%d-%d', {number} >> {SEQ_BITS}, {number} & {_MASK})"
    return f"coalesce({otherwise}, {made})"


def iso_time(ms: str) -> str:
    """Epoch ms as ISO 8601, in SQL."""
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', {ms} / 1000.0, 'unixepoch')"


def _entry(*more: Column, id_text: str = "i.id_text") -> tuple[Column, ...]:
    """What every row that came from a stream has."""
    at = f"(i.id >> {SEQ_BITS})"
    return (
        Column("day", "text", "the UTC day whose file holds it", "{day}"),
        Column("at_ms", "integer", "when it was written, epoch ms: the time of its id", at),
        Column("time", "text", "the same in ISO 8601, UTC", iso_time(at)),
        Column("id", "text", "the id of its entry in the stream", _text_id("i.id", id_text)),
        Column("late", "integer", "1 if it came after its day was sealed", "i.id < {start}"),
        *more,
    )


def _plain(name: str, type: str, holds: str) -> Column:
    return Column(name, type, holds, f"i.{name}")


def _real(name: str, holds: str) -> Column:
    return Column(name, "real", holds, f"CAST(nullif(i.{name}, '') AS REAL)")


def _seconds(name: str, holds: str) -> Column:
    return Column(f"{name}_sec", "real", holds, f"i.{name}_ms / 1000.0")


def _shared(name: str, holds: str, type: str = "text") -> Column:
    cast = f"CAST(nullif(p.{name}, '') AS INTEGER)" if type == "integer" else f"p.{name}"
    return Column(name, type, holds, cast)


DECISIONS = Table(
    "decisions",
    "every decision of the governor, with the facts it rests on; NULL is unknown",
    "{db}.decisions i JOIN {db}.profiles p ON p.id = i.profile "
    "JOIN {db}.words w ON w.id = i.symbol",
    _entry(
        Column(
            "entry_id", "text", "the entry of the plan stream that was judged",
            f"CASE WHEN i.entry IS NULL THEN json_extract(i.exact, '$.entry_id') "
            f"ELSE {_text_id('i.entry', 'NULL')} END",
        ),
        _plain("plan_id", "text", "the plan_id"),
        Column("symbol", "text", "the symbol", "w.word"),
        _shared("verdict", "permitted or blocked"),
        _shared("reason", "ok, or the gate's word; plan_conflict and duplicate_plan among them"),
        _shared("kind", "open or close"),
        _shared("action", "as sent"),
        _shared("side", "as sent"),
        _shared("source", "as sent"),
        _shared("decision", "as sent"),
        _shared("full_close", "1 if it closes all, as far as it says", "integer"),
        _shared("withdrawn", "1 if a permit was withdrawn", "integer"),
        _real("qty", "number"),
        _real("price", "USD"),
        _real("kill_score", "0 to 1"),
        Column("notional_usd", "real", "abs(qty) × price", "i.notional_cents / 100.0"),
        _real("score", "efficiency_score as read, unrounded"),
        _real("confidence", "as read"),
        Column("score_at", "text", "the score's time, as sent", "CAST(i.score_at AS TEXT)"),
        _real("score_read_at", "when the score was read, epoch seconds"),
        _real("plan_at", "the plan's own time, epoch seconds"),
        _shared("eff_reason", "what the score counts as"),
        _shared("eff_stale", "1 if it was stale", "integer"),
        _shared("eff_action", "NONE or DOWNSIZE"),
        Column("eff_factor", "real", "what to multiply a cap with", "i.factor_e4 / 10000.0"),
        _plain("extra_cooldown_sec", "integer", "seconds, a hint"),
        Column(
            "decided_ms", "integer", "when it was taken, epoch ms",
            f"(i.id >> {SEQ_BITS}) + i.decided_after_ms",
        ),
        _seconds("queue_age", "how long it was queued"),
        _seconds("last_open_age", "since the last open permitted for the symbol"),
        _seconds("last_close_age", "since its last full close permitted"),
        _plain("opens_5min", "integer", "opens of the symbol permitted in 5 min"),
        _plain("opens_1h", "integer", "in 1 h"),
        _plain("opens_total_5min", "integer", "of all symbols in 5 min"),
        _shared("kill_key", "the strictest key that was set"),
        _shared("kill_value", "its value"),
        _shared("kill_level", "0 normal, 1 only closes pass, 2 everything stops", "integer"),
        _shared("queued_before_server", "1 if queued before this server started", "integer"),
        _shared("permitted_before", "1 if this governor had just permitted it", "integer"),
        _shared("clock_jump", "1 if the server's clock had jumped ahead", "integer"),
        _shared("deliveries", "how often the group delivered the entry", "integer"),
        _shared("attempts", "how often this governor tried it", "integer"),
        _shared("instance", "the governor"),
        _shared("version", "of qtctl"),
        _shared("limits", "digest of the limits it was judged by"),
        _plain("exact", "text", "JSON: fields whose text is unusual, as they were; mostly NULL"),
        id_text="json_extract(i.exact, '$.id')",
    ),
)  # fmt: skip

_PASS = (
    _plain("ts_ms", "integer", "the server's clock it decided by, epoch ms"),
    _plain("number", "integer", "of the pass since its loop started"),
    Column("instance", "text", "the allocation loop", "a.word"),
    Column("version", "text", "of qtctl", "v.word"),
    Column("rules", "text", "digest of the rules in force", "r.word"),
)
_PASSES = (
    "{db}.passes i JOIN {db}.words a ON a.id = i.instance JOIN {db}.words v ON v.id = i.version "
    "JOIN {db}.words r ON r.id = i.rules"
)
PASSES = Table(
    "passes",
    "every pass of the allocation loop",
    _PASSES,
    _entry(*_PASS, _plain("symbols", "integer", "how many symbols it had")),
)
_HELD = {
    "symbol": ("text", "the symbol"),
    "target_usd": ("real", "the live target as read"),
    "target_at": ("text", "its own time, as sent"),
    "score": ("real", "efficiency_score as read, unrounded"),
    "confidence": ("real", "as read"),
    "score_ts": ("text", "the score's ts, as sent"),
    "score_timestamp": ("text", "the score's timestamp, as sent"),
    "reason": ("text", "ok, missing_eff, stale_eff, low_conf, redis_error; empty: no proposal"),
    "multiplier": ("real", "of the proposal; NULL where none was made"),
}


def _cell(name: str) -> Column:
    type, holds = _HELD[name]
    function = "cell_number" if type == "real" else "cell_text"
    place = COLUMNS.index(name)
    return Column(
        name, type, holds, f"{function}({{index}}, i.block, i.place, n.row, {place})"
    )  # fmt: skip


PROPOSALS = Table(
    "proposals",
    "every symbol of every pass: what was read, and what came of it",
    _PASSES + " CROSS JOIN temp.row_numbers n ON n.row < i.symbols",
    _entry(*_PASS, *map(_cell, COLUMNS)),
)


def _field(name: str, holds: str) -> Column:
    return Column(name, "text", holds, f"json_extract(i.fields, '$.{name}')")


EVENTS = Table(
    "events",
    "the governor's events",
    "{db}.events i",
    _entry(
        _field("event", "what happened"),
        _field("plan_id", "the plan, if any"),
        _field("symbol", "the symbol, if any"),
        _field("reason", "why"),
        _field("ts", "epoch seconds"),
        _field("actor", "who"),
        _plain("fields", "text", "all fields, as JSON"),
    ),
)
REJECTED = Table(
    "rejected",
    "plans that could not be read",
    "{db}.rejected i",
    _entry(
        _field("reason", "what is wrong with it"),
        _field("entry_id", "the entry of the plan stream"),
        _field("sha256", "of the whole entry"),
        _plain("fields", "text", "all fields, as JSON; the entry's own begin with raw:"),
    ),
)


def _observed(name: str, holds: str, *columns: Column) -> Table:
    at = Column("time", "text", "at_ms in ISO 8601, UTC", iso_time("i.at_ms"))
    first = _plain("at_ms", "integer", "when it was noticed, epoch ms")
    return Table(name, holds, f"{{db}}.{name} i", (first, at, *columns), keyed=False)


SERVICES = _observed(
    "services",
    "what was seen of the services",
    _plain("what", "text", "started, seen, changed or ended"),
    _plain("service", "text", "allocation, governor or recorder"),
    _plain("name", "text", "of the instance"),
    _plain("version", "text", "of qtctl"),
    _plain("host", "text", "where it ran"),
    _plain("pid", "integer", "its process"),
    _plain("started_ms", "integer", "when it started, epoch ms"),
    _plain("settings", "text", "digest of its settings"),
)
SERVERS = _observed(
    "servers",
    "what was seen of the Redis server",
    _plain("what", "text", "seen, restarted, promoted, replaced or emptied"),
    _plain("run_id", "text", "of the server process"),
    _plain("role", "text", "master or replica"),
    _plain("version", "text", "of the server"),
    _plain("started_ms", "integer", "when it started, epoch ms"),
    _plain("detail", "text", "more, for people"),
)
HALTS = _observed(
    "halts",
    "halts and resumes",
    _plain("what", "text", "halted or resumed"),
    _plain("scope", "text", "opens, all or a symbol"),
    _plain("key", "text", "which key"),
    _plain("value", "text", "its value"),
    _plain("actor", "text", "who"),
    _plain("why", "text", "the reason given"),
)
GAPS = _observed(
    "gaps",
    "what is missing: what the recorder noticed, days that are gone, and what can't be read",
    _plain("kind", "text", "of gap"),
    _plain("from_ms", "integer", "the last time before it that is whole, epoch ms"),
    _plain("to_ms", "integer", "the first time after it, epoch ms"),
    _plain("stream", "text", "which stream lacks entries, empty where it is not one"),
    _plain("count", "integer", "how many entries are missing; NULL is unknown"),
    _plain("detail", "text", "more, for people"),
)
TABLES = (
    DECISIONS, PROPOSALS, PASSES, EVENTS, REJECTED, SERVICES, SERVERS, HALTS, GAPS,
)  # fmt: skip
BY_NAME = {table.name: table for table in TABLES}
