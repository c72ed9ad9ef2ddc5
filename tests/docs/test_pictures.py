"""The pictures in docs/ are those of today's code."""

from xml.etree import ElementTree

import pytest

from docs.generators.data_pictures import PICTURES
from docs.generators.generate import DOCS
from qtctl.domain.gates import GATES


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_up_to_date_and_shown_on_a_page(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PICTURES[name](), "run make docs"
    pages = [page for page in DOCS.glob("*.md") if f"]({name})" in page.read_text("utf-8")]
    assert pages, f"no page shows {name}"


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_lies_outside_a_picture(name: str) -> None:
    root = ElementTree.fromstring(PICTURES[name]())
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for each in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y = float(each.get("x", "0")), float(each.get("y", "0"))
        assert x + float(each.attrib["width"]) <= width
        assert y + float(each.attrib["height"]) <= height


def test_the_gates_stand_in_their_order() -> None:
    picture = PICTURES["gates.svg"]()
    places = [picture.index(f">{row}. {gate.name}<") for row, gate in enumerate(GATES, 1)]
    assert places == sorted(places)
