"""Every key and stream: template, type, lifetime, who writes it, what it holds.

The table in docs/redis-contract.md is made from CONTRACT.
"""

import re
from collections.abc import Iterable

import msgspec

from qtctl.domain.names import ascii_upper, plan_id_problem, symbol_problem

DECISION_TTL_SEC = 86_400
BLOCK_TTL_SEC = 3_600
LEDGER_KEEP_SEC = 3_600
LIMITS_TTL_SEC = 7 * 86_400
SERVICE_TTL_SEC = 30
SERVICES_TTL_SEC = 7 * 86_400
MARK_TTL_SEC = 7 * 86_400
RUNS_TTL_SEC = 7 * 86_400
EMPTIED_TTL_SEC = 3_600
TRIES_TTL_SEC = 3_600
"""What is queued for longer is not judged any more."""
RULES_TTL_SEC = 7 * 86_400
STREAM_KEEP_SEC = 7_200
STREAM_KEEP_BYTES = 64 << 20
"""So much of the streams that the history is made from is kept, whichever is less."""
GROUP = "governor"
"""The consumer group in which governors share the plan stream."""


class KeySpec(msgspec.Struct, frozen=True):
    """One line of the contract. template: without the prefix, at most one {placeholder}, last;
    upper: what stands there has its ASCII letters in upper case."""

    template: str
    type: str
    writer: str
    holds: str
    ttl: str = "none"
    upper: bool = False
    head: str = ""
    """The template up to its placeholder."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "head", self.template.partition("{")[0])


# fmt: off
TARGET = KeySpec(
    "allocation:target:{symbol}", "hash", "upstream (P2.9)",
    "target_usd, confidence, timestamp, mode, and more that readers ignore",
    "upstream's",
)
EFFICIENCY = KeySpec(
    "capital:efficiency:{symbol}", "hash", "upstream (P3.1)",
    "efficiency_score, confidence, ts, mode, version, and more that decides nothing (stale_flags "
    "and inputs_ok are shown)",
    "upstream's",
)
TARGET_DECISIONS = KeySpec(
    "stream:allocation.decision", "stream", "upstream (P2.9)",
    "what P2.9 would write; in its shadow mode this instead of targets. Read by doctor, why and "
    "the lists, to say so",
)
SCORE_DECISIONS = KeySpec(
    "stream:capital.efficiency.decision", "stream", "upstream (P3.1)",
    "what P3.1 would write; in its shadow mode this instead of scores. Read likewise",
)
PLANS = KeySpec(
    "stream:apply.plan", "stream", "upstream",
    "plan_id, symbol, action, decision, kill_score, and optionally side, qty, price, entry_price, "
    "reduceOnly, timestamp, source, …",
)
PROPOSED_STREAM = KeySpec(
    "stream:allocation.target.proposed", "stream", "allocation loop",
    "one proposal per symbol and pass; about the larger of `stream_maxlen` and three passes kept",
)
PROPOSED = KeySpec(
    "allocation:target:proposed:{symbol}", "hash", "allocation loop",
    "the latest proposal",
    "600 s (`propose_key_ttl_sec`), set in one step with the fields",
)
PERMIT = KeySpec(
    "permit:{plan_id}", "string (JSON) or hash", "governor",
    "a single-use permit; `permit_encoding` chooses, every reader takes both",
    "60 s (`permit_ttl_sec`)",
)
DECISION = KeySpec(
    "governor:decision:{plan_id}", "hash", "governor",
    "the truth about a plan: verdict, reason and every fact it rests on",
    "24 h",
)
LIMITS = KeySpec(
    "governor:limits:{digest}", "string (JSON)", "governor",
    "the limits that decisions with this digest were judged by",
    "7 days, refreshed",
)
BLOCK = KeySpec(
    "governor:block:{plan_id}", "string (JSON)", "governor",
    "reason, timestamp, symbol: a projection of the decision",
    "3600 s",
)
LEDGER = KeySpec(
    "governor:ledger:{symbol}", "sorted set", "governor",
    "the opens it permitted: plan_id by time, the last hour; the symbol in upper case (ASCII)",
    "1 h after the last one",
    upper=True,
)
LEDGER_TOTAL = KeySpec(
    "governor:ledger_total", "sorted set", "governor",
    "the same for all symbols together",
    "1 h after the last one",
)
LAST_CLOSE = KeySpec(
    "governor:last_close:{symbol}", "string", "governor",
    "when it last permitted a full close of the symbol, epoch ms; not written where the cooldown "
    "is 0; the symbol in upper case (ASCII)",
    "60 s (`reopen_cooldown_sec`)",
    upper=True,
)
PERMITS = KeySpec(
    "governor:permits", "sorted set", "governor",
    "index of permits: plan_id by expiry; trimmed as it is written",
)
EVENTS = KeySpec(
    "stream:governor.events", "stream", "governor, halt, resume",
    "what happened to plans and permits; about 10,000 kept",
)
PASSES = KeySpec(
    "stream:allocation.pass", "stream", "allocation loop",
    "one entry per pass: everything it decided on; 2 h or 64 MiB kept, whichever is less "
    "(`[history] publish`)",
)
ALLOCATION_RULES = KeySpec(
    "allocation:rules:{digest}", "string (JSON)", "allocation loop",
    "the rules that passes with this digest were decided by, and `interval_sec`",
    "7 days, refreshed",
)
DECISIONS = KeySpec(
    "stream:governor.decisions", "stream", "governor",
    "every decision with all its facts, those of duplicates and conflicts too; 2 h or 64 MiB "
    "kept, whichever is less (`[history] publish`)",
)
REJECTED = KeySpec(
    "stream:governor.rejected", "stream", "governor",
    "unreadable plans, byte for byte, cut at 64 KiB; about 10,000 kept",
)
TRIES = KeySpec(
    "governor:tries:{entry_id}", "string", "governor",
    "how often an entry that was delivered again was tried and not finished; deleted when settled",
    "1 h",
)
KILL = KeySpec(
    "kill", "string", "other systems; halt, resume where the governors read no halt key",
    "absent, empty, `0`, `false`, `off`, `no` (any case, blanks trimmed): normal; `reduce_only`: "
    "only closes pass; anything else, or a wrong type: everything stops. So do the other names in "
    "`kill_keys`; the strictest wins",
)
HALT = KeySpec(
    "governor:halt", "string", "halt, resume, the drawdown guard",
    "the same, but a value that is not normal stops opens only, unless it is `all` (any case) or "
    "the key has a wrong type. So do the other names in `halt_keys`; a name in both lists is a "
    "halt key. A `1` that a halt record without a level vouches for (a version before wrote it) "
    "counts as `all`",
)
HALT_KEPT = KeySpec(
    "governor:halt_kept", "string", "governor, resume",
    "a halt that Redis forgot, `reduce_only` or `all`: every governor reads it as a halt key; "
    "`resume` deletes it",
)
HALTED_SYMBOLS = KeySpec(
    "governor:halt:symbols", "hash", "governor, halt, resume",
    "symbols that are halted individually: the symbol, and a value as in a halt key; a wrong type "
    "stops every symbol",
)
HALT_RECORDS = KeySpec(
    "governor:halt:records", "hash", "governor, halt, resume",
    "who halted what: the kill key (without prefix), or `governor:halt:symbols:{symbol}`, and a "
    "JSON object of value, level, who, why, since, before, before_until_ms",
)
CLOCK_JUMP = KeySpec(
    "governor:clock_jump", "string (JSON)", "governor, resume --clock",
    "that the server's clock jumped ahead: since_ms, jump_sec, by; while it is there no open gets "
    "a permit",
)
MARK = KeySpec(
    "governor:mark:{name}", "string", "governor",
    "when this governor last looked, epoch ms: where it is gone, or older than it was left, Redis "
    "has lost what it knew; this governor permits nothing while it is gone",
    "7 days, refreshed every second",
)
EMPTIED = KeySpec(
    "governor:emptied", "string (JSON)", "governor, resume",
    "how Redis was found within the last hour: at, how (`start`: without a trace of the governors, "
    "`empty`, `older`: it lost what a running governor knew), by; acknowledged_by: the operator "
    "who resumed since, after whom it is no incident any more; resumed: a halt was lifted then, so "
    "a governor that finds the loss later does not keep it",
    "1 h",
)
SERVICE = KeySpec(
    "qtctl:service:{service}:{name}", "hash", "each running service",
    "version, host, pid, started_at, last_pass_at, metrics (host:port), clock_ahead_sec (its "
    "host's clock less the server's), its settings and their digest; an allocation loop's has "
    "discovery (how it finds new targets: `tracking`, or `scan: ` and why), a recorder's problem "
    "(why it can't write, empty where it can)",
    "30 s, or three passes if that is longer",
)
SERVICES = KeySpec(
    "qtctl:services", "sorted set", "each running service",
    "index of their records, so that finding them needs no SCAN: `{service}:{name}` by when it was "
    "last there, epoch seconds; those of a week ago are removed",
    "7 days, refreshed",
)
RUNS = KeySpec(
    "qtctl:runs", "stream", "each running service",
    "when which service started and stopped, with its version and its settings; about 1,000 kept",
    "7 days after the last",
)
INJECTED = KeySpec(
    "qtctl:injected:{key}", "hash", "inject",
    "digest of what was written, and what was there before with its remaining TTL",
    "that of what it covers",
)
# fmt: on
CONTRACT = tuple(each for each in vars().copy().values() if isinstance(each, KeySpec))
"""All of them, in their order above."""
_OURS = PROPOSED.head.removeprefix(TARGET.head)
"""The one name under the template of targets that is not a symbol of upstream's."""


