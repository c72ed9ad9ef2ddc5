"""What a page is made of: sections, sentences, tables, charts. All text is escaped here, since
symbols, names of policies and settings come from elsewhere."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Literal, NamedTuple

from qtctl import __version__, svg
from qtctl.cli.output.columns import Column
from qtctl.cli.views.html.style import STYLE
from qtctl.text import escape as visible

SHORT = 14
"""A table of so few rows is kept on one sheet."""


class Mark(NamedTuple):
    """An entry of a legend. colour: c0 to c7, "" for what is unknown."""

    name: str
    colour: str = ""
    shape: Literal["", "line", "line dashed"] = ""


UNKNOWN = Mark("unknown")


def text(value: object) -> str:
    """Text as data: neither markup nor invisible."""
    return escape(visible(str(value)), quote=True)


_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:%|(?:USD|ms|s|min|h|d)\b))")


def prose(value: str) -> str:
    """Text in lines, none of which ends between a figure and its unit."""
    return _BEFORE_UNIT.sub("\u00a0", text(value))


FOOTER = (
    "Made by qtctl {version} from the recorded history alone: no Redis was asked, and no clock of "
    "a computer. The same history gives the same page."
)


class Section(NamedTuple):
    """A part of a page. name: its id; short: its title among the contents."""

    name: str
    short: str
    title: str
    parts: Sequence[str]


def document(
    kind: str, title: str, lead: str, head: Sequence[str], sections: Sequence[Section],
    footer: str = FOOTER, strip: Iterable[str] = (),
) -> str:  # fmt: skip
    """A whole page. kind: the command that made it; lead: below the title; head: what stands above
    the contents; footer: what it was made by; strip: what the figures are of, in a few words
    each."""
    parts = [*head, _contents(sections), *map(_section, sections)]
    few = "".join(f"<li>{text(each)}</li>" for each in strip)
    return _FRAME.format(
        title=text(f"{title}: {lead}"), style=svg.STYLE + STYLE, kind=text(kind),
        heading=text(title), lead=text(lead), strip=f"<ul class='strip'>{few}</ul>" if few else "",
        body="\n".join(filter(None, parts)), footer=text(footer.format(version=__version__)),
    )  # fmt: skip


def section(name: str, short: str, title: str, *parts: str) -> Section:
    """A section with what stands in it."""
    return Section(name, short, title, parts)


def _contents(sections: Sequence[Section]) -> str:
    links = " ".join(f"<a href='#{text(it.name)}'>{text(it.short)}</a>" for it in sections)
    return f"<nav aria-label='Contents'>{links}</nav>"


def _section(it: Section) -> str:
    body = "\n".join(filter(None, it.parts))
    return f"<section id='{text(it.name)}'>\n<h2>{text(it.title)}</h2>\n{body}\n</section>"


def heading(title: str) -> str:
    """A title within a section."""
    return f"<h3>{text(title)}</h3>"


def paragraph(*sentences: str, style: str = "") -> str:
    """Sentences behind each other; style: note, small, or none."""
    if not sentences:
        return ""
    kind = f" class='{style}'" if style else ""
    return f"<p{kind}>{prose(' '.join(sentences))}</p>"


def bullets(sentences: Iterable[str]) -> str:
    """A list, a sentence each."""
    items = "".join(f"<li>{prose(each)}</li>\n" for each in sentences)
    return f"<ul>\n{items}</ul>" if items else ""


def verdict(word: str, style: Literal["good", "bad", "warn"]) -> str:
    """The word that the page is about, with a sign, so that it needs no colour."""
    sign = {"good": "✓", "bad": "✗", "warn": "?"}[style]
    return f"<p class='verdict {style}'><span aria-hidden='true'>{sign}</span> {text(word)}</p>"


def facts(caption: str, rows: Mapping[str, str]) -> str:
    """Names and values."""
    lines = "\n".join(
        f"<tr><th scope='row'>{text(name)}</th><td>{text(value)}</td></tr>"
        for name, value in rows.items()
    )
    return (
        f"<table class='facts short'><caption>{text(caption)}</caption><tbody>\n{lines}\n"
        "</tbody></table>"
    )


def table(caption: str, rows: Sequence[Any], columns: Sequence[Column], note: str = "") -> str:
    """A table; "" without rows. note: below the caption."""
    if not rows:
        return ""
    head = "".join(
        f"<th scope='col'{_kind(column)}>{text(column.title)}</th>" for column in columns
    )
    body = "\n".join(f"<tr>{''.join(_cells(row, columns))}</tr>" for row in rows)
    small = f"<small>{text(note)}</small>" if note else ""
    short = " class='short'" if len(rows) <= SHORT else ""
    return (
        f"<div class='wide'><table{short}><caption>{text(caption)}{small}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


_STYLES = {"green": "good", "red": "bad", "yellow": "warn"}


def _cells(row: Any, columns: Sequence[Column]) -> Iterable[str]:
    for place, column in enumerate(columns):
        found = _STYLES.get(column.style_of(row).removeprefix("bold "), "")
        kind = _kind(column, found)
        shown = text(column.cell(row, True))
        yield f"<th scope='row'{kind}>{shown}</th>" if not place else f"<td{kind}>{shown}</td>"


def _kind(column: Column, more: str = "") -> str:
    names = " ".join(
        filter(
            None, ("num" * column.right, "id" * (column.wrap == "id"), "prose" * column.fold, more)
        )
    )
    return f" class='{names}'" if names else ""


def figure(sentence: str, chart: str, legend: Iterable[Mark] = (), note: str = "") -> str:
    """A chart under the sentence that it proves."""
    marks = "".join(
        f"<li><i class='{mark.shape} {mark.colour or 'hatch'}'></i>{text(mark.name)}</li>"
        for mark in legend
    )
    shown = f"<ul class='legend'>{marks}</ul>" if marks else ""
    small = paragraph(note, style="small") if note else ""
    # Its text is escaped as markup; what is invisible in a name is not.
    chart = visible(chart)
    return (
        f"<figure>\n<figcaption>{prose(sentence)}</figcaption>\n{shown}\n{chart}\n{small}</figure>"
    )


def charts(*figures: str) -> str:
    """Charts beside each other where there is room."""
    found = "\n".join(filter(None, figures))
    return f"<div class='charts'>\n{found}\n</div>" if found else ""


def folded(summary: str, *parts: str) -> str:
    """What is closed on a screen and open on paper."""
    body = "\n".join(filter(None, parts))
    return f"<details><summary>{text(summary)}</summary>\n{body}\n</details>" if body else ""


_FRAME = """<!doctype html>
<html lang="en" class="both">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<p class="kind">{kind}</p>
<h1>{heading}</h1>
<p class="lead">{lead}</p>
{strip}
</header>
<main>
{body}
</main>
<footer>{footer}</footer>
</body>
</html>
"""
