"""What a run consists of, all of it made from its seed: the plans in their order, and the acts of
the nemesis at their times."""

import enum
import random
import sys
from collections.abc import Mapping, Sequence

import msgspec

REPEATS = 0.12
"""Of the plans so many have the plan_id of an earlier one."""
SYMBOLS = 400
UNREADABLE, OTHER_DECISION, TOO_RISKY = 0.01, 0.03, 0.02


class Kind(enum.StrEnum):
    """What the nemesis can do."""

    KILL_GOVERNOR = "governor killed"
    STOP_GOVERNOR = "governor frozen"
    TWIN = "governor frozen, another took over"
    KILL_SERVER = "server killed"
    KILL_REWRITING = "server killed while rewriting its file"
    STOP_SERVER = "server frozen"
    PAUSE = "clients paused"
    MEMORY = "memory full"
    GROUP = "consumer group destroyed"
    SCRIPTS = "scripts flushed"
    CLIENTS = "connections cut"
    STEP_FEW = "server's clock some seconds ahead"
    STEP_JUMP = "server's clock jumped ahead"
    STEP_BACK = "server's clock stepped back"
    STEP_2H = "server's clock 2 h back, and again ahead"
    HOST_CLOCK = "governor's clock 20 min off"
    EMPTY = "server back empty"
    FLUSH = "server flushed"
    HALT = "halted and resumed"
    EMPTY_HALTED = "server back empty while halted"
    FLUSH_HALTED = "server flushed while halted"
    SLOW = "link slow"
    LOG = "log not read"
    FLOOD = "metrics port flooded"


STEPS = frozenset({Kind.STEP_FEW, Kind.STEP_JUMP, Kind.STEP_BACK, Kind.STEP_2H})
"""They need libfaketime."""
FULL_RUN_SEC = 450.0
FULL_RUN: Mapping[Kind, int] = {
    Kind.KILL_GOVERNOR: 110,
    Kind.STOP_GOVERNOR: 12,
    Kind.TWIN: 5,
    Kind.KILL_SERVER: 16,
    Kind.KILL_REWRITING: 4,
    Kind.STOP_SERVER: 12,
    Kind.PAUSE: 12,
    Kind.MEMORY: 10,
    Kind.GROUP: 8,
    Kind.SCRIPTS: 10,
    Kind.CLIENTS: 12,
    Kind.STEP_FEW: 6,
    Kind.STEP_JUMP: 5,
    Kind.STEP_BACK: 4,
    Kind.STEP_2H: 2,
    Kind.HOST_CLOCK: 6,
    Kind.EMPTY: 3,
    Kind.FLUSH: 3,
    Kind.HALT: 5,
    Kind.EMPTY_HALTED: 4,
    Kind.FLUSH_HALTED: 3,
    Kind.SLOW: 10,
    Kind.LOG: 8,
    Kind.FLOOD: 6,
}
"""How often in a run of FULL_RUN_SEC; longer and shorter ones have more and fewer."""

LASTS_SEC: Mapping[Kind, tuple[float, float]] = {
    Kind.STOP_GOVERNOR: (1.0, 4.0),
    Kind.TWIN: (6.0, 8.0),  # Longer than what is abandoned must lie idle.
    Kind.STOP_SERVER: (1.0, 4.0),
    Kind.PAUSE: (0.5, 3.0),
    Kind.MEMORY: (0.5, 3.0),
    Kind.KILL_SERVER: (0.0, 1.0),
    Kind.KILL_REWRITING: (0.0, 0.1),
    Kind.STEP_JUMP: (1.5, 4.0),
    Kind.STEP_2H: (2.0, 4.0),
    Kind.HOST_CLOCK: (2.0, 8.0),
    Kind.EMPTY: (0.0, 1.0),
    Kind.HALT: (1.0, 3.0),
    Kind.EMPTY_HALTED: (2.0, 4.0),
    Kind.FLUSH_HALTED: (2.0, 4.0),
    Kind.SLOW: (3.0, 8.0),
    Kind.LOG: (2.0, 6.0),
    Kind.FLOOD: (2.0, 6.0),
}
"""How long at least and at most, where it lasts."""


_WAITS = frozenset({Kind.EMPTY_HALTED, Kind.FLUSH_HALTED})
"""A halt must be older than a look when the server loses it."""


class Act(msgspec.Struct, frozen=True):
    """Something that the nemesis does so long after the start. luck: 0 to 1, for the details."""

    at_sec: float
    kind: Kind
    lasts_sec: float
    luck: float


class Plan(msgspec.Struct, frozen=True):
    """An entry to be sent. stamped: with the time of sending as its timestamp."""

    fields: dict[str, str]
    stamped: bool = False


