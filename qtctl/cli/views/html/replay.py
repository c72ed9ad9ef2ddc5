"""The page of `qtctl replay`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from qtctl import svg
from qtctl.cli.output.columns import number, text
from qtctl.cli.output.format import count
from qtctl.cli.views import replay as terminal
from qtctl.cli.views import replay_record
from qtctl.cli.views.history import gaps_in_words
from qtctl.cli.views.html import about, curves, page
from qtctl.cli.views.html.governor import gate_of
from qtctl.cli.views.html.page import Mark
from qtctl.cli.views.html.words import amount, are, change, moment
from qtctl.domain.reasons import Reason
from qtctl.evidence.replay import Replay
from qtctl.evidence.window import Window
from qtctl.svg import Bar, Part

KIND = "qtctl replay"
TITLE = "The same records, decided again"
WHAT = (
    "Every decision and every proposal of the window is decided again, from exactly what was known "
    "at the time. First by the settings that were in force: everything must come out as it was "
    "recorded, or this page would prove nothing. Then by the other settings that were asked for.",
    "“Alone” judges each decision on the counts that were recorded with it. “In sequence” lets "
    "each permit that is given or withheld change what comes after it: a permit more starts a "
    "cooldown. The difference between the two is the knock-on effect.",
)
CANT_TELL = (
    replay_record.NOT_MODELLED,
    "What would have been traded: a replay ends with the permit.",
    "The kill switch, the quarantine, ages, plans and scores stay as they were recorded.",
)


def replay_page(window: Window, found: Replay) -> str:
    """The whole page."""
    record = replay_record.as_record(replay_record.Found(window, found))
    sections = [
        about.words(WHAT, _says(window, found), _cant_tell(found)),
        page.section("basis", "Basis", "What the figures rest on", _basis(window, found),
                     about.gaps(window.gaps)),
        *_parity(found),
        *curves.parts(found),
        *_governor(record, found),
        *_allocation(record, found),
    ]  # fmt: skip
    lead, parity = about.span(window.since_ms, window.until_ms), found.parity
    strip = about.strip(
        window.gaps, found.chain, parity.rules, parity.limits,
        count(parity.decisions, "decision"), count(parity.proposals, "proposal"),
    )  # fmt: skip
    head = [about.warnings(synthetic=window.synthetic), _verdict(found)]
    return page.document(KIND, TITLE, lead, head, sections, strip=strip)


def _verdict(found: Replay) -> str:
    if found.parity.share is None:
        return page.verdict("PARITY CAN'T BE TOLD", "warn")
    if found.parity.holds:
        return page.verdict("PARITY HOLDS", "good")
    return page.verdict("PARITY DOES NOT HOLD", "bad")


def _says(window: Window, found: Replay) -> Iterator[str]:
    parity = found.parity
    if parity.share is None:
        yield "Nothing in the window could be judged again: so nothing is known of parity."
        return
    judged = f"{count(parity.decisions, 'decision')} and {count(parity.proposals, 'proposal')}"
    if parity.differences:
        yield (
            f"Parity does not hold: {parity.differences:,} of {judged} came out otherwise than "
            "they were recorded. So nothing else was computed."
        )
        return
    yield f"Parity holds: {judged} came out as they were recorded, to the byte."
    alone, sequence = found.alone, found.in_sequence
    if alone is not None and sequence is not None:
        was, now = sequence.recorded_permits, sequence.permits
        more = now.unknown_notional
        besides = f", beside {count(more, 'open')} of unknown worth" if more else ""
        yield (
            f"In sequence, {count(now.count, 'open')} would have got a permit, where {was.count:,} "
            f"did ({now.count - was.count:+,}); alone it would have been {alone.permits.count:,}."
        )
        yield (
            f"Those permits are worth {amount(now.notional_usd, 0, 'USD')}, where they were worth "
            f"{amount(was.notional_usd, 0, 'USD')}{besides}."
        )
    proposed = found.proposed
    if proposed is not None:
        one, other = proposed.recorded.gross_usd, proposed.replayed.gross_usd
        relative = f" ({change(other / one - 1)})" if one else ""
        yield (
            f"{proposed.changed:,} of {count(proposed.proposals, 'proposal')} would have had "
            f"another reason or multiplier; on average {amount(other, 0, 'USD')} would have been "
            f"proposed in all, where it was {amount(one, 0, 'USD')}{relative}."
        )
    yield from (curves.sentence_of(curve) for curve in found.curves)


def _cant_tell(found: Replay) -> Iterator[str]:
    yield from terminal.unproven(found.parity)
    if found.alone is not None:
        for why, rows in found.alone.unknown.items():
            yield f"{count(rows, 'decision')} can't be judged alone: {why}."
    yield from CANT_TELL


def _basis(window: Window, found: Replay) -> str:
    parity = found.parity
    rows = {"Window": about.span(window.since_ms, window.until_ms)}
    if about.begins_late(window.since_ms, window.asked_ms) and window.asked_ms is not None:
        rows["Asked from"] = f"{moment(window.asked_ms)}; what was before is unknown"
    judged = f"{count(parity.decisions, 'decision')}, {count(parity.proposals, 'proposal')}"
    rows |= {
        "All records": f"{moment(window.first_ms)} to {moment(window.last_ms)}",
        "Gaps in the window": gaps_in_words(window.gaps) or "none",
        "Judged again": judged,
        "Could not be judged again": f"{sum(parity.unproven.values()):,}",
        "Head of the chain": found.chain or "none: no day is sealed yet",
        "Rules in force at the end": parity.rules or "unknown: no passes",
        "Limits in force at the end": parity.limits or "unknown: no decisions",
    }
    for path, value in found.changes.items():
        rows[f"Setting {path}"] = f"{_today(found.today.get(path))} → {curves.plain(value)}"
    return page.facts("Window, records, settings", rows)


def _today(value: Any) -> str:
    return "unknown" if value is None else curves.plain(value)


def _parity(found: Replay) -> Iterator[page.Section]:
    if found.parity.holds:
        return
    listed = found.parity.listed
    yield page.section(
        "parity", "Differences", "What does not come out again",
        page.table(
            "Differences", listed, DIFFERENCES,
            f"{found.parity.differences:,} in all; the first {len(listed):,}.",
        ),
    )  # fmt: skip


# The governor and the allocation loop -------------------------------------------------------------


def _governor(record: dict[str, Any], found: Replay) -> Iterator[page.Section]:
    own = record["governor"]
    if own is None:
        return
    yield page.section(
        "governor", "Governor", "The governor under the other settings",
        page.charts(_verdicts(own["verdicts"])),
        page.table(
            "Opens, closes and hints", own["figures"], FIGURES,
            f"Of {count(own['decisions'], 'decision')}. Knock-on: in sequence less alone.",
        ),
        page.table(
            "Recorded × replayed", own["verdicts"], terminal.VERDICTS,
            "First what changes. “ok” is a permit.",
        ),
        page.table(
            "Decisions that change most", found.largest, CHANGES,
            "Closes whose verdict changes first, then opens by USD × change of the factor.",
        ),
    )  # fmt: skip


def _allocation(record: dict[str, Any], found: Replay) -> Iterator[page.Section]:
    own = record["allocation"]
    if own is None:
        return
    unknown = f"; {own['unknown']:,} {are(own['unknown'])} unknown" if own["unknown"] else ""
    yield page.section(
        "allocation", "Allocation loop", "The allocation loop under the other settings",
        page.table(
            "Proposals", own["figures"], terminal.PROPOSED,
            f"Of {count(own['proposals'], 'proposal')} in {count(own['passes'], 'pass', 'passes')}"
            f"{unknown}.",
        ),
        page.table("Recorded × replayed reasons", own["reasons"], terminal.REASONS),
    )  # fmt: skip


def _verdicts(cells: Sequence[dict[str, Any]]) -> str:
    """Each verdict as recorded, and in sequence below it."""
    if not cells:
        return ""
    was: Counter[str] = Counter()
    now: Counter[str] = Counter()
    for cell in cells:
        was[cell["recorded"]] += cell["in_sequence"]
        now[cell["replayed"]] += cell["in_sequence"]
    reasons = sorted({*was, *now}, key=lambda each: (-max(was[each], now[each]), each))
    moved = max(reasons, key=lambda each: abs(now[each] - was[each]))
    change_ = now[moved] - was[moved]
    sentence = (
        f"The verdict that changes most, in sequence, is {_named(moved)}: {was[moved]:,} "
        f"recorded, {now[moved]:,} replayed ({change_:+,})."
        if change_
        else "In sequence, every gate holds as many plans as was recorded."
    )
    bars = [
        Bar([Part(found[each], colour, f"{_named(each)}: {found[each]:,} {name}")],
            name=_named(each) if found is was else "", figure=f"{found[each]:,}")
        for each in reasons
        for found, colour, name in ((was, "c0", "recorded"), (now, "c1", "in sequence"))
    ]  # fmt: skip
    most = max(*was.values(), *now.values())
    return page.figure(
        sentence,
        svg.rows("Verdicts, recorded and in sequence", sentence,
                 svg.amount_axis("decisions", 0, 1.15 * most, ticks=4), bars),
        [Mark("recorded", "c0"), Mark("in sequence", "c1")],
    )  # fmt: skip


def _named(reason: str) -> str:
    return "permit" if reason == Reason.OK else gate_of(reason)


FIGURES = (
    terminal.FIGURES[0], text("unit", lambda row: row["unit"] or "count"), *terminal.FIGURES[2:],
)  # fmt: skip
CHANGES = (
    about.AT,
    *terminal.CHANGES[1:-1],
    number("factor", "factor", 4),
)
DIFFERENCES = (about.AT, *terminal.DIFFERENCES[1:])
