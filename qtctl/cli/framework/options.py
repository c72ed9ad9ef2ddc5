"""Options that many commands have, as data: a name and an annotation for each."""

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

import typer


def option(kind: Any, *spellings: str, **more: Any) -> Any:
    """The annotation of an option whose value is None where it is not given."""
    return Annotated[kind | None, typer.Option(*spellings, show_default=False, **more)]


def keywords(options: Mapping[str, Any]) -> list[inspect.Parameter]:
    """Annotations by name, as keyword parameters of a command."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in options.items()
    ]
