"""The head of each page: which window, with which gaps, on which records, by which settings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from qtctl.cli.output import format
from qtctl.cli.output.columns import text, word
from qtctl.cli.output.format import count
from qtctl.cli.views.history import gaps_in_words
from qtctl.cli.views.html import page
from qtctl.cli.views.html.words import amount, moment
from qtctl.evidence.report import About
from qtctl.evidence.window import Change
from qtctl.history.rows import Gap

MOST_GAPS = 20
SYNTHETIC = (
    "SYNTHETIC: qtctl simulate made this history. It shows what such a page looks like, and says "
    "nothing about any market."
)
GAPS = (
    text("from (UTC)", lambda gap: moment(gap.from_ms)),
    text("to (UTC)", lambda gap: moment(gap.to_ms)),
    text("length", lambda gap: format.span((gap.to_ms - gap.from_ms) / 1000)),
    word("kind", "kind"),
    text("entries missing", lambda gap: "unknown" if gap.count is None else f"{gap.count:,}"),
    text("what happened", "detail", fold=True),
)
AT = text("time (UTC)", lambda row: moment(row.at_ms), named="at_ms")
"""When something happened, in every table of such things."""
CHANGES = (AT, text("what changed", "what"))


def span(since_ms: int, until_ms: int) -> str:
    """A window in words."""
    hours = format.span((until_ms - since_ms) / 1000)
    return f"{moment(since_ms)} to {moment(until_ms)}, {hours}"


def warnings(*, synthetic: bool, weaker: Sequence[str] = ()) -> str:
    """What must be read before anything else. weaker: see Readiness."""
    found = [SYNTHETIC] if synthetic else []
    if weaker:
        found.append(f"WEAKER POLICY: lets more pass than the default in {', '.join(weaker)}.")
    return "\n".join(page.paragraph(each, style="note") for each in found)


def begins_late(since_ms: int, asked_ms: int | None) -> bool:
    """True if more was asked for than there is."""
    return asked_ms is not None and since_ms - asked_ms > 60_000


def strip(
    gaps: Sequence[Gap], chain: str | None, rules: str, limits: str, *of: str
) -> Iterator[str]:
    """What the figures are of, for the top of a page. of: the denominators."""
    yield from of
    yield gaps_in_words(gaps) or "no gaps"
    yield f"head of the chain {chain or 'none'}"
    yield f"rules {rules or 'unknown'}"
    yield f"limits {limits or 'unknown'}"


def words(what: Iterable[str], says: Iterable[str], cant_tell: Iterable[str]) -> page.Section:
    """The section that comes first: what the page is of, says, and can't tell."""
    return page.section(
        "words", "In plain words", "In plain words",
        page.heading("What this is"), *map(page.paragraph, what),
        page.heading("What it says"), page.bullets(says),
        page.heading("What it can't tell"), page.bullets(cant_tell),
    )  # fmt: skip


def facts(about: About, more: Mapping[str, str] = {}) -> str:
    """What the figures rest on."""
    rows = {"Window": span(about.since_ms, about.until_ms)}
    if begins_late(about.since_ms, about.asked_ms) and about.asked_ms is not None:
        rows["Asked from"] = f"{moment(about.asked_ms)}; what was before the window is unknown"
    observed = format.span(about.observed_ms / 1000)
    lasted = about.until_ms - about.since_ms
    rows["Covered by passes"] = f"{observed} of {format.span(lasted / 1000)}"
    rows["All records"] = f"{moment(about.first_ms)} to {moment(about.last_ms)}"
    rows["Gaps in the window"] = gaps_in_words(about.gaps) or "none"
    if about.late:
        passes = count(about.late, "pass", "passes")
        rows["Late"] = f"{passes}: counted as made, and nowhere else"
    if about.unknown_rules:
        unknown = amount(about.unknown_rules)
        rows["Unknown rules"] = f"{unknown}: 10 s is taken as interval, and clamps are unknown"
    rows["Head of the chain"] = about.chain or "none: no day is sealed yet"
    rows["Rules in force at the end"] = about.rules or "unknown: no passes"
    rows["Limits in force at the end"] = about.limits or "unknown: no decisions"
    return page.facts("Window, records, rules", {**rows, **more})


def gaps(found: Sequence[Gap]) -> str:
    """The longest gaps."""
    longest = sorted(found, key=lambda gap: (gap.from_ms - gap.to_ms, gap.from_ms))[:MOST_GAPS]
    more = len(found) - len(longest)
    note = f"The {MOST_GAPS} longest; {more:,} more are shorter." if more else ""
    return page.table("Gaps in the window", longest, GAPS, note)


def changes(found: Sequence[Change]) -> str:
    """What changed in the window."""
    latest = sorted(found, reverse=True)[:MOST_GAPS]
    more = len(found) - len(latest)
    note = f"The {MOST_GAPS} latest; {more:,} more are earlier." if more else "Latest first."
    return page.table("Changes of version, rules and limits", latest, CHANGES, note)
