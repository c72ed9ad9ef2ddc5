"""The values of the gates that are about a history as a whole."""

import math
from collections.abc import Sequence

import msgspec

from qtctl.evidence.in_use import InUse
from qtctl.evidence.parity import Parity
from qtctl.evidence.report import HOUR_MS
from qtctl.evidence.shadow import Shadow
from qtctl.evidence.window import Change, Window
from qtctl.history import verify
from qtctl.history.ids import DAY_MS, day_of, day_start_ms
from qtctl.history.reader import History

_SEALED_AFTER_MS = HOUR_MS
"""So long after its end a day is sealed at the latest, while a recorder runs."""


class Value(msgspec.Struct, frozen=True):
    """What a gate is about: a value, or why there is none. at_most: what the value may be at most,
    where a part of it is unknown."""

    value: float | None
    why: str = ""
    at_most: float | None = None


def settled(shadow: Shadow, changes: Sequence[Change]) -> Value:
    """Hours since the window began or something changed in it, to within one pass. Where nothing
    changed and the history is shorter than the window, it may be more: nobody knows."""
    window = shadow.window
    inside = [each for each in changes if window.since_ms < each.at_ms < window.until_ms]
    last = max(inside, default=None)
    if last is not None:
        return Value(round((window.until_ms - last.at_ms) / HOUR_MS, 3), last.what)
    hours = round((window.until_ms - window.since_ms + shadow.last_interval) / HOUR_MS, 3)
    if window.asked_ms is None:
        return Value(hours)
    return Value(hours, "the history begins there: what was before is unknown", math.inf)


def service_changes(history: History) -> list[Change]:
    """Services that came up with another version or other settings than the one before."""
    found = dict[str, InUse]()
    for row in history.services():
        if row.service == "recorder":
            continue
        in_use = found.get(row.service)
        if in_use is None:
            in_use = InUse(row.service, "version", "settings", recent_ms=None)
            found[row.service] = in_use
        if row.what == "ended":
            in_use.ended(row.name)
        else:
            in_use.note(row.at_ms, row.name, row.version, row.settings)
    return [change for each in found.values() for change in each.changes]


def longest_gap(shadow: Shadow) -> Value:
    """The longest gap that is recorded, or pause between passes, seconds."""
    window = shadow.window
    cut = [
        min(gap.to_ms, window.until_ms) - max(gap.from_ms, window.since_ms)
        for gap in window.gaps
        if gap.kind != "two_loops"
    ]
    return Value(max([*cut, shadow.longest_pause_ms, 0]) / 1000)


def last_drill(history: History, window: Window) -> Value:
    """Days from the last halt that was resumed to the end of the window."""
    rows = sorted(history.halts(None, window.until_ms), key=lambda row: (row.at_ms, row.what))
    halted, drill = dict[str, int](), None
    for row in rows:
        if row.what == "halted":
            halted[row.key] = row.at_ms
        elif row.key in halted:
            drill = halted.pop(row.key)
    if drill is None:
        return Value(None, "no halt that was resumed is in the history")
    return Value((window.until_ms - drill) / DAY_MS)


def chain_breaks(history: History, window: Window) -> Value:
    """How many days or lines of the chain are not what was sealed; unknown where none is, but a
    finished day of the window has no seal that would show it."""
    found = list(verify.verify(history.folder))
    broken = [each for each in found if each.status == "differs"]
    if broken:
        return Value(len(broken), f"{broken[0].what}: {broken[0].detail}")
    first = day_of(window.since_ms)
    bare = [
        each.what
        for each in found
        if each.status == "open"
        and each.what >= first
        and day_start_ms(each.what) + DAY_MS + _SEALED_AFTER_MS <= window.until_ms
    ]
    if bare:
        return Value(None, f"{bare[0]} is over and not sealed: nothing would show a change")
    return Value(0)


def came_out_again(found: Parity) -> Value:
    """The share that came out again for certain, of all; at most that and what is unproven."""
    unproven = sum(found.unproven.values())
    judged = found.decisions + found.proposals
    same = judged - found.differences
    if not judged + unproven:
        return Value(None, "nothing to judge again")
    why = "; ".join(f"{count:,} unproven: {each}" for each, count in found.unproven.items())
    return Value(same / (judged + unproven), why, (same + unproven) / (judged + unproven))
