"""The pages in a real browser: narrow and wide, light and dark, and on paper."""

import re
from pathlib import Path

import pytest

from tests.cli.html_pages.conftest import Pages
from tests.support.browser import browser

DARK, LIGHT = "rgb(18, 24, 31)", "rgb(255, 255, 255)"
SHOWN = """({
  over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  ground: getComputedStyle(document.body).backgroundColor,
  charts: [...document.querySelectorAll('svg.chart')].map(one => one.getBoundingClientRect())
    .map(box => [box.width, box.height]),
  outside: [...document.querySelectorAll('svg.chart')].flatMap(chart => {
    const whole = chart.getBoundingClientRect();
    return [...chart.querySelectorAll('text')].filter(text => {
      const box = text.getBoundingClientRect();
      return box.left < whole.left - 1 || box.right > whole.right + 1;
    }).map(text => text.textContent);
  }),
  heads: [...document.querySelectorAll('thead')].map(head => getComputedStyle(head).display),
})"""


@pytest.mark.timeout(180)
def test_pages_are_readable_at_each_width_and_on_paper(pages: Pages, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as shown:
        for name, html in pages.html.items():
            page = tmp_path / f"{name}.html"
            page.write_text(html, encoding="utf-8")
            for width, scheme, ground in ((390, "light", LIGHT), (1280, "dark", DARK)):
                shown.open(page, width, scheme=scheme)
                found = shown.value(SHOWN)
                assert (name, width, found["over"]) == (name, width, 0)
                assert found["ground"] == ground
                assert found["outside"] == []
                assert found["charts"]
                assert all(w > 300 and h > 50 for w, h in found["charts"])
            # A4 less its margins, with a reader who prefers dark: paper stays light.
            shown.open(page, 680, "print", "dark")
            found = shown.value(SHOWN)
            assert (name, found["over"], found["ground"]) == (name, 0, LIGHT)
            assert set(found["heads"]) == {"table-header-group"}
            sheets = len(re.findall(rb"/Type\s*/Page\b", shown.pdf()))
            assert 2 <= sheets <= 12, name
        assert shown.complaints == []
        assert {each.partition(":")[0] for each in shown.asked_for} == {"file"}
        assert len(shown.asked_for) == 9
