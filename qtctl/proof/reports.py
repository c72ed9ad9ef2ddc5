"""Reports to keep: junit.xml for machines, proof.json for both, report.html for people.

Source: docs/proofs.md.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec

from qtctl import clock, svg
from qtctl.proof.curves import curve_of
from qtctl.proof.results import Report, ScenarioResult
from qtctl.proof.scenarios import BASE_USD, SCENARIOS
from qtctl.text import escape as visible

About = Mapping[str, Any]
"""version, commit, mode, server, url, prefix, host, and settings, a list of {setting, value,
origin}."""


def write(directory: Path, report: Report, about: About) -> list[Path]:
    """Writes the three files; their paths. Errors: OSError where the directory can't be written."""
    directory.mkdir(parents=True, exist_ok=True)
    found = contents(report, about)
    for name, content in found.items():
        (directory / name).write_text(content, encoding="utf-8")
    return [directory / name for name in found]


def contents(report: Report, about: About) -> dict[str, str]:
    """The three files by their names."""
    at = datetime.fromtimestamp(clock.now(), UTC).isoformat(" ", "seconds").replace("+00:00", "Z")
    document = report.as_json() | {"at": at, "about": dict(about)}
    return {
        "proof.json": msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n",
        "junit.xml": junit(report, at),
        "report.html": page(report, about, at),
    }


def junit(report: Report, at: str) -> str:
    """The form that CI systems read: a suite for each step, a case for each scenario."""
    root = ElementTree.Element(
        "testsuites", name="qtctl proof", tests=str(len(report.results)),
        failures=str(report.failed), time=f"{report.duration_s:.3f}",
    )  # fmt: skip
    for step in report.steps():
        results = report.of(step)
        suite = ElementTree.SubElement(
            root, "testsuite", name=step, tests=str(len(results)), errors="0",
            failures=str(sum(not result.passed for result in results)),
            timestamp=at.replace(" ", "T").removesuffix("Z"),
        )  # fmt: skip
        for result in results:
            _case(suite, result)
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def _case(suite: ElementTree.Element, result: ScenarioResult) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=f"qtctl.proof.{result.step}", name=result.id,
        time=f"{result.duration_s:.3f}",
    )  # fmt: skip
    if result.passed:
        return
    wrong = [check for check in result.checks if not check.ok]
    lines = [visible(f"{c.what}: expected {c.expected}, seen {c.actual}") for c in wrong]
    failure = ElementTree.SubElement(
        case, "failure", message=lines[0] if lines else "nothing was checked"
    )
    failure.text = "\n".join(lines)


def page(report: Report, about: About, at: str) -> str:
    """One self-contained HTML page: what was proven, where, when, with which settings."""
    verdict = "PASS" if report.failed == 0 and report.results else "FAIL"
    sandbox, live = "a sandbox: a private server and services of its own", "the running services"
    facts = {
        "Proven": at,
        "By": f"qtctl {about['version']} ({about['commit']}) on {about['host']}",
        "Against": f"{about['url']} ({about['server']}), names {about['prefix']}*",
        "How": f"{live} (--live)" if about["mode"] == "live" else sandbox,
        "Result": f"{report.passed} passed, {report.failed} failed, in {report.duration_s:.1f} s",
    }
    parts = [
        f"<h1>qtctl proof <span class='{verdict.lower()}'>{verdict}</span></h1>",
        "<dl>",
        *(f"<dt>{_html(k)}</dt><dd>{_html(v)}</dd>" for k, v in facts.items()),
        "</dl>",
        *(_step(report, step) for step in report.steps()),
        "<h2>Settings in force</h2>",
        _table(
            ("setting", "value", "from"),
            [(s["setting"], _shown(s["value"]), s["origin"]) for s in about["settings"]],
        ),
        "<p class='foot'>What is expected are fixed numbers, whatever the settings. Every value was"
        " read back from Redis or from the services' metrics ports.</p>",
    ]
    title = f"qtctl proof: {verdict} {at}"
    return _FRAME.format(title=_html(title), style=_STYLE + svg.STYLE, body="\n".join(parts))


