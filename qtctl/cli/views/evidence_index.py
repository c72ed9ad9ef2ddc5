"""index.html of a folder of evidence: where a person begins to read."""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

from qtctl.cli.output import format
from qtctl.cli.views.history import size
from qtctl.cli.views.replay_record import Found
from qtctl.evidence.manifest import CHAIN, MANIFEST, Manifest
from qtctl.evidence.readiness import Readiness
from qtctl.evidence.report import Report
from qtctl.evidence.settings_record import ServiceChange, SettingsRecord
from qtctl.evidence.verifying import MADE_ANEW, OPEN_DAYS
from qtctl.evidence.window import Window
from qtctl.history.chain import Link
from qtctl.history.rows import HaltRow, ServerRow, ServiceRow
from qtctl.text import escape as visible

MOST_ROWS = 50
"""Of a table; the JSON beside it has all."""
READ_FIRST = ("report.html", "readiness.html", "replay.html", "proof/report.html")


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


def page(manifest: Manifest, digest: str, found: Contents) -> str:
    """The page; it shows the digest exactly once."""
    return FRAME.format(
        title=html(f"Evidence: {manifest.about.verdict}, {_window(found.window)}"),
        body="\n".join(_body(manifest, digest, found)),
    )


def _body(manifest: Manifest, digest: str, found: Contents) -> Iterator[str]:
    about = manifest.about
    yield f"<h1>Evidence: {html(about.verdict)}</h1>"
    yield facts(dict(_head(manifest, found)))
    yield "<h2>Write this down</h2>"
    yield (
        "<p>The digest of this folder. Keep it where the folder is not, as in the ticket or a mail:"
        f" who has it can tell whether anything here was changed.</p><p><code>{digest}</code></p>"
        "<pre>qtctl evidence verify DIR --digest THE-DIGEST</pre>"
    )
    yield from _files(manifest)
    yield from _changes(found.settings)
    yield from _halts(found)
    yield from _gaps(found)
    yield from _days(found)
    yield from _limits_of_it(manifest, found)


def _window(window: Window) -> str:
    return f"{_at(window.since_ms)} to {_at(window.until_ms)}"


def _at(at_ms: int) -> str:
    return format.moment(at_ms / 1000)


def _head(manifest: Manifest, found: Contents) -> Iterator[tuple[str, str]]:
    about, made, parity = manifest.about, manifest.made, found.replay.result.parity
    yield "Window", f"{_window(found.window)}, {format.span(found.window.hours * 3600)}"
    if about.synthetic:
        yield "Synthetic", "qtctl simulate made this history: nothing of it happened"
    yield "Symbols", ", ".join(about.symbols) or f"all {len(found.readiness.symbols):,}"
    ready = found.readiness.window
    yield (
        "Readiness",
        (
            f"{about.verdict}, judged from {_at(ready.since_ms)} to {_at(ready.until_ms)} by "
            f"policy {about.policy}"
        ),
    )
    yield "Parity", _parity(about.parity, parity.decisions, parity.proposals, parity.differences)
    yield "Proofs", about.proofs or "left out"
    yield "Head of the chain", about.chain or "none: no day was sealed yet"
    yield "Made", f"{_at(made.at_ms)} by {made.by} with qtctl {made.version} ({made.commit})"


def _parity(holds: bool | None, decisions: int, proposals: int, differences: int) -> str:
    judged = f"{decisions:,} decisions and {proposals:,} proposals"
    if holds is None:
        return "unknown: nothing in the window could be judged again"
    if holds:
        return f"holds: {judged} come out as recorded"
    return f"DOES NOT HOLD: {differences:,} of {judged} come out otherwise"


def _files(manifest: Manifest) -> Iterator[str]:
    order = {name: place for place, name in enumerate(READ_FIRST)}
    files = sorted(manifest.files, key=lambda each: order.get(each.name, len(order)))
    rows = [
        (f"<a href='{html(each.name)}'>{html(each.name)}</a>", html(each.what),
         html(size(each.bytes)))
        for each in files
    ]  # fmt: skip
    rows.append((f"<a href='{MANIFEST}'>{MANIFEST}</a>", "the SHA-256 of every file", ""))
    yield "<h2>What is in it</h2>"
    yield _table_of_cells(("file", "what it is", "size"), rows)
    if manifest.left_out:
        yield "<h3>Left out</h3>"
        yield table(("what", "why"), [(each.what, each.why) for each in manifest.left_out])


def _changes(found: SettingsRecord) -> Iterator[str]:
    yield "<h2>Versions and settings</h2>"
    yield listed(
        found.in_force, "settings.json",
        (("since", lambda r: _at(r.since_ms)), ("service", lambda r: f"{r.service} {r.name}"),
         ("version", lambda r: r.version), ("settings", lambda r: r.settings)),
        "The history names no service that ran when the window began.",
    )  # fmt: skip
    yield "<h3>Changes in the window</h3>"
    yield listed(
        found.changes, "settings.json",
        (("time", lambda r: _at(r.at_ms)), ("service", lambda r: f"{r.service} {r.name}"),
         ("what changed", _changed)),
        "None.",
    )  # fmt: skip


