"""Options and arguments of commands, written as a help page shows them; and options as data, a name
and an annotation for each, where many commands have the same."""

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

import typer


def opt(spelling: str, help: str = "", **more: Any) -> Any:
    """An option: `--out FILE`, `-f, --follow`. Where it takes a value and no name for that stands
    here, the name of the parameter does; more: as typer.Option has it."""
    *names, last = spelling.split(", ")
    name, _, metavar = last.partition(" ")
    return typer.Option(*names, name, metavar=metavar or None, help=help or None, **more)


def arg(metavar: str, help: str = "") -> Any:
    """An argument, by the name that its value has on the help page."""
    return typer.Argument(metavar=metavar, help=help or None)


def option(kind: Any, spelling: str, help: str, **more: Any) -> Any:
    """The annotation of an option whose value is None where it is not given."""
    return Annotated[kind | None, opt(spelling, help, show_default=False, **more)]


def keywords(options: Mapping[str, Any]) -> list[inspect.Parameter]:
    """Annotations by name, as keyword parameters of a command."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in options.items()
    ]
