"""What one pass of the allocation loop reads and decides, chunk by chunk."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import compress

from qtctl.domain.allocation import AllocationRules, Proposal, propose
from qtctl.domain.readings import EFF_FIELDS, TARGET_FIELDS, Unusable, assess, target_usd
from qtctl.domain.reasons import EffReason
from qtctl.wire.allocation import scores
from qtctl.wire.allocation.passes import Chunk
from qtctl.wire.allocation.scores import Reading
from qtctl.wire.allocation.symbols import Symbol
from qtctl.wire.schema.keys import EFFICIENCY, TARGET, Keys
from qtctl.wire.schema.pass_entry import Packing

TargetReading = dict[str, str] | Unusable


class PassDecisions:
    """What one pass reads and decides, chunk by chunk."""

    def __init__(
        self,
        rules: AllocationRules,
        keys: Keys,
        bad_keys: Mapping[str, str],
        *,
        keep: bool,
        packing: Packing | None,
    ) -> None:
        """keep: `kept` is wanted; packing: takes in what the history keeps."""
        self._rules, self._keep, self._at, self._packing = rules, keep, keys.at, packing
        self.reasons: Counter[EffReason] = Counter()
        self.gone: list[Symbol] = []
        self.kept: list[Proposal] = []
        self.bad_scores: dict[str, str] = {}
        self.bad_targets = dict(bad_keys)

    def decide(self, now: float, chunk: Chunk) -> list[Proposal]:
        """The proposals for these symbols; unreadable scores and targets are collected. now: epoch
        seconds on the server's clock."""
        rules = self._rules
        decided: list[Proposal | None] = []
        gone: list[Symbol] = []
        read = zip(chunk.symbols, chunk.targets, chunk.efficiencies, strict=True)
        for symbol, target, raw in read:
            if target is None:
                gone.append(symbol)
            else:
                decided.append(self._proposal(symbol.name, target, raw, now, rules))
        made = [proposal for proposal in decided if proposal is not None]
        if self._packing is not None:
            columns = _read_columns(chunk)
            if gone:
                there = [target is not None for target in chunk.targets]
                columns = [[*compress(column, there)] for column in columns]
            self._packing.add([*columns, *_decided_columns(decided)])
        self.gone += gone
        self.reasons.update([proposal.efficiency.reason for proposal in made])
        if self._keep:
            # Otherwise each chunk's memory is reused for the next while it is still in the cache.
            self.kept += made
        return made

    def _proposal(
        self,
        symbol: str,
        target: TargetReading,
        raw: Reading,
        now: float,
        rules: AllocationRules,
    ) -> Proposal | None:
        base = target_usd(target)
        if isinstance(base, Unusable):
            self.bad_targets[self._at(TARGET, symbol)] = base.problem
            return None
        efficiency = assess(raw, now, rules.stale_sec, rules.min_conf)
        if efficiency.reason is EffReason.UNUSABLE:
            self.bad_scores[self._at(EFFICIENCY, symbol)] = efficiency.problem
        proposal = propose(symbol, base, efficiency, now, rules)
        if math.isfinite(proposal.proposed_usd):
            return proposal
        self.bad_targets[self._at(TARGET, symbol)] = "target_usd is too large"
        return None


def _read_columns(chunk: Chunk) -> list[Sequence[str]]:
    """What the history keeps of what was read, by column."""
    names = [symbol.name for symbol in chunk.symbols]
    usd, timestamp, ts = scores.columns(chunk.target_replies, TARGET_FIELDS)
    at = [one or other for one, other in zip(timestamp, ts, strict=True)]
    return [names, usd, at, *scores.columns(chunk.efficiency_replies, EFF_FIELDS)]


def _decided_columns(decided: Sequence[Proposal | None]) -> list[Sequence[str]]:
    """And of what was made of it: reason and multiplier, "" where there is no proposal."""
    return [
        ["" if each is None else each.efficiency.reason for each in decided],
        ["" if each is None else each.multiplier_text for each in decided],
    ]
