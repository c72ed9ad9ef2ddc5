"""Reports to keep: they say what was proven, and are whole by themselves."""

import json
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from qtctl import source
from qtctl.proof.reports import page
from qtctl.proof.results import Check, Report, ScenarioResult
from tests.proof.conftest import Prove
from tests.support.debian import needed

ABOUT = {
    "version": "0.1.0", "commit": "commit abc", "mode": "live", "server": "redis 7.0.15", "url": "redis://prod-1/0",
    "prefix": "quantum:", "host": "h", "settings": [
        {"setting": "allocation.min_conf", "value": 0.65, "origin": "default"},
    ],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "reports"


def test_three_files_say_the_same(prove: Prove, folder: Path) -> None:
    proven = prove("all", "--set", "allocation.min_conf=0", "--report", str(folder), "-o", "json")
    assert proven.code == 1
    assert sorted(path.name for path in folder.iterdir()) == [
        "junit.xml", "proof.json", "report.html",
    ]  # fmt: skip
    document = json.loads((folder / "proof.json").read_text())
    assert document["steps"] == proven.document["steps"]
    assert document["about"]["mode"] == "sandbox"
    root = ElementTree.parse(folder / "junit.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("12", "1")
    (failed,) = [case for case in root.iter("testcase") if case.find("failure") is not None]
    assert (failed.get("classname"), failed.get("name")) == ("qtctl.proof.step1", "low_confidence")
    html = (folder / "report.html").read_text()
    assert html.count("<details") == 12
    assert "http://" not in html.replace("GET http://127", "").replace("http://127", "")
    assert "https://" not in html
    assert "<script" not in html


def test_text_from_elsewhere_is_neither_markup_nor_invisible() -> None:
    evil = "<script>alert(1)</script>\x1b[31m\u202e"
    check = Check(evil, evil, evil, False)
    result = ScenarioResult("step1", "high_efficiency", evil, 0.1, (check,), note=evil)
    html = page(Report((result,), 0.1), ABOUT, "2026-01-28 00:00:00Z")
    assert "<script" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "&lt;script&gt;" in html


def test_a_browser_shows_the_verdict_and_every_scenario(
    prove: Prove, folder: Path, tmp_path: Path
) -> None:
    prove("all", "--set", "allocation.min_conf=0", "--report", str(folder), "-o", "json")
    shown = subprocess.run(
        [needed("chromium"), "--headless", "--no-sandbox", "--disable-gpu",
         "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
         "--dump-dom", (folder / "report.html").as_uri()],
        capture_output=True, text=True, timeout=50, check=True,
    ).stdout  # fmt: skip
    assert "<title>qtctl proof: FAIL" in shown
    assert shown.count("<summary>") == 12
    assert "A score of low confidence changes nothing" in shown
    assert shown.count("<details open") == 1


def test_the_curves_have_the_points_that_were_proven(prove: Prove, folder: Path) -> None:
    wrong = ("--set", "allocation.scale=2", "--report", str(folder))
    assert prove("all", *wrong).code == 1
    html = (folder / "report.html").read_text()
    assert html.count("<svg class='chart'") == 2
    assert "high_efficiency: 0.9 gives 1.5" in html
    assert "class='bad'" in html
    assert "low_efficiency_downsizes: 0.2 gives 0.4444" in html
    assert html.count("<desc>") == 2


def test_the_report_names_the_version_and_the_commit(prove: Prove, folder: Path) -> None:
    assert prove("step1", "--report", str(folder)).code == 0
    about = json.loads((folder / "proof.json").read_text())["about"]
    assert about["commit"] == source.commit()
    assert f"({about['commit']})" in (folder / "report.html").read_text()


def test_a_proof_on_the_hosts_own_redis_says_so(prove: Prove, folder: Path) -> None:
    needed("redis-server")
    assert prove("all", "--host-redis", "--report", str(folder)).code == 0
    about = json.loads((folder / "proof.json").read_text())["about"]
    assert about["server"].split()[0] == "redis"


def test_what_is_closed_on_the_screen_is_open_on_paper(
    prove: Prove, folder: Path, tmp_path: Path
) -> None:
    """By the pages that a browser prints, with the rule and without it."""
    assert prove("all", "--report", str(folder)).code == 0
    html = (folder / "report.html").read_text()
    rule = "details::details-content { content-visibility: visible; display: block; height: auto; }"
    assert rule in html

    def pages(content: str) -> int:
        file, pdf = tmp_path / "page.html", tmp_path / "page.pdf"
        file.write_text(content)
        subprocess.run(
            [needed("chromium"), "--headless", "--no-sandbox", "--disable-gpu",
             "--no-pdf-header-footer", f"--user-data-dir={tmp_path / 'profile'}",
             f"--print-to-pdf={pdf}", file.as_uri()],
            check=True, capture_output=True, timeout=50,
        )  # fmt: skip
        return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))

    assert pages(html) > pages(html.replace(rule, ""))