def _changed(change: ServiceChange) -> str:
    parts = []
    if change.version != change.version_before:
        parts.append(f"version {change.version_before} → {change.version}")
    if change.changed is None:
        parts.append("settings, which the history does not have")
    for each in change.changed or ():
        parts.append(f"{each.setting} {format.text(each.before)} → {format.text(each.after)}")
    return "; ".join(parts)


def _halts(found: Contents) -> Iterator[str]:
    yield "<h2>Halts</h2>"
    yield listed(
        found.halts, "halts.json",
        (("time", lambda r: _at(r.at_ms)), ("what", lambda r: r.what),
         ("scope", lambda r: r.scope), ("by", lambda r: r.actor), ("why", lambda r: r.why)),
        "None in the history up to the end of the window.",
    )  # fmt: skip


def _gaps(found: Contents) -> Iterator[str]:
    yield "<h2>Gaps</h2>"
    yield listed(
        found.window.gaps, "gaps.json",
        (("kind", lambda r: r.kind), ("from", lambda r: _at(r.from_ms)),
         ("to", lambda r: _at(r.to_ms)),
         ("missing", lambda r: "unknown" if r.count is None else f"{r.count:,}"),
         ("detail", lambda r: r.detail)),
        "None: the history is whole in the window.",
    )  # fmt: skip
    if found.servers:
        yield "<h3>Redis</h3>"
        yield listed(
            found.servers, "servers.json",
            (("time", lambda r: _at(r.at_ms)), ("what", lambda r: r.what),
             ("role", lambda r: r.role), ("version", lambda r: r.version),
             ("detail", lambda r: r.detail)),
            "",
        )  # fmt: skip


def _days(found: Contents) -> Iterator[str]:
    yield "<h2>The days of the history</h2>"
    sealed = {link.day: link for link in found.links if link.what == "sealed"}
    gone = {link.day: link for link in found.links if link.what == "pruned"}
    rows = [
        (day, sealed[day].sha256 if day in sealed else "none yet: the day is not sealed",
         f"pruned: {gone[day].why}" if day in gone else "")
        for day in sorted({*sealed, *found.days})
    ]  # fmt: skip
    yield listed(
        rows, CHAIN,
        (("day", lambda r: r[0]), ("SHA-256 of its file", lambda r: r[1]), ("", lambda r: r[2])),
        "None.",
    )  # fmt: skip


def _limits_of_it(manifest: Manifest, found: Contents) -> Iterator[str]:
    window = found.window
    since = window.since_ms if window.asked_ms is None else window.asked_ms
    only = f" --symbols {','.join(manifest.about.symbols)}" if manifest.about.symbols else ""
    span = f"--since {since} --until {window.until_ms}"
    yield "<h2>Check it</h2>"
    yield (
        "<p>Anywhere, with nothing but this folder; then against the history, or a copy of it; then"
        " the figures themselves, which come out again to the byte on a copy made at that time:</p>"
    )
    yield (
        "<pre>qtctl evidence verify DIR --digest THE-DIGEST\n"
        "qtctl evidence verify DIR --history HISTORY\n"
        f"qtctl report --dir HISTORY {html(span)}{html(only)} -o json | cmp - DIR/report.json\n"
        f"qtctl replay --dir HISTORY {html(span)} -o json | cmp - DIR/replay.json\n"
        f"qtctl readiness --dir HISTORY --until {window.until_ms}{html(only)} "
        "--policy DIR/policy.toml -o json | cmp - DIR/readiness.json</pre>"
    )
    yield "<p>What the folder can't tell by itself:</p>"
    yield f"<ul><li>{html(MADE_ANEW)}.</li><li>{html(OPEN_DAYS)}.</li></ul>"


# HTML ---------------------------------------------------------------------------------------------


def html(value: object) -> str:
    """Text from the history is data: neither markup nor invisible."""
    return escape(visible(str(value)), quote=True)


def facts(rows: dict[str, str]) -> str:
    """Names with their values."""
    return f"<dl>{''.join(f'<dt>{html(k)}</dt><dd>{html(v)}</dd>' for k, v in rows.items())}</dl>"


def table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows of text."""
    return _table_of_cells(titles, [[html(cell) for cell in row] for row in rows])


def listed(
    rows: Sequence[Any], file: str, columns: Sequence[tuple[str, Callable[[Any], object]]],
    empty: str,
) -> str:  # fmt: skip
    """The last rows of many, with where all of them are."""
    if not rows:
        return f"<p>{html(empty)}</p>"
    shown = [[value(row) for _, value in columns] for row in rows[-MOST_ROWS:]]
    more = ""
    if len(rows) > MOST_ROWS:
        more = f"<p>The last {MOST_ROWS} of {len(rows):,}: {html(file)} has all.</p>"
    return table([title for title, _ in columns], shown) + more


def _table_of_cells(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th scope='col'>{html(title)}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    whole = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f"<div class='wide'><table>{whole}</table></div>"


FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
</head>
<body>
{body}
</body>
</html>
"""
