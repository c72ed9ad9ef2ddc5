"""The tables of configuration.md, from the settings themselves."""

from typing import Any

from qtctl.settings.catalog import FieldInfo, fields
from qtctl.settings.model import SECTIONS

BEGIN, END = "<!-- generated: [{}] -->", "<!-- end: [{}] -->"


def with_settings(page: str) -> str:
    """The page with a table of each section as it is now. Errors: ValueError where one has no
    place."""
    for name in SECTIONS:
        begin, end = BEGIN.format(name), END.format(name)
        head, begun, rest = page.partition(begin)
        _, ended, tail = rest.partition(end)
        if not begun or not ended:
            raise ValueError(f"the page has no place for {name!r}")
        page = f"{head}{begin}\n{_table(name)}{end}{tail}"
    return page


def _table(section: str) -> str:
    rows = ["| setting | default | allowed | what it does | old names |", "| --- " * 5 + "|"]
    rows += [_row(field) for field in fields() if field.section == section]
    return "\n".join(rows) + "\n"


def _row(field: FieldInfo) -> str:
    old = ", ".join(f"`{name}`" for name in field.env)
    cells = (f"`{field.key}`", _default(field.default), field.expected, field.description, old)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value) or "none"
    if isinstance(value, bool):
        return f"`{value}`".lower()
    return "empty" if value == "" else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
