"""What a command is made of: options, context, arguments, safety questions, exit codes."""

from qtctl.cli.framework.command import ROWS, command, group, new_app
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.options import arg, opt

__all__ = ["ROWS", "Context", "arg", "command", "group", "new_app", "opt"]