class Keys:
    """The contract under one prefix. Streams are full names: settings may name others."""

    def __init__(
        self, prefix: str = "quantum:", *, plans: str = "", proposed: str = "", events: str = "",
        rejected: str = "",
    ) -> None:  # fmt: skip
        self.prefix = prefix
        self.plans = plans or prefix + PLANS.template
        self.proposed_stream = proposed or prefix + PROPOSED_STREAM.template
        self.events = events or prefix + EVENTS.template
        self.rejected = rejected or prefix + REJECTED.template
        self.passes = prefix + PASSES.template
        self.decisions = prefix + DECISIONS.template
        self.ledger_total = prefix + LEDGER_TOTAL.template
        self.permits = prefix + PERMITS.template
        self.halted_symbols = prefix + HALTED_SYMBOLS.template
        self.halt_records = prefix + HALT_RECORDS.template
        self.clock_jump = prefix + CLOCK_JUMP.template
        self.halt_kept = prefix + HALT_KEPT.template
        self.emptied = prefix + EMPTIED.template
        self.services = prefix + SERVICES.template
        self.runs = prefix + RUNS.template

    def at(self, spec: KeySpec, name: str) -> str:
        """The key of one symbol, plan_id, …: `keys.at(PERMIT, plan_id)`."""
        return self.prefix + spec.head + (ascii_upper(name) if spec.upper else name)

    def service(self, service: str, name: str) -> str:
        """Where a running service keeps its record."""
        return f"{self.prefix}{SERVICE.head}{service}:{name}"

    def kills(self, names: Iterable[str]) -> tuple[str, ...]:
        """The full names of kill keys or halt keys."""
        return tuple(self.prefix + name for name in names)

    def pattern(self, spec: KeySpec) -> str:
        """A glob for SCAN that every key of the template matches (and perhaps others: see name)."""
        return re.sub(r"[\\*?\[\]]", r"\\\g<0>", self.prefix + spec.head) + "*"

    def misnamed(self, spec: KeySpec, key: str) -> str | None:
        """Why a key under a symbol's template has no symbol, or None: it has one, or is ours."""
        name = key.removeprefix(self.prefix + spec.head)
        if not spec.template.endswith("{symbol}"):
            return None
        if spec is TARGET and name.startswith(_OURS):
            return None
        return symbol_problem(name)

    def name(self, spec: KeySpec, key: str) -> str | None:
        """The symbol or plan_id in a key, or None where the key as a whole is not of this template:
        `allocation:target:proposed:X` is not a target."""
        head = self.prefix + spec.head
        if not key.startswith(head):
            return None
        name = key[len(head) :]
        check = symbol_problem if spec.template.endswith("{symbol}") else plan_id_problem
        return name if check(name) is None else None
