"""What docs/ say of the banner and of the document of `status` is what there is."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from qtctl.cli.views import alarms, health_record
from tests.cli.test_alarms import CASES

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = [it for it in vars(health_record).values() if isinstance(it, type)]


def rows(page: str, header: str) -> list[list[str]]:
    """The cells of a table that begins with this header."""
    _, _, rest = (DOCS / page).read_text("utf-8").partition(header)
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_alarm_has_its_row_in_the_order_of_the_banner() -> None:
    listed = [
        row[0].strip("` ") for row in rows("operations.md", "| alarm | the line says | next |")
    ]
    assert listed == list(alarms.RULES)


def test_the_table_quotes_what_the_banner_says() -> None:
    for kind, says, _ in rows("operations.md", "| alarm | the line says | next |"):
        texts = [case_text(found) for found, of, _, _ in CASES if of == kind.strip("` ")]
        for phrase in re.findall(r"`([^`]+)`", says):
            assert any(phrase in text for text in texts), (kind, phrase, texts)


def case_text(found: health_record.Overall) -> str:
    (alarm,) = alarms.alarms(found)
    return alarm.text


@pytest.mark.parametrize("record", RECORDS, ids=[it.__name__ for it in RECORDS])
def test_every_field_of_the_document_is_described(record: type) -> None:
    if record.__module__ != health_record.__name__:
        return
    text = " ".join(cell for row in rows("monitoring.md", "| field | what it is |") for cell in row)
    named = set(re.findall(r"`([a-z_]+)`", text))
    assert {it.name for it in fields(record)} - named == set()
