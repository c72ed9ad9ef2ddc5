"""The picture of all packages in docs/architecture.md, from the imports as they are: `make docs`.

A room is a package, or a package within `wire` and `cli`. Rooms stand in rows, so that each row
imports rows below it only; rooms that import each other would share a row and be marked.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import grimp

PACKAGE = Path(__file__).parents[2] / "qtctl"
SPLIT = ("wire", "cli")
"""Packages whose rooms are shown one by one."""
WIDTH = 96
BEGIN, END = "<!-- generated: {} -->", "<!-- end: {} -->"
Edges = Mapping[str, frozenset[str]]


@cache
def imports() -> Edges:
    """Room to the rooms that its modules import, at their top or within a function."""
    graph = grimp.build_graph("qtctl", cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in sorted(graph.modules):
        importer = room(module)
        if importer is None:
            continue
        mine = found.setdefault(importer, set())
        for name in graph.find_modules_directly_imported_by(module):
            imported = room(name)
            if imported is not None and imported != importer:
                mine.add(imported)
    return {name: frozenset(of) for name, of in found.items()}


def room(module: str) -> str | None:
    """The room of a module; None for the package itself and `__main__`."""
    parts = module.split(".")[1:]
    if not parts or parts[0] == "__main__":
        return None
    if parts[0] in SPLIT:
        return ".".join(parts[:2]) if len(parts) > 1 else None
    return parts[0]


def rows(edges: Edges) -> list[list[str]]:
    """The rooms from top to bottom. Rooms in a cycle share a row."""
    below = {name: _reach(edges, name) for name in edges}
    heights: dict[str, int] = {}

    def height(name: str) -> int:
        if name not in heights:
            proper = [other for other in below[name] if name not in below[other]]
            heights[name] = 1 + max(map(height, proper), default=-1)
        return heights[name]

    for name in edges:
        height(name)
    ordered = sorted(set(heights.values()), reverse=True)
    return [sorted(name for name in heights if heights[name] == row) for row in ordered]


def cycles(edges: Edges) -> set[frozenset[str]]:
    """Rooms that import each other, directly or by way of others."""
    below = {name: _reach(edges, name) for name in edges}
    return {
        frozenset(other for other in below[name] if name in below[other])
        for name in edges
        if name in below[name]
    }


def _reach(edges: Edges, start: str) -> set[str]:
    found: set[str] = set()
    todo = list(edges[start])
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo.extend(edges[name])
    return found


def picture() -> str:
    """The rows as a stack of boxes: an import points down, never up, never sideways."""
    bar = "─" * (WIDTH - 2)
    lines = [f"┌{bar}┐"]
    for index, row in enumerate(rows(imports())):
        if index:
            lines.append(f"├{bar}┤")
        lines += [f"│ {line:<{WIDTH - 4}} │" for line in _folded(row)]
    return "```\n" + "\n".join([*lines, f"└{bar}┘"]) + "\n```\n"


def _folded(names: Iterable[str]) -> Iterator[str]:
    line = ""
    for name in names:
        if line and len(line) + 3 + len(name) > WIDTH - 4:
            yield line
            line = ""
        line = f"{line}   {name}" if line else name
    yield line


def table() -> str:
    """Each room: what lives there, by its own docstring, and all that it imports."""
    edges = imports()
    lines = ["| room | what lives there | imports |", "| --- | --- | --- |"]
    for name in sorted(edges):
        imported = ", ".join(sorted(edges[name])) or "nothing"
        lines.append(f"| `{_path(name)}` | {summary(name)} | {imported} |")
    return "\n".join(lines) + "\n"


def _path(name: str) -> str:
    path = PACKAGE / name.replace(".", "/")
    return f"{name.replace('.', '/')}/" if path.is_dir() else f"{name.replace('.', '/')}.py"


def summary(name: str) -> str:
    """The first sentence of the room's docstring, without its full stop."""
    path = PACKAGE / name.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return re.split(r"\.(?:\s|$)", " ".join(text.split()), maxsplit=1)[0].replace("|", "\\|")


def with_picture(page: str) -> str:
    """The page with both generated parts as they are now.

    Errors: ValueError where the page lacks the marks of one.
    """
    for name, text in (("packages", picture()), ("rooms", table())):
        head, mark, rest = page.partition(BEGIN.format(name))
        _, mark_end, tail = rest.partition(END.format(name))
        if not mark or not mark_end:
            raise ValueError(f"the page has no place for {name!r}")
        page = f"{head}{mark}\n{text}{mark_end}{tail}"
    return page
