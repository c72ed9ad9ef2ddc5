"""What is known of a symbol, for the question why there was no trade; `causes.py` answers it."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from qtctl.domain.gates import Check
from qtctl.domain.plans import EXECUTE
from qtctl.domain.reasons import Verdict

_JUDGED = (Verdict.PERMITTED, Verdict.BLOCKED, Verdict.REJECTED)


class PermitState(StrEnum):
    """What became of a permit, as far as Redis can tell: a take leaves no trace there."""

    OPEN = "open"
    WITHDRAWN = "withdrawn"
    TAKEN = "taken"
    """It is gone before its time was over (or somebody deleted it)."""
    UNKNOWN = "taken_or_expired"


class Target(msgspec.Struct, frozen=True):
    """The live target: USD, or what is wrong with it; neither where there is none, and shadow then
    says that P2.9 runs without writing any, if it does."""

    usd: float | None = None
    problem: str = ""
    age_sec: float | None = None
    ttl_sec: float | None = None
    shadow: str = ""

    @property
    def there(self) -> bool:
        """True if its key exists."""
        return self.usd is not None or bool(self.problem)


class Kill(msgspec.Struct, frozen=True):
    """The strictest kill key now: level 0 is normal, 1 lets only closes pass, 2 stops everything.
    symbol: where it stops that one alone; since (epoch seconds), who, why: of the halt, if known.
    """

    key: str = ""
    value: str = ""
    level: int = 0
    symbol: str = ""
    since: float | None = None
    who: str = ""
    why: str = ""


class Alive(msgspec.Struct, frozen=True):
    """A governor with a record in Redis. late: its last pass is older than it may be; silent: why
    its port on this host gives no answer, where it was asked."""

    name: str
    version: str
    host: str
    last_pass_age_sec: float
    late: bool = False
    silent: str = ""

    @property
    def gone(self) -> bool:
        """True if it hangs or was killed: its record outlives it."""
        return self.late or bool(self.silent)


class Permit(msgspec.Struct, frozen=True):
    """A permit that was issued. at: epoch seconds; queue_age_sec: how long its plan had waited."""

    plan_id: str
    state: PermitState
    at: float
    queue_age_sec: float
    withdrawn_at: float | None = None
    ttl_sec: float | None = None


class PlanSeen(msgspec.Struct, frozen=True):
    """One plan of the symbol. at: when it was queued, epoch seconds; decision as sent; verdict and
    reason are empty where there is none, waits then says where it is (`queue` or `pending`)."""

    at: float
    plan_id: str
    entry_id: str
    decision: str
    verdict: str = ""
    reason: str = ""
    problem: str = ""
    waits: str = ""
    kind: str = ""

    @property
    def meant(self) -> bool:
        """True for a plan that was sent to be carried out, was judged, or could not be read."""
        return self.decision == EXECUTE or self.verdict in _JUDGED


class Diagnosis(msgspec.Struct, frozen=True):
    """All that the answer rests on. Ages in seconds, times in epoch seconds, server's clock.

    plans: the latest first. looked_back_sec: how far back the plan stream was read, where that is
    less than asked for. record: the decision about the last plan, check: the line of its worksheet
    that blocked it. passes_at: when the rate gates let an open pass again, None where they do now;
    held_by: the gate that is the last to.
    lag None is unknown.
    """

    symbol: str
    now: float
    since_sec: float
    target: Target = Target()
    kill: Kill = Kill()
    governors: tuple[Alive, ...] = ()
    not_ready: str = ""
    group_there: bool = True
    lag: int | None = 0
    pending: int = 0
    wrong_types: tuple[str, ...] = ()
    """Keys whose type keeps pending plans from their verdict, in words."""
    plans: tuple[PlanSeen, ...] = ()
    looked_at: int = 0
    from_history: int = 0
    """How many of the plans only the history has."""
    looked_back_sec: float | None = None
    nameless: int = 0
    """Plans in this time that could not be read and name no symbol."""
    record: Mapping[str, str] = {}
    check: Check | None = None
    failed: tuple[Check, ...] = ()
    """All the lines that failed, that one first."""
    passes_at: float | None = None
    held_by: str = ""
    permits: Mapping[str, Permit] = {}
    plan_ids: str = ""
    """What is wrong with the ids of the plan stream, and what follows from it."""
    plan_ids_fix: str = ""
    """The way out, step by step."""

    @property
    def last(self) -> PlanSeen | None:
        """The latest plan that was meant to be carried out, or could not be read."""
        return next((plan for plan in self.plans if plan.meant), None)

    @property
    def permit(self) -> Permit | None:
        """The permit of that plan."""
        return None if self.last is None else self.permits.get(self.last.plan_id)
