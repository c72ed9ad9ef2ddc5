"""The oldest versions that pyproject.toml allows, as constraints for pip.

`python -m tests.support.floors` prints one `name==floor` a line; it needs nothing but Python.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
LOCKED_EXTRAS = ("embedded", "dev")
"""What `make lock` pins. `parquet` is for users: pyarrow is large, and one test of the export runs
where somebody has installed it."""
_FLOOR = re.compile(r"(?P<name>[\w.-]+)(?:\[\w+\])?>=(?P<floor>[0-9][0-9.]*)(?:,<[0-9.]+)?")
"""The only form that is used: `name>=floor`, with extras and a cap where there are any."""


def requirements() -> list[str]:
    """Each direct requirement of the project, its locked extras and its build, as they stand."""
    document: dict[str, Any] = tomllib.loads(PYPROJECT.read_text())
    project = document["project"]
    extras = [project["optional-dependencies"][extra] for extra in LOCKED_EXTRAS]
    found = [*project["dependencies"], *document["build-system"]["requires"]]
    return [*found, *(requirement for extra in extras for requirement in extra)]


def floors() -> dict[str, str]:
    """Name to oldest version. Errors: ValueError for a requirement without a floor, or with two."""
    found: dict[str, str] = {}
    for requirement in requirements():
        match = _FLOOR.fullmatch(requirement)
        if match is None:
            raise ValueError(f"{requirement!r} is not of the form name>=floor or name>=floor,<cap")
        if found.setdefault(match["name"], match["floor"]) != match["floor"]:
            raise ValueError(f"{match['name']} has two floors in pyproject.toml")
    return found


if __name__ == "__main__":
    print("\n".join(f"{name}=={floor}" for name, floor in floors().items()))  # noqa: T201
