"""What one pass of the allocation loop reads and decides, chunk by chunk."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

from qtctl.domain.allocation import AllocationRules, Proposal, propose
from qtctl.domain.readings import (
    EFF_FIELDS,
    TARGET_FIELDS,
    Unusable,
    assess_by,
    score_time,
    target_usd,
)
from qtctl.domain.reasons import EffReason
from qtctl.services.remembered import Remembered
from qtctl.wire.allocation import scores
from qtctl.wire.allocation.passes import Chunk
from qtctl.wire.allocation.symbols import Symbol
from qtctl.wire.schema.keys import EFFICIENCY, TARGET, Keys
from qtctl.wire.schema.pass_entry import Packing


class PassDecisions:
    """What one pass reads and decides, chunk by chunk."""

    def __init__(
        self,
        rules: AllocationRules,
        keys: Keys,
        bad_keys: Mapping[str, str],
        remembered: Remembered,
        *,
        keep: bool,
        packing: Packing | None,
    ) -> None:
        """remembered: by the same rules; keep: `kept` is wanted; packing: takes in what the history
        keeps."""
        self._rules, self._keep, self._at, self._packing = rules, keep, keys.at, packing
        self._remembered = remembered
        self.reasons: Counter[EffReason] = Counter()
        self.gone: list[Symbol] = []
        self.kept: list[Proposal] = []
        self.bad_scores: dict[str, str] = {}
        self.bad_targets = dict(bad_keys)

    def decide(self, now: float, chunk: Chunk) -> list[Proposal]:
        """The proposals for these symbols; unreadable scores and targets are collected. now: epoch
        seconds on the server's clock."""
        names = [symbol.name for symbol in chunk.symbols]
        usd, *times = scores.columns(chunk.targets, TARGET_FIELDS)
        decided = self._remembered.recall(now, names, usd, chunk.efficiencies)
        gone: list[Symbol] = []
        for place, known in enumerate(decided):
            if known is not None:
                continue
            if chunk.targets[place] is None:
                gone.append(chunk.symbols[place])
            else:
                decided[place] = self._proposal(
                    names[place], chunk.targets[place], chunk.efficiencies[place], now
                )
        made = [proposal for proposal in decided if proposal is not None]
        if self._packing is not None:
            columns = [
                names, usd, [one or other for one, other in zip(*times, strict=True)],
                *scores.columns(chunk.efficiencies, EFF_FIELDS), *_decided_columns(decided),
            ]  # fmt: skip
            if gone:
                there = [target is not None for target in chunk.targets]
                columns = [[*compress(column, there)] for column in columns]
            self._packing.add(columns)
        self.gone += gone
        self.reasons.update([proposal.reason for proposal in made])
        if self._keep:
            # Otherwise each chunk's memory is reused for the next while it is still in the cache.
            self.kept += made
        return made

    def _proposal(self, symbol: str, target: Any, score: Any, now: float) -> Proposal | None:
        """target, score: the replies about them."""
        rules = self._rules
        read = scores.reading(target, TARGET_FIELDS)
        assert read is not None, "this target exists"
        base = target_usd(read)
        if isinstance(base, Unusable):
            self.bad_targets[self._at(TARGET, symbol)] = base.problem
            return None
        raw = scores.reading(score, EFF_FIELDS)
        at = score_time(raw, now) if isinstance(raw, dict) else None
        efficiency = assess_by(raw, at, now, rules.stale_sec, rules.min_conf)
        if efficiency.reason is EffReason.UNUSABLE:
            self.bad_scores[self._at(EFFICIENCY, symbol)] = efficiency.problem
        proposal = propose(symbol, base, efficiency, rules)
        if not math.isfinite(proposal.proposed_usd):
            self.bad_targets[self._at(TARGET, symbol)] = "target_usd is too large"
            return None
        if at is not None and proposal.score is not None:
            self._remembered.remember(now, target[0], score, at, proposal)
        return proposal


def _decided_columns(decided: Sequence[Proposal | None]) -> list[Sequence[str]]:
    """What was made of what was read, for the history: reason and multiplier, "" where there is no
    proposal."""
    return [
        ["" if each is None else each.reason for each in decided],
        ["" if each is None else each.multiplier_text for each in decided],
    ]