TITLES = {
    "step1": "Step 1: the allocation loop proposes in shadow",
    "step2": "Step 2: the governor's downsize hint",
}


def _step(report: Report, step: str) -> str:
    parts = [f"<h2>{_html(TITLES.get(step, step))}</h2>", curve_of(step, report.of(step))]
    for result in report.of(step):
        word, mark = ("pass", "✓ pass") if result.passed else ("fail", "✗ FAIL")
        passed = sum(check.ok for check in result.checks)
        note = f"<p>Given: {_html(_given(result))}</p>"
        note += f"<p class='note'>{_html(result.note)}</p>" if result.note else ""
        rows = [("✓" if c.ok else "✗", c.what, c.expected, c.actual) for c in result.checks]
        parts.append(
            f"<details{'' if result.passed else ' open'}><summary>"
            f"<span class='{word}'>{mark}</span> <b>{_html(result.title)}</b> "
            f"<code>{_html(result.id)}</code> <span class='count'>{passed} of "
            f"{len(result.checks)} checks, after {result.duration_s:.1f} s</span></summary>{note}"
            f"{_table(('', 'what', 'expected', 'seen'), rows)}</details>"
        )
    return "\n".join(parts)


def _given(result: ScenarioResult) -> str:
    """What the scenario set up, in words."""
    scenario = next(s for s in SCENARIOS if (s.step, s.id) == (result.step, result.id))
    if scenario.what != "data":
        return "what the scenarios above did"
    start = f"a target of {float(BASE_USD):,.0f} USD" if result.step == "step1" else "a plan"
    given = scenario.given
    if given is None:
        return f"{start}, and no score"
    score = f"a score of {given.score} with confidence {given.confidence}"
    return f"{start}, and {score}, {given.age_sec} s old"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th scope='col'>{_html(title)}</th>" for title in titles)
    body = ""
    for row in rows:
        style = " class='fail'" if row[0] == "✗" else ""
        body += f"<tr{style}>{''.join(f'<td>{_html(cell)}</td>' for cell in row)}</tr>\n"
    table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f"<div class='wide'><table>{table}</table></div>"


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _html(value: object) -> str:
    """Text from Redis is data: neither markup nor invisible."""
    return escape(visible(str(value)), quote=True)


_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; max-width: 68rem; margin: 2rem auto;
  padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin-bottom: .8rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; border-bottom: 1px solid #d5dbe3;
  padding-bottom: .3rem; }
h1 span { font-size: 1rem; padding: .25rem .7rem; border-radius: .4rem; margin-left: .5rem;
  vertical-align: middle; color: #fff; }
h1 .pass { background: #1a7f45; } h1 .fail { background: #b3261e; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 0; }
dt { color: #5a6675; } dd { margin: 0; overflow-wrap: anywhere; }
details { border: 1px solid #d5dbe3; border-radius: .4rem; margin: .45rem 0; padding: .5rem .8rem; }
summary { cursor: pointer; }
summary .pass { color: #1a7f45; font-weight: 600; } summary .fail { color: #b3261e;
  font-weight: 700; }
.count { color: #5a6675; white-space: nowrap; }
.note { background: #fff6dd; padding: .4rem .7rem; border-radius: .3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-size: .87rem; }
th, td { text-align: left; padding: .22rem .6rem; border-bottom: 1px solid #e8ecf1;
  vertical-align: top; overflow-wrap: break-word; }
th { color: #5a6675; font-weight: 600; }
tr.fail td { background: #fdeceb; font-weight: 600; }
code { font-size: .85em; color: #5a6675; }
.foot { color: #5a6675; margin-top: 2rem; font-size: .87rem; }
@media print {
  details { break-inside: avoid; }
  /* What is closed on the screen is open on paper. */
  details::details-content { content-visibility: visible; display: block; height: auto; }
}
"""
