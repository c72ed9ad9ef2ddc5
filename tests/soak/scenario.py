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
    SERVER_CLOCK = "the server's clock stepped"
    HOST_CLOCK = "the clock of the governors' host stepped"


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
    Kind.SERVER_CLOCK: 8,
    Kind.HOST_CLOCK: 8,
}
"""How often in a run of FULL_RUN_SEC; longer and shorter ones have more and fewer."""

LASTS_SEC: Mapping[Kind, tuple[float, float]] = {
    Kind.STOP_GOVERNOR: (1.0, 4.0),
    Kind.TWIN: (6.0, 8.0),  # Longer than what is abandoned must lie idle.
    Kind.STOP_SERVER: (1.0, 4.0),
    Kind.PAUSE: (0.5, 3.0),
    Kind.MEMORY: (0.5, 3.0),
    Kind.SERVER_CLOCK: (1.0, 4.0),
    Kind.HOST_CLOCK: (1.0, 4.0),
    Kind.KILL_SERVER: (0.0, 1.0),
    Kind.KILL_REWRITING: (0.0, 0.1),
}
"""How long at least and at most, where it lasts."""


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
    """A run. acts None: those of the full run, as many as fit its length.

    settle_sec: within so long after the last act everything must be settled. governor: the
    command that it is started with, before its arguments.
    """

    plans: int
    rate: float
    seed: int
    acts: Mapping[Kind, int] | None = None
    longest_sec: float = 4.0
    consumers: Sequence[str] = ("apply", "apply", "index")
    governor: Sequence[str] = (sys.executable, "-m", "tests.soak.off_clock")
    fsync: str = "always"
    settle_sec: float = 60.0

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
    made = []
    for kind, count in counts.items():
        least, most = LASTS_SEC.get(kind, (0.0, 0.0))
        if kind is not Kind.TWIN:
            most = min(most, scenario.longest_sec)
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
