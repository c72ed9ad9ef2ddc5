"""index.html of a folder of evidence: where a person begins to read."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from qtctl.cli.output import format
from qtctl.cli.output.columns import Column, text, texts
from qtctl.cli.output.format import count
from qtctl.cli.views.history import gaps_in_words, size
from qtctl.cli.views.html import about, page
from qtctl.cli.views.html.readiness import GATES, STYLES
from qtctl.cli.views.html.words import moment
from qtctl.cli.views.replay_record import Found
from qtctl.evidence.manifest import CHAIN, MANIFEST, Manifest
from qtctl.evidence.parity import Parity
from qtctl.evidence.readiness import Readiness
from qtctl.evidence.report import Report
from qtctl.evidence.settings_record import ServiceChange, SettingsRecord
from qtctl.evidence.verifying import MADE_ANEW, OPEN_DAYS
from qtctl.evidence.window import Window
from qtctl.history.chain import Link
from qtctl.history.rows import HaltRow, ServerRow, ServiceRow

KIND = "qtctl evidence"
TITLE = "Evidence"
MOST_ROWS = 50
"""Of a table; the JSON beside it has all."""
READ_FIRST = ("readiness.html", "report.html", "replay.html", "proof/report.html")
FOOTER = "Made by qtctl {version}. manifest.json has the SHA-256 of every file beside this page."


class Contents(NamedTuple):
    """What the page, and the folder, are made from. days: that have a file."""

    window: Window
    report: Report
    readiness: Readiness
    replay: Found
    settings: SettingsRecord
    halts: Sequence[HaltRow]
    services: Sequence[ServiceRow]
    servers: Sequence[ServerRow]
    days: Sequence[str]
    links: Sequence[Link]


def evidence_page(manifest: Manifest, digest: str, found: Contents) -> str:
    """The whole page; it shows the digest exactly once."""
    verdict = manifest.about.verdict
    head = [
        about.warnings(synthetic=found.window.synthetic, weaker=found.readiness.weaker),
        page.verdict(verdict, STYLES[verdict]),
    ]
    sections = [
        page.section(
            "about", "In short", "In short",
            page.facts("What this is about", _about(manifest, found)),
        ),
        page.section(
            "digest", "The digest", "The digest: write it down",
            page.paragraph(
                "It stands for every byte of this folder. Keep it where the folder is not, in a "
                "ticket or in minutes: who has it can tell whether anything here was changed.",
            ),
            f"<p class='digest'>{digest}</p>",
        ),
        page.section("files", "What is in it", "What is in it", *_files(manifest)),
        page.section("gates", "Gates", "Gate by gate", page.table(
            "Gates of the whole", found.readiness.gates, GATES,
            "Each symbol's own gates are in readiness.html.",
        )),
        page.section(
            "changes", "Versions and settings", "Versions and settings", *_changes(found.settings)
        ),
        page.section("halts", "Halts and gaps", "Halts and gaps", *_noticed(found)),
        page.section("days", "Days", "The days of the history", *_days(found)),
        page.section(
            "check", "How to check it", "How to check it", *_check(manifest, found.window)
        ),
    ]  # fmt: skip
    lead = about.span(found.window.since_ms, found.window.until_ms)
    return page.document(KIND, TITLE, lead, head, sections, FOOTER)


def _about(manifest: Manifest, found: Contents) -> dict[str, str]:
    own, made, ready = manifest.about, manifest.made, found.readiness.window
    judged = about.span(ready.since_ms, ready.until_ms)
    return {
        "Window": about.span(own.since_ms, own.until_ms),
        "Symbols": ", ".join(own.symbols) or f"all {len(found.readiness.symbols):,}",
        "Readiness": f"{own.verdict}: {judged}, by policy {own.policy}",
        "Parity": _parity(own.parity, found.replay.result.parity),
        "Proofs": own.proofs or "left out",
        "Gaps in the window": gaps_in_words(found.window.gaps) or "none",
        "Head of the chain": own.chain or "none: no day was sealed yet",
        "Made": f"{moment(made.at_ms)} by {made.by}, qtctl {made.version}, {made.commit}",
    }


def _parity(holds: bool | None, found: Parity) -> str:
    judged = f"{count(found.decisions, 'decision')} and {count(found.proposals, 'proposal')}"
    if holds is None:
        return "unknown: nothing in the window could be judged again"
    if holds:
        return f"holds: {judged} come out as they were recorded, to the byte"
    return f"DOES NOT HOLD: {found.differences:,} of {judged} come out otherwise"


def _files(manifest: Manifest) -> Iterator[str]:
    order = {name: place for place, name in enumerate(READ_FIRST)}
    files = sorted(manifest.files, key=lambda each: order.get(each.name, len(order)))
    rows = [(each.name, each.what, size(each.bytes)) for each in files]
    rows.append((MANIFEST, "the SHA-256 of every file", ""))
    lines = "\n".join(
        f"<tr><th scope='row'><a href='{page.text(name)}'>{page.text(name)}</a></th>"
        f"<td>{page.text(what)}</td><td class='num'>{page.text(bytes_)}</td></tr>"
        for name, what, bytes_ in rows
    )
    yield (
        "<div class='wide'><table class='short'><caption>Files, those for people first</caption>"
        "<thead><tr><th scope='col'>file</th><th scope='col'>what it is</th>"
        "<th scope='col' class='num'>size</th></tr></thead>"
        f"<tbody>\n{lines}\n</tbody></table></div>"
    )
    yield page.table(
        "Left out", manifest.left_out, (text("what", "what"), text("why", "why", fold=True))
    )


def _listed(
    caption: str, rows: Sequence[Any], file: str, columns: Sequence[Column], empty: str
) -> str:
    """The last rows of many, with where all of them are."""
    if not rows:
        return page.paragraph(f"{caption}: {empty}.")
    many = f"The last {MOST_ROWS} of {len(rows):,}: {file} has all."
    note = many if len(rows) > MOST_ROWS else ""
    return page.table(caption, rows[-MOST_ROWS:], columns, note)


def _service(row: Any) -> str:
    return f"{row.service} {row.name}"


IN_FORCE = (
    text("since (UTC)", lambda row: moment(row.since_ms), named="since_ms"),
    text("service", _service),
    text("version", "version"),
    text("settings", "settings"),
)
CHANGES = (
    about.AT,
    text("service", _service),
    text("what changed", lambda change: _changed(change), named="changed", fold=True),
)
HALTS = (
    about.AT,
    text("what", "what"),
    text("scope", "scope"),
    text("by", "actor"),
    text("why", "why", fold=True),
)
SERVERS = (
    about.AT,
    *texts("what", "role", "version"),
    text("detail", "detail", fold=True),
)


def _changes(found: SettingsRecord) -> Iterator[str]:
    yield _listed(
        "Services when the window began", found.in_force, "settings.json", IN_FORCE,
        "the history names none",
    )  # fmt: skip
    yield _listed("Changes in the window", found.changes, "settings.json", CHANGES, "none")


def _changed(change: ServiceChange) -> str:
    parts = []
    if change.version != change.version_before:
        parts.append(f"version {change.version_before} → {change.version}")
    if change.changed is None:
        parts.append("settings, which the history does not have")
    for each in change.changed or ():
        parts.append(f"{each.setting} {format.text(each.before)} → {format.text(each.after)}")
    return "; ".join(parts)


def _noticed(found: Contents) -> Iterator[str]:
    yield _listed(
        "Halts and resumes up to the end of the window", found.halts, "halts.json", HALTS, "none"
    )
    yield about.gaps(found.window.gaps) or page.paragraph("Gaps in the window: none.")
    yield _listed("Redis in the window", found.servers, "servers.json", SERVERS, "nothing was seen")


def _days(found: Contents) -> Iterator[str]:
    sealed = {link.day: link for link in found.links if link.what == "sealed"}
    pruned = {link.day: f"pruned: {link.why}" for link in found.links if link.what == "pruned"}
    none = "none yet: the day was not sealed"
    hashes = {day: link.sha256 for day, link in sealed.items()}
    yield _listed(
        "Days, with the SHA-256 of their files", sorted({*sealed, *found.days}), CHAIN,
        (
            text("day", lambda day: day, named="day"),
            text("SHA-256", lambda day: hashes.get(day, none), named="sha256"),
            text("", lambda day: pruned.get(day, " "), named="pruned"),
        ),
        "none",
    )  # fmt: skip


def _check(manifest: Manifest, window: Window) -> Iterator[str]:
    since = window.since_ms if window.asked_ms is None else window.asked_ms
    symbols = manifest.about.symbols
    only = f" --symbols {','.join(symbols)}" if symbols else ""
    span = f"--since {since} --until {window.until_ms}"
    yield page.paragraph(
        "In this folder, on any machine that has qtctl: that nothing was changed; that its days "
        "are those of a history; and that the figures come out again, to the byte, on a copy of "
        "the history that was made at the same time."
    )
    lines = (
        "qtctl evidence verify . --digest DIGEST",
        "qtctl evidence verify . --history HISTORY",
        f"qtctl report --dir HISTORY {span}{only} -o json | cmp - report.json",
        f"qtctl replay --dir HISTORY {span} -o json | cmp - replay.json",
        f"qtctl readiness --dir HISTORY --until {window.until_ms}{only} --policy policy.toml "
        "-o json | cmp - readiness.json",
    )
    shown = "\n".join(map(page.text, lines))
    yield f"<pre>{shown}</pre>"
    yield page.heading("What the folder can't tell by itself")
    yield page.bullets(f"{each[0].upper()}{each[1:]}." for each in (MADE_ANEW, OPEN_DAYS))
