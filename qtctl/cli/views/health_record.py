"""What `status` and `top` show, and the JSON of `qtctl status -o json`.

Times are epoch seconds, `_s` are seconds; None is unknown. Fields are added, never renamed.
"""

from dataclasses import dataclass, field

READY = "ready"
"""Its passes end in time, and its /readyz says so."""
ALIVE = "alive"
"""Its passes end in time; on another host or without a port /readyz can't be asked."""


@dataclass(frozen=True)
class Service:
    """state: `ready`, `alive`, or what is wrong: `not_ready` (detail: what /readyz says), `silent`
    (its port does not answer), `late` (no pass for too long), `missing` (it does not run).
    clock_ahead_s: the clock of its host less the server's; nothing goes by it."""

    service: str
    name: str
    state: str
    detail: str
    last_pass_age_s: float | None
    up_s: float | None
    version: str
    host: str
    metrics: str
    clock_ahead_s: float | None = None

    @property
    def well(self) -> bool:
        """True if there is nothing to do about it."""
        return self.state in (READY, ALIVE)


@dataclass(frozen=True)
class Redis:
    """primary: host:port of the server that answers, where the URL names several; else None.
    emptied: that it lost what it knew within the last hour, in words; lost: that it did, and not
    only a governor started on an empty one; acknowledged: an operator resumed since. restarted: it
    started while the control plane was at work. wrong_database: where nothing is in this one, and
    which it may be, in words. The others are None where this user may not ask (INFO)."""

    url: str
    primary: str | None
    name: str | None
    version: str | None
    role: str | None
    up_s: float | None
    may_evict: bool | None
    emptied: str | None = None
    lost: bool = False
    acknowledged: bool = False
    restarted: bool = False
    wrong_database: str = ""


@dataclass(frozen=True)
class KillSwitchKey:
    """A key that stops something: mode `reduce_only` or `halted`; symbol where it is for that one
    only; who, why and since where `qtctl halt` has set it."""

    key: str
    value: str
    mode: str
    symbol: str
    who: str
    why: str
    since: float | None


@dataclass(frozen=True)
class UnreadKey:
    """A key that looks like a kill switch, with its value."""

    key: str
    value: str


@dataclass(frozen=True)
class KillSwitch:
    """mode: that of the strictest key, `normal` where nothing is stopped; told: in one line.
    unread: keys that are set as a kill switch is, and that no governor reads."""

    mode: str
    told: str
    keys: list[KillSwitchKey]
    unread: list[UnreadKey] = field(default_factory=list)


@dataclass(frozen=True)
class Plans:
    """per_minute: entries on the plan stream, decided_per_minute: verdicts, both over the last five
    minutes. permitted, blocked, blocks (reason to count): over the last since_s; cut: there were
    more events than are looked at, and since_s is how far back they go. per_minute_at_least: more
    came within a minute than are counted. recent, recent_stale: verdicts of the last five minutes,
    and those of plans that were too old. closes_refused: in the last ten minutes, reason to count;
    closes_refused_at_least: not all blocked plans were looked at; close_refused_age_s,
    close_refused_symbol: of the last. stream: `ok`, `missing`, `wrong_type` (stream_type: what it
    is), or `deleted` (deleted_age_s: since the last verdict before)."""

    per_minute: float
    decided_per_minute: float
    permitted: int
    blocked: int
    since_s: float
    cut: bool
    blocks: dict[str, int]
    per_minute_at_least: bool = False
    recent: int = 0
    recent_stale: int = 0
    closes_refused: dict[str, int] = field(default_factory=dict)
    closes_refused_at_least: bool = False
    close_refused_age_s: float | None = None
    close_refused_symbol: str = ""
    stream: str = "ok"
    stream_name: str = ""
    stream_type: str = ""
    deleted_age_s: float | None = None


@dataclass(frozen=True)
class Group:
    """The governors' group. lag: None is unknown, as Redis says; stuck: pending and untouched for a
    minute; consumers: how many, None where this user may not look. behind: entries after its place,
    None for more than are counted; first_waits_s: how long the first of them has waited;
    pending_s: how long ago the oldest pending entry was queued; served_within_limit: plans that are
    judged within max_queue_age_s, at the pace of the last minute or a slow one."""

    lag: int | None
    pending: int
    stuck: int
    consumers: int | None
    behind: int | None = 0
    first_waits_s: float | None = None
    pending_s: float | None = None
    max_queue_age_s: float = 0.0
    served_within_limit: int = 0


@dataclass(frozen=True)
class OtherGroup:
    """A group of another system on the plan stream that holds what it never finished."""

    group: str
    stuck: int
    stuck_s: float


@dataclass(frozen=True)
class Feed:
    """Targets, or scores, of the symbols looked_at: good ones, and the others by what is wrong;
    low_conf is for scores. newest_age_s: None where no time can be read; problem: of the first that
    can't be read."""

    looked_at: int
    good: int
    missing: int
    stale: int
    low_conf: int
    unreadable: int
    newest_age_s: float | None
    problem: str


@dataclass(frozen=True)
class Upstream:
    """whole: every symbol there is was looked at, else a sample of the last proposals. targets,
    scores: None where they could not be read."""

    whole: bool
    targets: Feed | None
    scores: Feed | None
    last_plan_age_s: float | None
    last_proposal_age_s: float | None


@dataclass(frozen=True)
class Alarm:
    """What makes status exit 1. alarm: one word for its kind; command: what to run next."""

    alarm: str
    text: str
    command: str


@dataclass(frozen=True)
class Permits:
    """open: not taken yet; next_ttl_s: of the one that runs out first; without_ttl: those that
    never do, as none should be. newest_only: all of this is of the newest permits, and
    older ones may be open as well."""

    open: int
    next_ttl_s: float | None
    without_ttl: int
    newest_only: bool = False


@dataclass(frozen=True)
class Overall:
    """ok: what the exit code says: no alarm. group: None where it is not there. problems: what
    could not be read, and why: `group`, `permits`, `plans`, `events`, `upstream`; `plan_ids`: what
    is wrong with them. banner: the alarms, the worst first."""

    ok: bool
    where: str
    at: float
    services: list[Service]
    redis: Redis
    kill_switch: KillSwitch
    plans: Plans
    group: Group | None
    permits: Permits
    problems: dict[str, str]
    banner: list[Alarm] = field(default_factory=list)
    upstream: Upstream | None = None
    other_groups: list[OtherGroup] = field(default_factory=list)
