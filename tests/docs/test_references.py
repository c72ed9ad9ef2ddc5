"""The reference pages are what the code says today."""

from pathlib import Path

import pytest

from docs.generators.commands_page import commands_page
from docs.generators.settings_tables import with_settings
from qtctl.cli.main import COMMANDS
from qtctl.settings.catalog import fields

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_settings_is_up_to_date() -> None:
    page = (DOCS / "configuration.md").read_text("utf-8")
    assert page == with_settings(page), "run `make docs`"
    for field in fields():
        assert f"| `{field.key}` |" in page


def test_a_page_without_a_place_for_a_section_is_an_error() -> None:
    with pytest.raises(ValueError, match="redis"):
        with_settings("nothing here")


def test_the_page_of_commands_is_up_to_date() -> None:
    page = (DOCS / "cli.md").read_text("utf-8")
    assert page == commands_page(), "run `make docs`"
    for name in COMMANDS:
        assert f"\n## qtctl {name}\n" in page
