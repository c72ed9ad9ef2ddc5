"""`qtctl help COMMAND`: the same page as `qtctl COMMAND --help`."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from qtctl.cli.framework import Context, arg, command, new_app
from qtctl.errors import UsageError

app = new_app("help")


@command(app)
def help(ctx: Context, names: Annotated[list[str] | None, arg("COMMAND")] = None) -> None:
    """How a command is called: what it does, its options, examples. Without one: all commands.

    Examples:
        qtctl help
        qtctl help plan list
    """
    typer.echo(_page(ctx.root, names or ()).get_help())


def _page(root: Any, names: Sequence[str]) -> Any:
    """The context of the command with these names. Errors: UsageError naming what there is."""
    at, found = root, _context(root, "qtctl", None)
    for name in names:
        below = {each: it for each, it in getattr(at, "commands", {}).items() if not it.hidden}
        at = at.get_command(found, name) if hasattr(at, "commands") else None
        if at is None:
            there = f"; there are {', '.join(sorted(below))}" if below else ""
            raise UsageError(f"{found.command_path!r} has no command {name!r}{there}")
        found = _context(at, name, found)
    return found


def _context(command: Any, name: str, parent: Any) -> Any:
    return typer.Context(
        command, info_name=name, parent=parent, resilient_parsing=True, **command.context_settings
    )
