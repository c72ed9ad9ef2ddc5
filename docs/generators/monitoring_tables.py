"""The tables of monitoring.md: alerts from the rules file, metrics from the services."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from qtctl.services.metrics import AllocationMetrics, GovernorMetrics, ProcessLosses
from qtctl.services.recorder_metrics import RecorderMetrics

BEGIN, END = "<!-- generated: {} -->", "<!-- end: {} -->"
RULES = Path(__file__).parents[2] / "etc" / "prometheus" / "qtctl.rules.yml"


class Alert(NamedTuple):
    """One alert of the rules file; wait is its `for`."""

    name: str
    severity: str
    wait: str
    summary: str
    runbook: str


def alerts() -> list[Alert]:
    """All alerts, in the order of the file, which is read as it is written here."""
    _, *parts = re.split(r"^      - alert: ", RULES.read_text("utf-8"), flags=re.MULTILINE)
    return [
        Alert(
            part.split(maxsplit=1)[0],
            _after(part, "severity"),
            _after(part, "for"),
            _after(part, "summary").strip('"'),
            _after(part, "runbook_url"),
        )
        for part in parts
    ]


def _after(part: str, name: str) -> str:
    """The value behind `name:`, on the same line."""
    found = re.search(rf"^ +{name}: (.+)$", part, re.MULTILINE)
    if found is None:
        raise ValueError(f"an alert without {name}: {part.split(maxsplit=1)[0]}")
    return found[1]


def exported() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Every metric of the services: name as scraped, type, labels, what it says."""
    for made in (AllocationMetrics(1), GovernorMetrics(1), RecorderMetrics()):
        for collector in list(made.registry._collector_to_names):
            first = isinstance(made, AllocationMetrics)
            if not first and isinstance(collector, ProcessLosses):
                continue  # the same in all
            for family in collector.collect():
                labels: Any = getattr(family, "_labelnames", None)
                if labels is None:
                    labels = getattr(collector, "_labelnames", ())
                suffix = "_total" if family.type == "counter" else ""
                yield family.name + suffix, family.type, tuple(labels), family.documentation


def with_tables(page: str) -> str:
    """The page with both tables as they are now. Errors: ValueError where one has no place."""
    for name, table in (("alerts", _alert_table()), ("metrics", _metric_table())):
        begin, end = BEGIN.format(name), END.format(name)
        head, begun, rest = page.partition(begin)
        _, ended, tail = rest.partition(end)
        if not begun or not ended:
            raise ValueError(f"the page has no place for {name!r}")
        page = f"{head}{begin}\n{table}{end}{tail}"
    return page


def _alert_table() -> str:
    rows = ["| alert | severity | after | says |", "| --- | --- | --- | --- |"]
    for alert in alerts():
        says = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", alert.summary)
        wait = "at once" if alert.wait == "0s" else alert.wait
        rows.append(
            f"| [{alert.name}](runbooks/{alert.name}.md) | {alert.severity} | {wait} | {says} |"
        )
    return "\n".join(rows) + "\n"


def _metric_table() -> str:
    rows = ["| metric | type | says |", "| --- | --- | --- |"]
    for name, kind, labels, says in exported():
        shown = f"{name}{{{','.join(labels)}}}" if labels else name
        rows.append(f"| `{shown}` | {kind} | {says} |")
    return "\n".join(rows) + "\n"
