"""The dashboard as Grafana reads it; that it shows data is in test_prometheus.py."""

import json
from typing import Any

import pytest

from tests.monitoring.support import ROOT

BOARDS = sorted((ROOT / "etc" / "grafana").glob("*.json"), key=str)
UNITS = {"none", "short", "s", "cpm", "percentunit"}
COLUMNS = 24


@pytest.fixture(params=BOARDS, ids=lambda path: str(path.stem))
def board(request: pytest.FixtureRequest) -> Any:
    return json.loads(request.param.read_text("utf-8"))


def panels(board: Any) -> list[Any]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_its_data_source_is_chosen_on_the_page(board: Any) -> None:
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == (
        "datasource", "prometheus",
    )  # fmt: skip
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels(board):
        assert panel["datasource"] == wanted
        assert all(target["datasource"] == wanted for target in panel["targets"])
    assert board["uid"]
    assert "id" not in board, "a number of another Grafana's database"


def test_every_panel_says_what_it_shows_and_in_which_unit(board: Any) -> None:
    assert board["schemaVersion"] >= 36, "Grafana 9"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles) > 20
    for panel in panels(board):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert refs, panel["title"]
        assert len(set(refs)) == len(refs), panel["title"]


def test_panels_fill_the_page_without_lying_on_each_other(board: Any) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= COLUMNS, panel["title"]
        assert not taken & cells, panel["title"]
        taken |= cells
    height = max(y for _, y in taken) + 1
    assert len(taken) == COLUMNS * height, "a hole"
