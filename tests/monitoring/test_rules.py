"""The rules as text, by promtool; and that nothing is there without its counterpart."""

import re
import subprocess

import pytest

from docs.generators.monitoring_tables import alerts, exported, with_tables
from tests.monitoring.support import CONFIG, ROOT, RULES
from tests.support.debian import needed

TESTS = sorted(CONFIG.glob("*.test.yml"))


def promtool(*args: str) -> str:
    """What promtool says of files in etc/prometheus; fails where it finds something."""
    said = subprocess.run(
        [needed("promtool"), *args], cwd=CONFIG, capture_output=True, text=True, timeout=100
    )
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout + said.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint=all", "--lint-fatal", RULES.name),
        *(("test", "rules", path.name) for path in TESTS),
    ],
    ids=["config", "rules", *(path.name for path in TESTS)],
)
def test_promtool_is_content(args: tuple[str, ...]) -> None:
    assert "FAILED" not in promtool(*args)


def test_each_alert_is_seen_quiet_firing_and_clear() -> None:
    """Firing, and afterwards not: that is what promtool was asked above."""
    seen: dict[str, list[list[bool]]] = {}
    text = "".join(path.read_text("utf-8") for path in TESTS)
    for case in text.split("alert_rule_test:")[1:]:
        names = re.findall(r"alertname: (\w+)", case)
        assert len(set(names)) == 1, names
        fires = ["exp_labels:" in part for part in case.split("alertname:")[1:]]
        seen.setdefault(names[0], []).append(fires)
    assert sorted(seen) == sorted(alert.name for alert in alerts())
    for name, cases in seen.items():
        assert [False, True, False] in cases, f"{name}: no test goes from quiet to firing to clear"
        assert all(not any(fires) or fires[-1] is False for fires in cases), name


def test_alerts_are_said_in_the_same_way() -> None:
    parts = re.split(r"^      - alert: ", RULES.read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert len(parts) == len(alerts()) == len({alert.name for alert in alerts()})
    for alert, part in zip(alerts(), parts, strict=True):
        assert alert.severity in ("critical", "warning"), alert
        assert re.fullmatch(r"\d+[sm]", alert.wait), alert
        assert not alert.summary.endswith("."), alert
        assert re.search(r"^          description: ", part, re.MULTILINE), alert


def test_every_metric_is_used_somewhere() -> None:
    used = RULES.read_text("utf-8") + (ROOT / "etc/grafana/qtctl-overview.json").read_text("utf-8")
    for name, *_ in exported():
        assert name in used, name


def test_the_tables_of_the_page_are_up_to_date() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    assert with_tables(page) == page, "run `make docs`"
