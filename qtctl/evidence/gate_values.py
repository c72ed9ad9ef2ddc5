"""The values of the gates that are about a history as a whole."""

from collections.abc import Sequence

import msgspec

from qtctl.evidence.parity import Parity
from qtctl.evidence.report import HOUR_MS
from qtctl.evidence.shadow import Shadow
from qtctl.evidence.window import Change, Window
from qtctl.history import verify
from qtctl.history.reader import History

DAY_MS = 86_400_000


class Value(msgspec.Struct, frozen=True):
    """What a gate is about: a value, or why there is none. at_most: what the value may be at most,
    where a part of it is unknown."""

    value: float | None
    why: str = ""
    at_most: float | None = None


def settled(shadow: Shadow, changes: Sequence[Change]) -> Value:
    """Hours since the window began or something changed in it, to within one pass."""
    window = shadow.window
    inside = [each for each in changes if window.since_ms < each.at_ms < window.until_ms]
    last = max(inside, default=None)
    since = window.since_ms if last is None else last.at_ms
    lasted = window.until_ms - since
    if last is None:
        lasted += shadow.last_interval
    return Value(round(lasted / HOUR_MS, 3), "" if last is None else last.what)


def service_changes(history: History) -> list[Change]:
    """Services that came up with another version or other settings than the one before."""
    found, last = [], dict[str, tuple[str, str]]()
    for row in history.services():
        if row.what == "ended" or row.service == "recorder":
            continue
        now = (row.version, row.settings)
        if last.setdefault(row.service, now) != now:
            what = "version" if last[row.service][0] != row.version else "settings"
            found.append(Change(row.at_ms, f"{row.service}: other {what}"))
            last[row.service] = now
    return found


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
    rows = history.halts(None, window.until_ms)
    resumed = max((row.at_ms for row in rows if row.what == "resumed"), default=None)
    halted = [row.at_ms for row in rows if row.what == "halted" and resumed is not None]
    before = [at for at in halted if resumed is not None and at <= resumed]
    if before:
        return Value((window.until_ms - max(before)) / DAY_MS)
    return Value(None, "no halt that was resumed is in the history")


def chain_breaks(history: History) -> Value:
    """How many days or lines of the chain are not what was sealed."""
    broken = [each for each in verify.verify(history.folder) if each.status == "differs"]
    return Value(len(broken), f"{broken[0].what}: {broken[0].detail}" if broken else "")


def came_out_again(found: Parity) -> Value:
    """The share that came out again for certain, of all; at most that and what is unproven."""
    unproven = sum(found.unproven.values())
    judged = found.decisions + found.proposals
    same = judged - found.differences
    if not judged + unproven:
        return Value(None, "nothing to judge again")
    why = "; ".join(f"{count:,} unproven: {each}" for each, count in found.unproven.items())
    return Value(same / (judged + unproven), why, (same + unproven) / (judged + unproven))
