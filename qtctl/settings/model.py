"""The settings: sections, keys, defaults, allowed ranges, and the old environment names.

A field is annotated with its type, what is allowed of it, a description for operators, and its old
names in the environment; `catalog.fields()` reads them back for `config show`, the template and the
docs. Building a section directly validates nothing: only `load` does.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import fields

_BILLION = 1_000_000_000
_FULL_NAME = "Full name; follows redis.prefix unless set."
_PORT = "Port of /metrics, /livez and /readyz; 0 picks a free one."
_ADDR = "Address of that port."
_MAX_SYMBOLS = "Above this many symbols, per-symbol series are omitted."
_CLOSE_ACTIONS = (
    "FULL_CLOSE_PROPOSED", "FULL_CLOSE", "PARTIAL_CLOSE_PROPOSED", "PARTIAL_CLOSE",
    "PARTIAL_75_PROPOSED", "PARTIAL_75", "PARTIAL_50_PROPOSED", "PARTIAL_50",
    "PARTIAL_25_PROPOSED", "PARTIAL_25", "MANUAL_CLOSE", "RECONCILE_CLOSE", "CLOSE", "EXIT",
    "REDUCE", "STOP_LOSS_HIT", "TAKE_PROFIT_HIT", "UPDATE_SL",
)  # fmt: skip


def _text(expected: str, pattern: str) -> Meta:
    """The allowed text: in words, and as a regular expression."""
    return Meta(pattern=pattern, extra={"expected": expected})


_WORD = _text("printable ASCII without blanks", r"^[!-~]+\Z")
Ratio = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0)]
TimeoutSec = Annotated[float, Meta(gt=0, le=3600)]
AgeSec = Annotated[float, Meta(ge=1, le=3600)]
CooldownSec = Annotated[float, Meta(ge=0, le=3600)]
IntervalSec = Annotated[float, Meta(ge=0.1, le=3600)]
TtlSec = Annotated[int, Meta(ge=1, le=31_536_000)]  # a year
Count = Annotated[int, Meta(ge=0, le=_BILLION)]
Length = Annotated[int, Meta(ge=1, le=_BILLION)]
Bytes = Annotated[int, Meta(ge=0, le=_BILLION * _BILLION)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Word = Annotated[str, _WORD]
Item = Annotated[str, _text("letters, digits and _.:@/{}-", r"^[A-Za-z0-9_.:@/{}-]+\Z")]
"""An item of a list. No quote, bracket or comma, so that a list in the wrong notation is not read
as one strange name: a kill switch under such a name would never be found set."""
Items = tuple[Item, ...]
SwitchNames = Annotated[Items, Meta(min_length=1, max_length=16)]
Instance = Annotated[str, _text("letters, digits and ._@-", r"^[A-Za-z0-9._@-]{0,128}\Z")]
Optional = Annotated[str, _text("printable ASCII without blanks, or empty", r"^[!-~]*\Z")]
File = Annotated[str, _text("the path of a file, or empty", r"^[^\x00-\x1f\x7f]*\Z")]
Url = Annotated[str, _text("a Redis URL, or embedded:", r"^[!-~]+\Z")]


class Redis(Struct, frozen=True, kw_only=True):
    """Where Redis is. Times in seconds."""

    url: Annotated[
        Url,
        "Redis to use: redis://, rediss://, unix://, redis+sentinel://host:port,…/service/db, "
        "redis+cluster://host:port,… or embedded: (a private server). The old names replace "
        "parts of it.",
        "REDIS_HOST",
        "REDIS_PORT",
        "REDIS_DB",
    ] = "redis://127.0.0.1:6379/0"
    prefix: Annotated[Word, "What key and stream names begin with; {quantum}: on a cluster."] = (
        "quantum:"
    )
    username: Annotated[
        Optional, "ACL user to log in as, unless the URL names one; empty is default."
    ] = ""
    password_file: Annotated[
        File,
        "File with the password on one line. A password in the URL or in QTCTL_REDIS_PASSWORD "
        "takes precedence; the fallback is $CREDENTIALS_DIRECTORY/redis-password.",
    ] = ""
    tls_ca_file: Annotated[
        File, "rediss:// only: file (PEM) with the only CAs to trust; empty: those of the system."
    ] = ""
    tls_cert_file: Annotated[
        File, "rediss:// only: our own certificate (PEM), where the server asks for one."
    ] = ""
    tls_key_file: Annotated[
        File, "Its key (PEM, not encrypted); empty: it is in tls_cert_file as well."
    ] = ""
    tls_check_hostname: Annotated[
        bool, "rediss:// only: the server's certificate must be for the host of the URL."
    ] = True
    connect_timeout_sec: Annotated[TimeoutSec, "Longest wait for a connection, in seconds."] = 1.5
    timeout_sec: Annotated[TimeoutSec, "Longest wait for an answer, in seconds."] = 2.0


class Allocation(Struct, frozen=True, kw_only=True):
    """The allocation loop. Confidences and multipliers are ratios, times are in seconds."""

    min_conf: Annotated[Ratio, "Scores with less confidence change nothing.", "P31_MIN_CONF"] = 0.65
    stale_sec: Annotated[
        Amount, "Scores older than this change nothing, in seconds.", "P31_STALE_SEC"
    ] = 600.0
    min_mult: Annotated[Amount, "Smallest multiplier.", "P31_MIN_MULT"] = 0.5
    max_mult: Annotated[Amount, "Largest multiplier.", "P31_MAX_MULT"] = 1.5
    scale: Annotated[Amount, "How much the score moves the multiplier.", "P31_SCALE"] = 1.0
    base: Annotated[Amount, "The multiplier at a score of 0.5.", "P31_BASE"] = 1.0
    interval_sec: Annotated[
        IntervalSec, "From the start of a pass to the next, in seconds.", "LOOP_INTERVAL_SEC"
    ] = 10.0
    propose_key_ttl_sec: Annotated[
        TtlSec, "Lifetime of a symbol's proposal key, in seconds.", "PROPOSE_KEY_TTL"
    ] = 600
    stream_proposed: Annotated[
        Word, f"Stream of proposals. {_FULL_NAME}", "PROPOSE_STREAM_NAME"
    ] = "quantum:stream:allocation.target.proposed"
    stream_maxlen: Annotated[
        Length, "Approximate number of entries kept; at least three passes."
    ] = 10_000
    metrics_port: Annotated[
        Port, f"{_PORT} The old name applies to 'serve allocation' only.", "METRICS_PORT"
    ] = 8065
    metrics_addr: Annotated[
        Word, f"{_ADDR} The old name applies to 'serve allocation' only.", "METRICS_ADDR"
    ] = "127.0.0.1"
    metrics_max_symbols: Annotated[Count, _MAX_SYMBOLS] = 5_000
    name: Annotated[Instance, "Name of this instance; empty is the host's name."] = ""


class Governor(Struct, frozen=True, kw_only=True):
    """The governor. Scores, confidences and factors are ratios, times are in seconds, money is in
    USD; a limit of 0 turns a rate, notional or kill-score gate off."""

    min_conf: Annotated[Ratio, "Scores with less confidence give no hint.", "P31_MIN_CONF"] = 0.65
    eff_ttl_sec: Annotated[
        Amount, "Scores older than this give no hint, in seconds.", "P31_EFF_TTL_SEC"
    ] = 600.0
    downsize_threshold: Annotated[
        Ratio, "A score under this is a hint to downsize.", "P31_DOWNSIZE_THRESHOLD"
    ] = 0.45
    min_factor: Annotated[Ratio, "Smallest downsize factor.", "P31_MIN_FACTOR"] = 0.25
    max_extra_cooldown_sec: Annotated[
        Amount, "Extra cooldown hinted at a score of 0, in seconds.", "P31_MAX_EXTRA_COOLDOWN_SEC"
    ] = 120.0
    permit_ttl_sec: Annotated[
        int, Meta(ge=1, le=3600), "Lifetime of an unused permit, in seconds."
    ] = 60
    permit_encoding: Annotated[
        Literal["json", "hash"], "How a permit is written; qtctl reads both."
    ] = "json"
    max_plan_age_sec: Annotated[
        AgeSec, "Opens with an older timestamp are blocked, in seconds.", "GOV_MAX_PLAN_AGE_SEC"
    ] = 60.0
    max_queue_age_sec: Annotated[
        AgeSec, "Plans queued for longer are blocked, in seconds.", "GOV_MAX_QUEUE_AGE_SEC"
    ] = 10.0
    kill_score_critical: Annotated[
        Ratio,
        "Opens with this kill score or more are blocked; 0 is off.",
        "GOV_KILL_SCORE_CRITICAL",
    ] = 0.8
    max_notional_per_trade_usd: Annotated[
        Amount, "Opens worth more are blocked, in USD; 0 is off.", "GOV_MAX_NOTIONAL_PER_TRADE_USDT"
    ] = 200.0
    symbol_cooldown_sec: Annotated[
        CooldownSec,
        "Least time between two opens of a symbol, in seconds; 0 is off.",
        "GOV_SYMBOL_COOLDOWN_SECONDS",
    ] = 60.0
    reopen_cooldown_sec: Annotated[
        CooldownSec,
        "Least time from a full close of a symbol to the next open, in seconds; 0 is off.",
        "GOV_REOPEN_COOLDOWN_SECONDS",
    ] = 60.0
    max_exec_per_5min: Annotated[
        Count,
        "At most this many opens of a symbol in 5 minutes; 0 is off.",
        "GOV_MAX_EXEC_PER_5MIN",
    ] = 2
    max_exec_per_hour: Annotated[
        Count, "At most this many opens of a symbol in an hour; 0 is off.", "GOV_MAX_EXEC_PER_HOUR"
    ] = 3
    max_opens_per_5min_total: Annotated[
        Count,
        "At most this many opens of all symbols in 5 minutes; 0 is off.",
        "GOV_MAX_OPENS_PER_5MIN_TOTAL",
    ] = 0
    kill_keys: Annotated[
        SwitchNames,
        "Names of the kill switch, without the prefix; the strictest wins. A value that is "
        "neither normal nor reduce_only stops everything.",
    ] = ("kill", "global:kill_switch")
    halt_keys: Annotated[
        SwitchNames,
        "Names of halts, without the prefix: a value that is not normal stops opens only, "
        "unless it is all. A name that is also in kill_keys is a halt key.",
    ] = ("governor:halt",)
    open_actions: Annotated[
        Items, "Actions, in any case, that open, also where reduceOnly is true."
    ] = ("OPEN_PROPOSED", "ENTRY_PROPOSED", "OPEN", "ENTRY")
    close_actions: Annotated[
        Items, "Actions, in any case, that close where reduceOnly is absent."
    ] = _CLOSE_ACTIONS
    require: Annotated[
        tuple[Literal["kill_score", "price", "action"], ...],
        "Fields that an open must have to be valid.",
    ] = ()
    stream_plans: Annotated[Word, f"Stream of plans. {_FULL_NAME}", "STREAM_PLANS"] = (
        "quantum:stream:apply.plan"
    )
    stream_events: Annotated[Word, f"Stream of events. {_FULL_NAME}", "STREAM_EVENTS"] = (
        "quantum:stream:governor.events"
    )
    stream_rejected: Annotated[Word, f"Stream of plans that could not be read. {_FULL_NAME}"] = (
        "quantum:stream:governor.rejected"
    )
    stream_maxlen: Annotated[
        Length, "Approximate number of entries kept in events and in rejected."
    ] = 10_000
    batch: Annotated[int, Meta(ge=1, le=5000), "Plans judged in one pass, at most."] = 500
    metrics_port: Annotated[
        Port, f"{_PORT} The old name applies to 'serve governor' only.", "METRICS_PORT"
    ] = 8044
    metrics_addr: Annotated[
        Word, f"{_ADDR} The old name applies to 'serve governor' only.", "METRICS_ADDR"
    ] = "127.0.0.1"
    metrics_max_symbols: Annotated[Count, _MAX_SYMBOLS] = 5_000
    name: Annotated[Instance, "Name of this consumer; empty is the host's name."] = ""


class Safety(Struct, frozen=True, kw_only=True):
    """Opt-ins and opt-outs for what carries risk."""

    allow_eviction: Annotated[
        bool, "Issue permits even where Redis may evict decisions, and so forget them."
    ] = False
    start_halted: Annotated[
        bool,
        "Halt opens when a governor starts on a Redis without any trace of the control plane: "
        "it may have lost a halt. 'qtctl resume' ends it.",
    ] = False
    allow_live_proof: Annotated[
        bool, "Allow 'qtctl proof --live' on the running services here."
    ] = True


class History(Struct, frozen=True, kw_only=True):
    """What both loops decided and on what, kept for reports and replays."""

    enabled: Annotated[
        bool, "'qtctl serve all' runs the recorder too, which writes the history."
    ] = True
    publish: Annotated[
        bool,
        "Write what each pass and each plan was decided on to two streams, which the history "
        "is made from.",
    ] = True
    dir: Annotated[
        File,
        "Folder of the history, one file per UTC day; empty: history in the $STATE_DIRECTORY "
        "named quantum-history (that of the units), else in qtctl's state directory.",
    ] = ""
    keep_days: Annotated[Count, "Finished days are kept for so many days; 0 is for ever."] = 30
    max_bytes: Annotated[
        Bytes, "The oldest finished days go where all take more; 0 is no limit."
    ] = 0
    metrics_port: Annotated[Port, _PORT] = 8066
    metrics_addr: Annotated[Word, _ADDR] = "127.0.0.1"
    name: Annotated[Instance, "Name of this recorder; empty is the host's name."] = ""


class Logging(Struct, frozen=True, kw_only=True):
    """What the services log."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], "Lowest level that is logged."
    ] = "info"
    format: Annotated[
        Literal["auto", "plain", "rich", "short", "json", "journal"],
        "auto: short on a terminal (a decision in one line of its width), journal under "
        "systemd (the same words, every field as a field), plain elsewhere (a line with every "
        "field). rich: every field, in colours; json: an object a line.",
    ] = "auto"


class Settings(Struct, frozen=True, kw_only=True):
    """All settings; the attributes are the TOML sections."""

    redis: Redis = Redis()
    allocation: Allocation = Allocation()
    governor: Governor = Governor()
    safety: Safety = Safety()
    history: History = History()
    logging: Logging = Logging()


SECTIONS: dict[str, type[Struct]] = {field.name: field.type for field in fields(Settings)}
