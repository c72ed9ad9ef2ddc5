"""What the answers of `qtctl why` speak of: the facts, and words for what many of them have."""

from qtctl.cli.output import format
from qtctl.domain.diagnosis import Diagnosis, Permit, PlanSeen


class Narrator:
    """The facts, and what it takes to speak of them: a key's name, and whether times are UTC."""

    def __init__(self, facts: Diagnosis, target_key: str, utc: bool = True) -> None:
        self.facts = facts
        self.target_key = target_key
        self.utc = utc

    @property
    def last(self) -> PlanSeen:
        """The last plan that was meant to be carried out, where the cause is about one."""
        assert self.facts.last is not None
        return self.facts.last

    @property
    def plan(self) -> str:
        """Its plan_id."""
        return self.last.plan_id or f"the entry {self.last.entry_id}"

    @property
    def queued(self) -> str:
        """How long ago it was queued."""
        return self.ago(self.last.at)

    @property
    def permit(self) -> Permit:
        """The permit of that plan, where the cause is about one."""
        assert self.facts.permit is not None
        return self.facts.permit

    @property
    def issued(self) -> str:
        """How long ago the permit was issued."""
        return self.ago(self.permit.at)

    @property
    def window(self) -> str:
        """`in the last 1 h`, or what the cap left of it."""
        return f"in the last {format.span(self.facts.looked_back_sec or self.facts.since_sec)}"

    def at(self, seconds: float) -> str:
        """A time of today without its date."""
        return format.recent(seconds, self.facts.now, self.utc)

    def ago(self, seconds: float) -> str:
        """How long ago a time was."""
        return format.span(max(0.0, self.facts.now - seconds))
