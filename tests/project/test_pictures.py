"""docs/architecture.md draws the packages as they are."""

from pathlib import Path

import pytest

from docs.generators.package_picture import cycles, imports, picture, rows, table, with_picture

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


def test_the_picture_and_the_table_are_up_to_date() -> None:
    page = PAGE.read_text("utf-8")
    assert page == with_picture(page), "run `make docs`"


def test_each_room_is_drawn_once_and_an_arrow_points_down() -> None:
    drawn = rows(imports())
    height = {name: row for row, names in enumerate(drawn) for name in names}
    assert sorted(height) == sorted(imports())
    up = [(a, b) for a, of in imports().items() for b in of if height[a] > height[b]]
    assert not up
    assert not cycles(imports())
    for name in imports():
        assert name in picture()


def test_rooms_that_import_each_other_share_a_row() -> None:
    knot = {"a": frozenset("b"), "b": frozenset("a"), "c": frozenset("a"), "d": frozenset[str]()}
    assert rows(knot) == [["c"], ["a", "b", "d"]]


def test_the_table_says_what_each_package_says_of_itself() -> None:
    for line in table().splitlines()[2:]:
        room, lives, arrows = (cell.strip() for cell in line.strip("|").split(" | "))
        assert lives, f"{room} has no docstring"
        assert arrows


def test_a_page_without_a_place_for_the_picture_is_an_error() -> None:
    with pytest.raises(ValueError, match="packages"):
        with_picture("nothing here")
