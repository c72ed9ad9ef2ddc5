"""The JSON of `replay`."""

from collections import Counter
from typing import Any

import msgspec

from qtctl.evidence import replay
from qtctl.evidence.comparison import Tally
from qtctl.evidence.proposed import Proposed
from qtctl.evidence.window import Window

NOT_MODELLED = (
    "Upstream would have reacted to other verdicts, with other plans: that is not modelled."
)


class Found(msgspec.Struct, frozen=True):
    """A replay and the window that it is about."""

    window: Window
    result: replay.Replay


def as_record(found: Found) -> dict[str, Any]:
    """The whole of it; a part that was not asked for is null."""
    window, result = found.window, found.result
    return {
        "window": {
            "since_ms": window.since_ms, "until_ms": window.until_ms,
            "asked_ms": window.asked_ms, "hours": round(window.hours, 3),
            "gaps": len(window.gaps), "synthetic": window.synthetic,
        },
        "parity": {
            "holds": result.parity.holds, "decisions": result.parity.decisions,
            "proposals": result.parity.proposals, "unproven": result.parity.unproven,
            "uncounted": result.parity.uncounted, "differences": result.parity.differences,
            "listed": result.parity.listed,
        },
        "settings": {
            path: {"recorded": result.today.get(path), "replayed": value}
            for path, value in result.changes.items()
        },
        "governor": _governor(result),
        "allocation": None if result.proposed is None else _allocation(result.proposed),
        "curves": [
            {"setting": it.setting, "today": it.today, "points": list(it.decisions or it.proposals)}
            for it in result.curves
        ],
        "not_modelled": NOT_MODELLED,
    }  # fmt: skip


def _governor(result: replay.Replay) -> dict[str, Any] | None:
    alone, found = result.alone, result.in_sequence
    if alone is None or found is None:
        return None
    return {
        "decisions": found.decisions,
        "figures": _figures(alone, found),
        "verdicts": _verdicts(alone, found),
        "largest": result.largest,
        "unknown_alone": dict(alone.unknown),
        "unknown_in_sequence": dict(found.unknown),
    }


def _figures(alone: Tally, found: Tally) -> list[dict[str, Any]]:
    """One line for each figure: recorded, alone, in sequence, and the knock-on effect."""
    was = found.recorded_permits
    lines: list[tuple[str, str, float | None, float, float]] = [
        ("opens_permitted", "", was.count, alone.permits.count, found.permits.count),
        (
            "opens_permitted_usd", "USD",
            was.notional_usd, alone.permits.notional_usd, found.permits.notional_usd,
        ),
        ("opens_let_through", "", None, alone.let_through.count, found.let_through.count),
        (
            "opens_let_through_usd", "USD",
            None, alone.let_through.notional_usd, found.let_through.notional_usd,
        ),
        ("opens_held", "", None, alone.held.count, found.held.count),
        ("opens_held_usd", "USD", None, alone.held.notional_usd, found.held.notional_usd),
        (
            "opens_of_unknown_worth", "",
            was.unknown_notional, alone.permits.unknown_notional, found.permits.unknown_notional,
        ),
        ("closes_let_through", "", None, alone.closes_let_through, found.closes_let_through),
        ("closes_held", "", None, alone.closes_held, found.closes_held),
        (
            "downsizes", "",
            found.downsizes.recorded, alone.downsizes.replayed, found.downsizes.replayed,
        ),
        ("downsizes_added", "", None, alone.downsizes.added, found.downsizes.added),
        ("downsizes_prevented", "", None, alone.downsizes.prevented, found.downsizes.prevented),
        (
            "downsizes_take_off_usd", "USD", found.downsizes.recorded_off_usd,
            alone.downsizes.replayed_off_usd, found.downsizes.replayed_off_usd,
        ),
        ("unknown", "", None, alone.unknown.total(), found.unknown.total()),
    ]  # fmt: skip
    return [
        {
            "figure": name, "unit": unit, "recorded": _cents(recorded), "alone": _cents(one),
            "in_sequence": _cents(other), "knock_on": _cents(other - one),
        }
        for name, unit, recorded, one, other in lines
    ]  # fmt: skip


def _cents(value: float | None) -> float | None:
    return round(value, 2) + 0.0 if isinstance(value, float) else value


def _verdicts(alone: Tally, found: Tally) -> list[dict[str, Any]]:
    """The matrix, a line for each cell that is not empty: first those that change."""
    cells = {**alone.verdicts, **found.verdicts}
    order = sorted(
        cells,
        key=lambda cell: (
            cell[0] == cell[1],
            -max(alone.verdicts[cell], found.verdicts[cell]),
            cell,
        ),
    )
    return [
        {
            "recorded": cell[0], "replayed": cell[1],
            "alone": alone.verdicts[cell], "in_sequence": found.verdicts[cell],
        }
        for cell in order
    ]  # fmt: skip


def _allocation(found: Proposed) -> dict[str, Any]:
    sides = (found.recorded, found.replayed)
    figures = [
        {"figure": name, "unit": unit, "recorded": one, "replayed": other,
         "change": None if one is None or other is None else round(other - one, 6)}
        for name, unit, (one, other) in (
            *((f"multiplier_{name}", "", [getattr(s, name) for s in sides])
              for name in ("p10", "p50", "p90", "mean")),
            ("at_the_clamps", "share", [side.clamped for side in sides]),
            ("gross_proposed_usd", "USD", [side.gross_usd for side in sides]),
            ("turnover_usd", "USD", [side.turnover_usd for side in sides]),
        )
    ]  # fmt: skip
    cells = Counter(found.reasons)
    order = sorted(cells, key=lambda cell: (cell[0] == cell[1], -cells[cell], cell))
    return {
        "proposals": found.proposals,
        "passes": found.passes,
        "changed": found.changed,
        "unknown": found.unknown,
        "live_gross_usd": found.live_gross_usd,
        "figures": figures,
        "reasons": [
            {"recorded": cell[0], "replayed": cell[1], "proposals": cells[cell]} for cell in order
        ],
    }
