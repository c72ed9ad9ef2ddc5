"""The command line names what its room holds."""

from pathlib import Path

from qtctl.cli import commands
from qtctl.cli.main import COMMANDS


def test_the_commands_are_exactly_the_modules_in_their_room() -> None:
    room = Path(commands.__file__).parent
    modules = {f"qtctl.cli.commands.{path.stem}" for path in room.glob("[!_]*.py")}
    assert {module for module, _ in COMMANDS.values()} == modules
    assert all(module.rpartition(".")[2] == name for name, (module, _) in COMMANDS.items())
