"""Writes the generated parts of the pages: `make docs`. Tests check that they are up to date."""

from pathlib import Path

from docs.generators.commands_page import commands_page
from docs.generators.contract_tables import filled
from docs.generators.data_pictures import PICTURES
from docs.generators.example_pages import write_pages
from docs.generators.history_tables import with_history
from docs.generators.monitoring_tables import with_tables
from docs.generators.package_picture import with_picture
from docs.generators.scenario_table import with_scenarios
from docs.generators.settings_tables import with_settings

DOCS = Path(__file__).parents[1]


def main() -> None:
    page = DOCS / "redis-contract.md"
    page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    page = DOCS / "monitoring.md"
    page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
    page = DOCS / "proofs.md"
    page.write_text(with_scenarios(page.read_text(encoding="utf-8")), encoding="utf-8")
    page = DOCS / "configuration.md"
    page.write_text(with_settings(page.read_text(encoding="utf-8")), encoding="utf-8")
    page = DOCS / "architecture.md"
    page.write_text(with_picture(page.read_text(encoding="utf-8")), encoding="utf-8")
    for name, picture in PICTURES.items():
        (DOCS / name).write_text(picture(), encoding="utf-8")
    page = DOCS / "history.md"
    page.write_text(with_history(page.read_text(encoding="utf-8")), encoding="utf-8")
    (DOCS / "cli.md").write_text(commands_page(), encoding="utf-8")
    write_pages()


if __name__ == "__main__":
    main()
