"""The root of the command line. `main` is what the `qtctl` binary runs.

A command lives in a module of `commands/` that has an `app` (see `framework/command.py`), and in a
line of COMMANDS; it is imported only when it is named.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand

from qtctl import __version__
from qtctl.cli.framework import exit, process
from qtctl.cli.framework.command import common_callback, new_app
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.options import option
from qtctl.cli.framework.parsing import Group

_LINES = {
    "demo": "Both loops on a private server with synthetic traffic.",
    "serve": "Run the allocation loop, the governor, the recorder, or all.",
    "inject": "Synthetic scores, targets and plans.",
    "tail": "Last entries: proposed, plans, events, rejected.",
    "timeline": "What happened: halts, restarts, changes, failovers.",
    "bundle": "All for a post-mortem, in one file.",
    "logs": "What the services logged, from the journal.",
    "status": "How everything stands, on one screen.",
    "top": "The same, live: a screen to work in.",
    "permit": "Open permits and when they expire; take one.",
    "halt": "Stop opens at once, or everything; never asks.",
    "resume": "Lift a halt; asks, and needs a reason.",
    "plan": "Decisions, explained gate by gate.",
    "why": "Why there was no trade in a symbol, on one screen.",
    "doctor": "What is wrong, and how to fix it: the checklist.",
    "group": "Consumer groups: lag, pending; recover and prune.",
    "stream": "Streams: length, ages, minutes kept, growth.",
    "proof": "The twelve scenarios, proven from outside.",
    "bench": "The loops beside the bare Redis floor, measured.",
    "target": "Live targets beside their proposals.",
    "eff": "Efficiency scores, and what they count as.",
    "config": "Settings in force, and where each comes from.",
    "completion": "Completion for bash, zsh and fish.",
    "deploy": "Install the services on this host and start them.",
    "simulate": "A synthetic market: live into a Redis, or as a history.",
    "history": "What was decided and on what, day by day; SQL over it.",
    "report": "What both loops did over a window, from the history.",
    "replay": "What was decided, again, under other settings.",
    "readiness": "Is the history good enough to enforce on? Gate by gate.",
    "evidence": "All of it in one folder that verifies anywhere.",
    "rollback": "Restore what was there before a deployment.",
    "version": "The version, and what it runs on.",
    "help": "The page of a command, as --help shows it.",
}
COMMANDS = {name: (f"qtctl.cli.commands.{name}", line) for name, line in _LINES.items()}
"""Name on the command line: module, and its line in `qtctl --help` (which imports no module)."""

EXAMPLES = """\
qtctl demo
qtctl serve allocation
qtctl inject eff BTCUSDT 0.2
qtctl tail proposed
qtctl proof step2"""


class Root(Group):
    """The commands by name; the module of one is imported when it is asked for."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands = {
            name: TyperCommand(name, short_help=line) for name, (_, line) in COMMANDS.items()
        }

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself, with all that is below it; None for a name not known."""
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(COMMANDS[cmd_name][0]).app)
        command.name = cmd_name
        return command


def _halt_notice(rows: Sequence[Any], utc: bool) -> str:
    """What every command that connects reports while something is stopped."""
    from qtctl.cli.views import halts

    return halts.notice(rows, utc)


def _print_version(asked: bool | None) -> None:
    if asked:
        typer.echo(f"qtctl {__version__}")
        raise typer.Exit


def root() -> Any:
    """The whole command line as Typer's parser wants it."""
    app = new_app(
        "qtctl",
        cls=Root,
        help="Operator's tool and service host for the allocation loop and the governor.",
        epilog=EXAMPLES,
    )
    what = "Print the version and exit."
    version = option(bool, "--version", what, callback=_print_version, is_eager=True)
    app.callback()(common_callback(version=version))
    return typer.main.get_command(app)


def run(args: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run one command line and return its exit code. `environ`: the process's own unless given."""

    def action() -> None:
        start = Context(environ=os.environ if environ is None else environ, notice=_halt_notice)
        command = root()
        with command.make_context("qtctl", list(args), obj=start) as ctx:
            command.invoke(ctx)

    return exit.guarded(action, debug="--debug" in args)


def main() -> None:
    """Run the command line of this process, and end it."""
    process.prepare()
    process.leave(run(sys.argv[1:]))
