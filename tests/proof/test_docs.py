"""docs/proofs.md tells what the proofs are."""

from pathlib import Path

from docs.generators.scenario_table import with_scenarios


def test_the_table_of_the_scenarios_is_up_to_date() -> None:
    page = (Path(__file__).parents[2] / "docs" / "proofs.md").read_text(encoding="utf-8")
    assert with_scenarios(page) == page, "run `make docs`"