class Scenario(msgspec.Struct, frozen=True):
    """A run. acts None: those of the full run, as many as fit its length. timed: more of them.

    settle_sec: within so long after the last act everything must be settled. take_sec: so long the
    consumers may then still take what is there. fresh_sec: the longest that a close may wait for
    a reason that is not Redis'. governor: the
    command that it is started with, before its arguments. stepped: with clocks that can be
    stepped, where libfaketime is installed. settings: of the governor, beside those of every run.
    """

    plans: int
    rate: float
    seed: int
    acts: Mapping[Kind, int] | None = None
    timed: "Sequence[Act]" = ()
    longest_sec: float = 4.0
    consumers: Sequence[str] = ("apply", "apply", "index")
    governor: Sequence[str] = (sys.executable, "-m", "tests.soak.off_clock")
    fsync: str = "always"
    settle_sec: float = 60.0
    take_sec: float = 2.0
    fresh_sec: float = 1.2
    stepped: bool = True
    settings: Sequence[str] = ()

    @property
    def seconds(self) -> float:
        """How long plans are sent."""
        return self.plans / self.rate


def plans(scenario: Scenario) -> list[Plan]:
    """All plans in the order in which they are sent."""
    rng = random.Random(f"plans {scenario.seed}")
    sent: list[Plan] = []
    originals: list[Plan] = []
    for number in range(scenario.plans):
        if len(originals) > 20 and rng.random() < REPEATS:
            sent.append(_repeat(rng, originals))
            continue
        plan = _plan(rng, f"soak-{number}")
        sent.append(plan)
        if "qty" not in plan.fields or plan.fields["qty"] != "many":
            originals.append(plan)
    return sent


def acts(scenario: Scenario) -> list[Act]:
    """All acts, by time. Of each kind they are spread over the run, at random moments."""
    counts = scenario.acts
    if counts is None:
        share = scenario.seconds / FULL_RUN_SEC
        counts = {kind: max(1, round(count * share)) for kind, count in FULL_RUN.items()}
    rng = random.Random(f"acts {scenario.seed}")
    made = list(scenario.timed)
    for kind, count in counts.items():
        least, most = LASTS_SEC.get(kind, (0.0, 0.0))
        if kind is not Kind.TWIN:
            most = min(most, max(scenario.longest_sec, least if kind in _WAITS else 0.0))
        for number in range(count):
            at = (number + rng.random()) * scenario.seconds / count
            made.append(Act(at, kind, rng.uniform(min(least, most), most), rng.random()))
    return sorted(made, key=lambda act: act.at_sec)


def _plan(rng: random.Random, plan_id: str) -> Plan:
    fields = {
        "plan_id": plan_id,
        "symbol": f"S{rng.randrange(SYMBOLS)}USDT",
        "decision": "EXECUTE",
        "source": "soak",
        "kill_score": f"{rng.uniform(0, 0.5):.3f}",
    }
    if rng.random() < 0.5:
        fields |= rng.choice(_CLOSES)
    else:
        fields |= {"action": "OPEN_PROPOSED", "side": "BUY", "qty": "0.01", "price": "1000"}
    luck = rng.random()
    if luck < UNREADABLE:
        fields["qty"] = "many"
    elif luck < UNREADABLE + OTHER_DECISION:
        fields["decision"] = rng.choice(("SKIP", "BLOCKED", "HOLD"))
    elif luck < UNREADABLE + OTHER_DECISION + TOO_RISKY:
        fields["kill_score"] = "0.95"
    return Plan(fields, rng.random() < 0.3)


_CLOSES = (
    {"action": "FULL_CLOSE_PROPOSED", "reduceOnly": "true"},
    {"action": "PARTIAL_50", "side": "SELL", "qty": "0.5"},
    {"side": "CLOSE", "qty": "0.0"},
)


def _repeat(rng: random.Random, originals: Sequence[Plan]) -> Plan:
    """An earlier plan once more: a moment ago, a while ago, or any; as it was or contradicting."""
    window = rng.choice((3, 50, 1_000, len(originals)))
    plan = rng.choice(originals[-window:])
    change = rng.choice(("none", "none", "symbol", "kind", "decision"))
    fields = dict(plan.fields)
    if change == "symbol":
        fields["symbol"] = "OTHERUSDT"
    elif change == "kind":
        if fields.get("action") == "OPEN_PROPOSED":
            fields |= _CLOSES[0]
        else:
            fields |= {"action": "OPEN_PROPOSED", "reduceOnly": "false"}
    elif change == "decision":
        fields["decision"] = "SKIP" if fields["decision"] == "EXECUTE" else "EXECUTE"
    return Plan(fields, plan.stamped)
