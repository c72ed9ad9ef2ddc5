"""A window again, under other settings: parity first, then alone and in sequence, then curves."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from qtctl.evidence import parity
from qtctl.evidence.cases import Cases
from qtctl.evidence.comparison import Change, Largest, Tally
from qtctl.evidence.parity import Parity
from qtctl.evidence.proposed import Proposed, ProposedTally
from qtctl.evidence.rules import Changes, RulesBook
from qtctl.evidence.scenario import Scenario
from qtctl.evidence.sweep import Sweep
from qtctl.evidence.swept import Sweeping, Swept
from qtctl.evidence.window import Window
from qtctl.history import chain
from qtctl.history.reader import History

AT_ONCE = 20
"""So many values of a setting are replayed in one reading: each remembers a day of plans."""
Progress = Callable[[str], None]


class DecisionPoint(msgspec.Struct, frozen=True):
    """A value of a setting of the governor, and what it would have permitted: opens alone and in
    sequence, those in USD, and how many of them with a hint to downsize. unknown: decisions that
    can't be told alone."""

    value: Any
    today: bool
    alone_permits: int
    permits: int
    notional_usd: float
    downsizes: int
    unknown: int


class ProposalPoint(msgspec.Struct, frozen=True):
    """A value of a setting of the allocation loop, and its proposals: the mean multiplier, the
    share at the clamps, the share with reason ok, and Σ proposed in USD, on average."""

    value: Any
    today: bool
    mean: float | None
    clamped: float | None
    ok: float | None
    gross_usd: float


class Curve(msgspec.Struct, frozen=True):
    """A swept setting: today is its value at the end of the window, None where that is unknown."""

    setting: str
    today: Any
    decisions: Sequence[DecisionPoint] = ()
    proposals: Sequence[ProposalPoint] = ()


class Replay(msgspec.Struct, frozen=True):
    """What came of it. alone, in_sequence, largest: None where no setting of the governor changes;
    proposed: None where none of the allocation loop does. today: the changed settings as they were
    at the end of the window, by path; chain: its head, None while no day is sealed."""

    parity: Parity
    changes: Changes
    today: Changes
    alone: Tally | None
    in_sequence: Tally | None
    largest: Sequence[Change]
    proposed: Proposed | None
    curves: Sequence[Curve]
    chain: str | None = None


def run(
    history: History, window: Window, changes: Changes, sweeps: Sequence[Sweep] = (),
    progress: Progress = lambda doing: None,
) -> Replay:  # fmt: skip
    """The window under these changes. Where parity does not hold, nothing else is computed."""
    progress("parity")
    book = RulesBook(history)
    # In the same reading of the passes, which costs more than either.
    tally = ProposedTally(book, changes) if _of("allocation", changes) else None
    also = [] if tally is None else [tally.add]
    found = parity.check(history, window.since_ms, window.until_ms, also)
    today = {path: _today(book, found, path) for path in changes}
    head = chain.sealed_head(history.folder)
    if not found.holds or not (changes or sweeps):
        return Replay(found, changes, today, None, None, (), None, (), head)
    alone = in_sequence = None
    largest: Sequence[Change] = ()
    if _of("governor", changes):
        progress("decisions")
        pair, top = _Pair(changes), Largest()
        _judge(history, window, book, [pair], top)
        (alone, in_sequence), largest = pair.tallies, tuple(top.changes())
    proposed = None if tally is None else tally.result()
    curves = []
    for sweep in sweeps:
        progress(sweep.path)
        curves.append(_curve(history, window, book, found, changes, sweep))
    return Replay(found, changes, today, alone, in_sequence, largest, proposed, tuple(curves), head)


def _of(section: str, changes: Changes) -> bool:
    return any(path.startswith(f"{section}.") for path in changes)


def _today(book: RulesBook, found: Parity, path: str) -> Any:
    """A setting at the end of the window; None where that is unknown."""
    section, _, name = path.partition(".")
    if section == "allocation":
        return getattr(book.allocation(found.rules), name, None)
    rules = book.governor(found.limits)
    if rules is None:
        return None
    return getattr(rules.limits, name, getattr(rules.downsize, name, None))


class _Pair:
    """The same changes alone and in sequence, with their tallies."""

    def __init__(self, changes: Changes) -> None:
        self.alone = Scenario(changes, in_sequence=False)
        self.sequence = Scenario(changes, in_sequence=True)
        self.tallies = (Tally(), Tally())


def _judge(
    history: History, window: Window, book: RulesBook, pairs: Sequence[_Pair],
    largest: Largest | None = None,
) -> None:  # fmt: skip
    cases = Cases(history, book, window.since_ms, window.until_ms)
    for case in cases.seed():
        for pair in pairs:
            pair.sequence.seed(case)
    for case in cases.window():
        for pair in pairs:
            factor = pair.alone.factor(case)
            alone, found = pair.alone.take(case), pair.sequence.take(case)
            pair.tallies[0].add(case, alone, factor)
            pair.tallies[1].add(case, found, factor)
            if largest is not None:
                largest.add(case, alone, found, factor)


def _curve(
    history: History, window: Window, book: RulesBook, found: Parity, changes: Changes, sweep: Sweep
) -> Curve:
    today = _today(book, found, sweep.path)
    known = today in (None, *sweep.values)
    values = sweep.values if known else sorted((*sweep.values, today))
    wanted = [{**changes, sweep.path: value} for value in values]
    if sweep.path.startswith("allocation."):
        sweeping = Sweeping(book, wanted)
        for read in history.passes(window.since_ms, window.until_ms):
            sweeping.add(read)
        points = [
            _proposal_point(v, v == today, each, sweeping.passes)
            for v, each in zip(values, sweeping.result(), strict=True)
        ]
        return Curve(sweep.path, today, proposals=points)
    pairs = [_Pair(each) for each in wanted]
    for start in range(0, len(pairs), AT_ONCE):
        _judge(history, window, book, pairs[start : start + AT_ONCE])
    return Curve(
        sweep.path,
        today,
        [_decision_point(v, v == today, p) for v, p in zip(values, pairs, strict=True)],
    )


def _decision_point(value: Any, today: bool, pair: _Pair) -> DecisionPoint:
    alone, found = pair.tallies
    return DecisionPoint(
        value, today, alone.permits.count, found.permits.count,
        round(found.permits.notional_usd, 2), found.downsizes.replayed, alone.unknown.total(),
    )  # fmt: skip


def _proposal_point(value: Any, today: bool, found: Swept, passes: int) -> ProposalPoint:
    return ProposalPoint(
        value, today, found.mean, found.share(found.clamped), found.share(found.ok),
        round(found.usd / max(passes, 1), 2),
    )  # fmt: skip
