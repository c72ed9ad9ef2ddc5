"""The tables of history.md, from the tables that a query sees."""

from qtctl.history.tables import TABLES, Table

BEGIN, END = "<!-- generated: tables -->", "<!-- end: tables -->"


def with_history(page: str) -> str:
    """The page with the tables as they are now. Errors: ValueError where they have no place."""
    head, begun, rest = page.partition(BEGIN)
    _, ended, tail = rest.partition(END)
    if not begun or not ended:
        raise ValueError("the page has no place for the tables")
    return f"{head}{BEGIN}\n{''.join(map(_table, TABLES))}{END}{tail}"


def _table(table: Table) -> str:
    rows = [f"### {table.name}", f"{table.holds[0].upper()}{table.holds[1:]}.", ""]
    rows += ["| column | type | holds |", "| --- | --- | --- |"]
    rows += [f"| `{column.name}` | {column.type} | {column.holds} |" for column in table.columns]
    return "\n".join(rows) + "\n\n"
