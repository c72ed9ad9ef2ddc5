"""A list of `top`: its selection, scrolling, order and filter, whatever comes in between."""

import random
from typing import Any

import pytest

from qtctl.cli.live.selection import Prepared, Row, Selection, Shape
from qtctl.cli.output.columns import money, number, text

SHAPE = Shape(
    (text("name", "name"), money("usd", "usd"), number("score", "score", places=2)),
    key=lambda row: row["name"],
    names=lambda row: (row["name"],),
    is_problem=lambda row: row["score"] == "",
)


def rows(*names: str, **changes: Any) -> list[Row]:
    return [
        {"name": name, "usd": f"{place}.00", "score": changes.get(name, "0.5")}
        for place, name in enumerate(names)
    ]


def names(found: list[Row]) -> list[str]:
    return [row["name"] for row in found]


def test_the_selected_row_stays_selected_and_on_its_line_when_the_order_moves() -> None:
    selection = Selection(SHAPE)
    selection.window(rows(*"abcdefghij"), 4)
    selection.move(2)
    shown = selection.window(rows(*"abcdefghij"), 4)
    assert (names(shown.rows), shown.selected) == (["a", "b", "c", "d"], 2)
    shown = selection.window(rows(*"jihgfedcba"), 4)
    assert (names(shown.rows), shown.selected) == (["e", "d", "c", "b"], 2)
    shown = selection.window(rows(*"cabdefghij"), 4)
    assert (names(shown.rows), shown.selected) == (["c", "a", "b", "d"], 0), "no room above it"


@pytest.mark.parametrize("most", [1, 3, 20])
def test_it_follows_through_any_order_filter_and_size(most: int) -> None:
    draw = random.Random(7)
    selection = Selection(SHAPE)
    every = [f"s{place}" for place in range(50)]
    selection.window(rows(*every), most)
    selection.move(17)
    for _ in range(200):
        draw.shuffle(every)
        if draw.random() < 0.3:
            selection.sort(draw.choice((1, -1)))
        if draw.random() < 0.3:
            selection.reverse()
        there = [name for name in every if name == "s17" or draw.random() < 0.8]
        height = draw.randint(1, most)
        shown = selection.window(rows(*there), height)
        assert shown.selected is not None
        assert shown.rows[shown.selected]["name"] == "s17"
        assert len(shown.rows) == min(height, len(there)), "no line is left empty"


def test_at_the_top_the_newest_is_selected_until_a_key_moves() -> None:
    selection = Selection(SHAPE)
    assert selection.window(rows("a", "b"), 5).selected == 0
    selection.window(rows("new", "a", "b"), 5)
    assert selection.row == rows("new", "a", "b")[0]
    selection.hold()
    selection.window(rows("newer", "new", "a"), 5)
    assert (selection.row or {})["name"] == "new", "it is held once something was done with it"
    selection.top()
    selection.window(rows("newest", "newer", "new"), 5)
    assert (selection.row or {})["name"] == "newest"


def test_where_the_selected_row_is_gone_its_neighbour_is_selected() -> None:
    selection = Selection(SHAPE)
    selection.window(rows(*"abcd"), 5)
    selection.move(2)
    selection.window(rows(*"abd"), 5)
    assert (selection.row or {})["name"] == "d"
    selection.window(rows("a"), 5)
    assert (selection.row or {})["name"] == "a"
    assert selection.window([], 5).selected is None
    selection.move(1)
    selection.end()
    assert selection.row is None
    assert selection.window(rows(*"ab"), 5).selected == 0


def test_moving_ends_at_the_ends() -> None:
    selection = Selection(SHAPE)
    every = rows(*"abcdefghij")
    selection.window(every, 4)
    for act, place in (
        (lambda: selection.move(-1), 0), (lambda: selection.turn(1), 3), (selection.end, 9),
        (lambda: selection.turn(1), 9), (lambda: selection.turn(-1), 6), (selection.top, 0),
    ):  # fmt: skip
        act()
        shown = selection.window(every, 4)
        assert shown.selected is not None
        assert shown.first + shown.selected == place


def test_it_sorts_by_any_column_and_back() -> None:
    selection = Selection(SHAPE)
    every = rows("b", "C", "a", b="0.10", C="", a="0.9")
    orders = []
    for _ in range(4):
        orders.append(names(selection.window(every, 9).rows))
        selection.sort(1)
    assert orders == [["b", "C", "a"], ["a", "b", "C"], ["a", "C", "b"], ["a", "b", "C"]]
    assert selection.describe() == ""
    selection.sort(-1)
    assert selection.describe() == "sorted by score ↓"
    selection.reverse()
    assert names(selection.window(every, 9).rows) == ["b", "a", "C"], "the unknown stays last"
    assert selection.arrow == "↑"
    selection.clear()
    assert names(selection.window(every, 9).rows) == ["b", "C", "a"]


def test_numbers_sort_as_numbers_and_what_is_half_words_as_words() -> None:
    selection = Selection(SHAPE)
    selection.sort(1)
    selection.sort(1)
    every = [{"name": value, "usd": value, "score": ""} for value in ("9", "10", "-1", "", "1e3")]
    assert names(selection.window(every, 9).rows) == ["1e3", "10", "9", "-1", ""]
    every.append({"name": "odd", "usd": "odd", "score": ""})
    assert names(selection.window(every, 9).rows)[-1] == ""


def test_filter_and_problems_only() -> None:
    selection = Selection(SHAPE)
    every = rows("AB", "abc", "x", AB="")
    selection.filter("Ab")
    assert names(selection.window(every, 9).rows) == ["AB", "abc"]
    selection.toggle_problems()
    assert names(selection.window(every, 9).rows) == ["AB"]
    assert selection.describe() == "filter: Ab · problems only"
    selection.filter("")
    selection.toggle_problems()
    assert selection.window(every, 9).total == 3
    assert selection.describe() == ""


def test_what_is_prepared_ahead_gives_the_same() -> None:
    every = rows(*"cab", c="", a="0.2")
    plain, ahead = Selection(SHAPE), Selection(SHAPE)
    prepared = Prepared(every, SHAPE).ahead()
    for step in range(5):
        for selection in (plain, ahead):
            selection.filter("" if step % 2 else "a")
            selection.sort(1)
        assert plain.window(every, 9).rows == ahead.window(prepared, 9).rows
