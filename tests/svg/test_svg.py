"""Charts: what is unknown is never drawn as zero, axes are round, and text is only text."""

import re
from xml.etree import ElementTree

import pytest

from qtctl import svg
from qtctl.svg import Axis, Bar, Dot, Line, Mark, Part

X, Y = Axis("x", 0, 10), Axis("y", 0, 10)
EVIL = "</svg><script>'\"&"


def elements(picture: str, name: str, kind: str = "") -> list[ElementTree.Element]:
    """Those of a name, and with a class."""
    return [
        each
        for each in ElementTree.fromstring(picture).iter(name)
        if not kind or kind in each.get("class", "").split()
    ]


def test_the_unknown_breaks_a_line_and_is_hatched() -> None:
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, None), (3.0, None), (4.0, 5.0), (5.0, 6.0)]
    picture = svg.chart("t", "s", X, Y, [Line(points)], unknown=[(2, 4)])
    runs = [each.get("points", "").split() for each in elements(picture, "polyline")]
    assert [len(run) for run in runs] == [2, 2]
    (hatch,) = elements(picture, "path", "unknown")
    numbers = [float(each) for each in re.findall(r"[\d.]+", hatch.get("d", ""))]
    assert len(numbers) > 8


def test_a_point_between_two_unknown_ones_is_seen() -> None:
    picture = svg.chart("t", "s", X, Y, [Line([(0, None), (1, 2.0), (2, None)])])
    assert len(elements(picture, "circle", "point")) == 1


def test_hatching_stays_within_its_span() -> None:
    picture = svg.columns("t", "s", X, Y, [Bar([Part(5)], (0, 1))], unknown=[(2, 4)])
    (hatch,) = elements(picture, "path", "unknown")
    place = svg.frame.Place(X, Y)
    for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", hatch.get("d", "")):
        assert place.left(2) - 0.1 <= float(x) <= place.left(4) + 0.1
        assert svg.frame.TOP <= float(y) <= place.bottom


def test_bars_are_as_long_as_they_say() -> None:
    picture = svg.rows("t", "s", X, [Bar([Part(2), Part(3, "c2")], name="a", figure="5")])
    first, second = (float(each.get("width", "")) for each in elements(picture, "rect"))
    assert second / first == pytest.approx(1.5, rel=0.01)
    stacked = svg.columns("t", "s", X, Y, [Bar([Part(2), Part(4, "c2")], (0, 1))])
    low, high = (float(each.get("height", "")) for each in elements(stacked, "rect"))
    assert high / low == pytest.approx(2, rel=0.01)


def test_nothing_is_drawn_of_nothing() -> None:
    assert elements(svg.columns("t", "s", X, Y, [Bar([Part(0)], (0, 1))]), "rect") == []
    assert elements(svg.chart("t", "s", X, Y, [Line([])]), "polyline") == []


def test_text_is_escaped_everywhere() -> None:
    dot = Dot((5, 5), EVIL)
    for picture in (
        svg.chart(EVIL, EVIL, Axis(EVIL, 0, 1, [(0, EVIL)]), Axis(EVIL, 0, 1), [], [dot],
                  mark=Mark(0.5, EVIL)),
        svg.rows(EVIL, EVIL, X, [Bar([Part(1, label=EVIL)], name=EVIL, figure=EVIL)]),
        svg.columns(EVIL, EVIL, X, Y, [Bar([Part(1, label=EVIL)], (0, 1))]),
    ):  # fmt: skip
        root = ElementTree.fromstring(picture)
        assert root.get("role") == "img"
        assert [child.tag for child in root][:2] == ["title", "desc"]
        assert {each.tag for each in root.iter()} <= {
            "svg", "title", "desc", "path", "text", "g", "rect", "circle",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 100, ["0", "20", "40", "60", "80", "100"]),
        (0, 0.9, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 4_700_000, ["0", "1 M", "2 M", "3 M", "4 M", "5 M"]),
        (1_000_000, 1_050_000, ["1.00 M", "1.01 M", "1.02 M", "1.03 M", "1.04 M", "1.05 M"]),
        (-3, 3, ["-4", "-2", "0", "2", "4"]),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, labels: list[str]) -> None:
    found = svg.amount_axis("USD", low, high)
    assert [label for _, label in found.ticks] == labels
    assert found.low <= low
    assert high <= found.high


@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e-9, 1e15])
def test_an_axis_for_one_value_has_a_length(value: float) -> None:
    found = svg.amount_axis("x", value, value)
    assert found.low < found.high
    assert found.low <= value <= found.high
    assert 2 <= len(found.ticks) <= 12


def test_times_are_labelled_at_round_hours() -> None:
    noon, hour = 1_769_688_000_000, 3_600_000
    two_days = svg.time_axis(noon, noon + 48 * hour)
    assert [label for _, label in two_days.ticks] == ["12:00", "30 Jan", "12:00", "31 Jan", "12:00"]
    assert two_days.title == "time, UTC (29 Jan 2026 to 31 Jan 2026)"
    for span in (60_000, hour, 7 * 24 * hour, 400 * 24 * hour):
        assert 1 <= len(svg.time_axis(noon + 1, noon + span).ticks) <= 7


def test_next_to_nothing_does_not_look_like_much() -> None:
    low, high = svg.widened(1000.0, 1000.1)
    assert high - low == pytest.approx(20, rel=0.01)
    assert svg.widened(0.0, 10.0) == (0.0, 10.0)
