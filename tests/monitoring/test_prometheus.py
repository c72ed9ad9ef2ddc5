"""A real Prometheus on real services: the files of etc/prometheus and etc/grafana as shipped."""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.monitoring.support import (
    ROOT,
    Prometheus,
    Services,
    prometheus,
    running,
    traffic,
    wait,
)
from tests.support.debian import needed

DATA_SEC = 40.0
"""Two scrapes and two evaluations are enough where nothing else runs."""
BOARDS = sorted((ROOT / "etc" / "grafana").glob("*.json"))
GRAFANA = {"$symbol": ".*", "$__range": "5m", "$__rate_interval": "1m", "$__interval": "10s"}
JOIN = re.compile(r"\s+(?:and|or|unless)\s+(?:on \([^)]*\)\s+)?")
THRESHOLD = re.compile(r"\s+(?:==|!=|>=|<=|>|<)\s+\S+$")
ABSENT = re.compile(r"^absent\((.*)\)$")


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with running() as found, traffic(found.url):
        yield found


@pytest.fixture(scope="module")
def prom(services: Services) -> Iterator[Prometheus]:
    with prometheus(services) as found:
        yield found


def operands(alert: str) -> list[str]:
    """What an alert compares, without the comparison: all of it must be there to be compared."""
    plain = [THRESHOLD.sub("", part) for part in JOIN.split(alert)]
    return [ABSENT.sub(r"\1", part) for part in plain]


def shown(board: str) -> list[str]:
    """The expressions of a dashboard, its variables filled in."""
    found = []
    for panel in json.loads(board)["panels"]:
        for target in panel.get("targets", ()):
            expr = target["expr"]
            for variable, value in GRAFANA.items():
                expr = expr.replace(variable, value)
            assert "$" not in expr, f"unknown variable: {expr}"
            found.append(expr)
    return found


def firing(prom: Prometheus) -> list[Any]:
    """The alerts that fire now."""
    return [each for each in prom.get("alerts")["alerts"] if each["state"] == "firing"]


def test_every_expression_of_rules_and_dashboards_returns_data(prom: Prometheus) -> None:
    rules = wait(prom.rules, DATA_SEC)
    wanted = [rule["query"] for rule in rules if rule["type"] == "recording"]
    wanted += [rule["name"] for rule in rules if rule["type"] == "recording"]
    wanted += [part for rule in rules if rule["type"] == "alerting"
               for part in operands(rule["query"])]  # fmt: skip
    for board in BOARDS:
        wanted += shown(board.read_text())
    missing = set(wanted)

    def all_there() -> bool:
        missing.difference_update([expr for expr in missing if prom.values(expr)])
        return not missing

    wait(all_there, DATA_SEC)
    assert not missing, "no data:\n" + "\n".join(sorted(missing))
    broken = [(rule["name"], rule["lastError"]) for rule in prom.rules() if rule["health"] != "ok"]
    assert not broken
    assert len(wanted) > 80


def test_a_refused_close_is_told_at_once(prom: Prometheus) -> None:
    """The demo's traffic halts all trading and sends a close."""

    def told() -> list[dict[str, str]]:
        return [
            each["annotations"]
            for each in firing(prom)
            if each["labels"].get("reason") == "kill_switch_active"
        ]

    (annotations,) = wait(told, DATA_SEC)
    assert annotations["summary"] == "A close got no permit (kill_switch_active)"
    assert (ROOT / annotations["runbook_url"]).is_file()


def test_no_other_alert_fires_while_all_is_well_but_the_traffic(prom: Prometheus) -> None:
    wait(lambda: prom.values('ALERTS{alertname="QtctlPlansRejected"}'), DATA_SEC)
    names = {each["labels"]["alertname"] for each in firing(prom)}
    assert names <= {"QtctlCloseRefused", "QtctlPlansRejected"}


@pytest.mark.parametrize("service", ["allocation", "governor", "recorder"])
def test_promtool_has_nothing_to_say_about_the_metrics(services: Services, service: str) -> None:
    said = subprocess.run(
        [needed("promtool"), "check", "metrics"],
        input=services.metrics(service),
        capture_output=True,
        timeout=30,
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")
