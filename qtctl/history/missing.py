"""Gaps that show when a history is read: days whose files are gone, and what is damaged."""

from collections.abc import Collection, Sequence
from pathlib import Path

from qtctl.history import chain
from qtctl.history.chain import Link
from qtctl.history.day_reader import Damage
from qtctl.history.ids import DAY_MS, day_of, day_start_ms
from qtctl.history.rows import Gap
from qtctl.history.sealing import kept_days, sealed_days


def days(folder: Path, present: Sequence[str]) -> list[Gap]:
    """A gap for each day that is not there. What a sealed one held is known from the chain; between
    others, that the recorder did not run is all that can be said. Pruned days are no gaps."""
    links = chain.read(folder)
    kept, known = kept_days(links), {*sealed_days(links), *present}
    found = [day_gap(link) for day, link in kept.items() if day not in present]
    for day in _between(known):
        start = day_start_ms(day)
        detail = f"there is no file of {day}: it is gone, or nothing was recorded"
        found.append(_gap(day, start, start + DAY_MS, None, detail))
    return found


def day_gap(link: Link) -> Gap:
    """The gap that a sealed day leaves."""
    passes, decisions = link.rows.get("passes", 0), link.rows.get("decisions", 0)
    detail = (
        f"the file of {link.day} is gone; it held {passes:,} passes and {decisions:,} decisions"
    )
    return _gap(link.day, link.first_ms, link.last_ms, passes + decisions, detail)


def _gap(day: str, from_ms: int, to_ms: int, count: int | None, detail: str) -> Gap:
    return Gap("day_missing", from_ms, to_ms, "", count, detail, day_start_ms(day) + DAY_MS)


def _between(known: Collection[str]) -> list[str]:
    """The days between the first and the last that are not among them."""
    if not known:
        return []
    every = map(day_of, range(day_start_ms(min(known)), day_start_ms(max(known)), DAY_MS))
    return [day for day in every if day not in known]


def damage_gap(damage: Damage) -> Gap:
    """What could not be read, as a gap."""
    what = damage.table or "the file"
    return Gap(
        "day_damaged", damage.from_ms, damage.to_ms, "", None,
        f"{damage.day}: {what} can't be read in full: {damage.problem}", damage.to_ms,
    )  # fmt: skip
