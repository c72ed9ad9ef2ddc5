"""The report: what both loops did over a window, each figure with what it is a share of.

docs/evidence.md has the formulas. What is not known is None, and never 0.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from qtctl.domain.names import ascii_upper
from qtctl.errors import NotFoundError
from qtctl.evidence.governing import Governing, Governor
from qtctl.evidence.quantiles import quantile, weighted
from qtctl.evidence.shadow import Part, Shadow
from qtctl.evidence.track import ONE, Largest, Track, of_all
from qtctl.evidence.window import Change, Coverage, Window, coverage
from qtctl.history import chain
from qtctl.history.reader import History
from qtctl.history.rows import Gap

HOUR_MS = 3_600_000
MOST_BINS = 30
_WIDTHS = [base * 10**power for power in range(1, 12) for base in (5, 10, 20)]
"""Of a step of the distribution, in ten-thousandths."""


class About(msgspec.Struct, frozen=True):
    """What a report is about. observed_ms: how much of the window passes cover; late: passes that
    came after their day was sealed, and count for coverage alone; unknown_rules: rules that the
    history lacks, so that an interval of 10 s was taken and clamps are unknown; chain: its head,
    None while no day is sealed; rules, limits: digests of what both loops went by at the end, ""
    without passes or decisions."""

    since_ms: int
    until_ms: int
    asked_ms: int | None
    first_ms: int
    last_ms: int
    observed_ms: int
    synthetic: bool
    late: int
    unknown_rules: int
    gaps: list[Gap]
    chain: str | None
    rules: str
    limits: str


class Bin(msgspec.Struct, frozen=True):
    """Multipliers from low up to high, without it: their share of the time in which the score was
    ok."""

    low: float
    high: float
    share: float


class Multipliers(msgspec.Struct, frozen=True):
    """Of the time in which the score was ok. at_clamps: share of that time at min_mult or max_mult,
    None where the rules are not known."""

    p10: float | None
    p50: float | None
    p90: float | None
    at_clamps: float | None


class SymbolFigures(msgspec.Struct, frozen=True):
    """A symbol. observed_ms: how long it was in passes; reasons: shares of that; flips_per_hour,
    turnover in USD per hour of that."""

    symbol: str
    observed_ms: int
    reasons: dict[str, float]
    multiplier: Multipliers
    flips: int
    flips_per_hour: float | None
    turnover_usd_per_hour: float | None
    live_turnover_usd_per_hour: float | None
    largest_usd: Largest | None
    largest_share: Largest | None
    largest_step: Largest | None


class Gross(msgspec.Struct, frozen=True):
    """Σ proposed / Σ live − 1 of each pass, without its sign but for `largest`; passes: how many
    there were, without: those without live exposure, which have none."""

    passes: int
    without: int
    p50: float | None
    p95: float | None
    p99: float | None
    largest: Largest | None


class Allocation(msgspec.Struct, frozen=True):
    """The allocation loop. symbols: how many were in passes; symbol_hours: their observed time;
    distribution: of the multiplier, without holes between its ends."""

    coverage: Coverage
    coverage_share: float | None
    symbols: int
    symbol_hours: float
    reasons: dict[str, float]
    multiplier: Multipliers
    distribution: list[Bin]
    flips: int
    flips_per_symbol_hour: float | None
    turnover_usd_per_hour: float | None
    live_turnover_usd_per_hour: float | None
    gross: Gross
    largest_usd: Largest | None
    largest_share: Largest | None
    largest_step: Largest | None


class Report(msgspec.Struct, frozen=True):
    """The whole. symbols: most flips per hour first; parts: the window in equal parts, for trends;
    changes: of version, rules and limits."""

    window: About
    allocation: Allocation | None
    symbols: list[SymbolFigures]
    governor: Governor
    parts: list[Part]
    changes: list[Change]


def make(history: History, window: Window, symbols: Collection[str] = ()) -> Report:
    """The report of a window; symbols: only these. Errors: NotFoundError for a symbol that is in
    neither passes nor decisions of the window."""
    shadow = Shadow(history, window, symbols).read()
    governing = Governing(history, window, symbols)
    governor = governing.read()
    refuse_unknown(symbols, shadow.tracks, governing.symbols)
    for at_ms, reason in governing.times:
        shadow.part(at_ms).judged(reason)
    figures = [symbol_figures(name, track) for name, track in shadow.tracks.items()]
    figures.sort(key=lambda one: (-(one.flips_per_hour or 0), one.symbol))
    return Report(
        about(history, shadow, governing),
        allocation(shadow, figures) if figures else None,
        figures,
        governor,
        shadow.parts,
        sorted(shadow.changes + governing.changes),
    )


def refuse_unknown(
    symbols: Collection[str], tracks: Mapping[str, Track], planned: Collection[str]
) -> None:
    """Errors: NotFoundError for the first symbol that nothing is known of."""
    there = {ascii_upper(each) for each in (*tracks, *planned)}
    for symbol in symbols:
        if ascii_upper(symbol) not in there:
            raise NotFoundError(
                f"symbol {symbol} is in no pass and no decision of that window: without --symbols "
                "all are shown"
            )


def about(history: History, shadow: Shadow, governing: Governing) -> About:
    """What a report is about."""
    return About(
        **msgspec.structs.asdict(shadow.window), observed_ms=shadow.clock, late=shadow.late,
        unknown_rules=shadow.unknown_rules, chain=chain.sealed_head(history.folder),
        rules=shadow.rules, limits=governing.limits,
    )  # fmt: skip


def symbol_figures(symbol: str, track: Track) -> SymbolFigures:
    """The figures of a symbol whose window has ended."""
    observed = track.observed_ms
    return SymbolFigures(
        symbol,
        observed,
        shares(track.ms),
        multipliers(track.multipliers(), track.at_clamps_ms, track.clamps_known_ms),
        track.flips,
        per_hour(track.flips, observed),
        per_hour(track.turnover, observed),
        per_hour(track.live_turnover, observed),
        _largest(track.highest_usd, symbol),
        _largest(track.highest_pct, symbol),
        _largest(track.highest_step, symbol),
    )


def allocation(shadow: Shadow, figures: list[SymbolFigures]) -> Allocation:
    """The figures of all symbols together."""
    tracks = shadow.tracks.values()
    observed = sum(track.observed_ms for track in tracks)
    times, weights = of_all(tracks)
    covered = coverage(shadow.times, shadow.window)
    flips = sum(track.flips for track in tracks)
    return Allocation(
        covered,
        covered.share,
        len(figures),
        observed / HOUR_MS,
        shares(times),
        multipliers(
            weights,
            sum(track.at_clamps_ms for track in tracks),
            sum(track.clamps_known_ms for track in tracks),
        ),
        distribution(weights),
        flips,
        per_hour(flips, observed),
        per_hour(sum(track.turnover for track in tracks), shadow.clock),
        per_hour(sum(track.live_turnover for track in tracks), shadow.clock),
        gross(shadow),
        most(each.largest_usd for each in figures),
        most(each.largest_share for each in figures),
        most(each.largest_step for each in figures),
    )


def gross(shadow: Shadow) -> Gross:
    """How far the proposals would have moved gross exposure."""
    changes = sorted(abs(change) for change in shadow.gross)
    p50, p95, p99 = (quantile(changes, share) for share in (0.5, 0.95, 0.99))
    largest = _largest(shadow.gross_at, "")
    return Gross(len(changes), shadow.without_gross, p50, p95, p99, largest)


def shares(times: Mapping[str, int]) -> dict[str, float]:
    """Of the time in each reason, the longest first."""
    total = sum(times.values())
    ordered = sorted(times.items(), key=lambda each: (-each[1], each[0]))
    return {reason: lasted / total for reason, lasted in ordered} if total else {}


def multipliers(weights: Mapping[int, int], at_clamps: int, known: int) -> Multipliers:
    """By how long each stood."""
    p10, p50, p90 = weighted(weights, (0.1, 0.5, 0.9))
    return Multipliers(_ratio(p10), _ratio(p50), _ratio(p90), at_clamps / known if known else None)


def distribution(weights: Mapping[int, int]) -> list[Bin]:
    """How the multipliers lie, in at most MOST_BINS steps of a round width."""
    total = sum(weights.values())
    if not total:
        return []
    low, high = min(weights), max(weights)
    width = next(w for w in _WIDTHS if high // w - low // w < MOST_BINS)
    first = low // width
    times = [0] * (high // width - first + 1)
    for e4, lasted in weights.items():
        times[e4 // width - first] += lasted
    return [
        Bin((first + n) * width / ONE, (first + n + 1) * width / ONE, lasted / total)
        for n, lasted in enumerate(times)
    ]


def _ratio(e4: int | None) -> float | None:
    return None if e4 is None else e4 / ONE


def per_hour(amount: float, observed_ms: int) -> float | None:
    """A rate; None where no time was observed."""
    return amount * HOUR_MS / observed_ms if observed_ms else None


def _largest(found: tuple[float, int] | None, symbol: str) -> Largest | None:
    return None if found is None else Largest(found[0], symbol, found[1])


def most(found: Iterable[Largest | None]) -> Largest | None:
    """The largest, whatever its sign."""
    return max((each for each in found if each), key=lambda each: abs(each.value), default=None)
