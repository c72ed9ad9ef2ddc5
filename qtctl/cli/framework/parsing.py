"""How a command line is parsed and a help page is laid out: two subclasses of Typer's own. Help
is plain text: rich would double the time that `--help` takes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

_NEGATIVE = re.compile(r"-\.?[0-9]")
_DURATION = re.compile(r"[0-9.]+[smhd]?")
WATCH = "--watch"
WATCH_SEC = "2"
"""What `--watch` without a number means."""
HELP_OPTIONS = ("-h", "--help")


def arity(params: Iterable[Any]) -> dict[str, bool]:
    """Every spelling of every option, and whether a value must follow it."""
    return {
        spelling: not (param.is_flag or param.count or spelling == WATCH)
        for param in params
        if isinstance(param, TyperOption)
        for spelling in (*param.opts, *param.secondary_opts)
    }


def takes_next(token: str, options: Mapping[str, bool]) -> bool | None:
    """Whether the argument behind an option is its value; None for an option not known."""
    name, equals, _ = token.partition("=")
    if name in options:
        return options[name] and not equals
    if token.startswith("--"):
        return None
    # Short options may be run together: `-fn 10`, `-fn10`.
    for at, letter in enumerate(token[1:], start=1):
        takes_value = options.get(f"-{letter}")
        if takes_value is None:
            return None
        if takes_value:
            return at == len(token) - 1
    return False


def shield_numbers(args: Sequence[str], options: Mapping[str, bool]) -> list[str]:
    """`-0.1` in the place of an argument is a value, so that the error can name its range:
    options go first, then the arguments behind `--`. Without such a number all stays as it is."""
    ahead: list[str] = []
    values: list[str] = []
    rest = iter(args)
    for token in rest:
        if token == "--":
            values += rest
        elif len(token) < 2 or token[0] != "-" or _NEGATIVE.match(token):
            values.append(token)
        else:
            ahead.append(token)
            if takes_next(token, options):
                ahead += [value for value in (next(rest, None),) if value is not None]
    if not any(_NEGATIVE.match(value) for value in values):
        return list(args)
    return [*ahead, "--", *values]


def with_default(
    args: Sequence[str], options: Mapping[str, bool], default: str, names: Iterable[str]
) -> list[str]:
    """The arguments of a noun with its default command put in: `plan --blocked` is `plan list
    --blocked`. `plan --blocked list` stays as it is, and the error says what is wrong."""
    at = _behind_options(args, options)
    if _names_command(args, options) or not set(args[at:]).isdisjoint(names):
        return list(args)
    return [*args[:at], default, *args[at:]]


def with_watch(args: Sequence[str]) -> list[str]:
    """`--watch 5` as `--watch=5`, and `--watch` without a number with its default."""
    out: list[str] = []
    rest = iter(enumerate(args))
    for at, token in rest:
        if token == "--":
            return [*out, *args[at:]]
        if token == WATCH:
            value = next(iter(args[at + 1 : at + 2]), "")
            if _DURATION.fullmatch(value):
                next(rest)
            else:
                value = WATCH_SEC
            token = f"{WATCH}={value}"
        out.append(token)
    return out


class Command(TyperCommand):
    """A command: negative numbers are values, and its help has panels and examples."""

    lists: Any = None
    """What it lists (`list_options.Lists`), if it does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        params = self.get_params(ctx)
        if self.lists is not None:
            args = with_watch(args)
        return super().parse_args(ctx, shield_numbers(args, arity(params)))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = (p for p in self.get_params(ctx) if isinstance(p, TyperArgument))
        return ["[OPTIONS]", *(_usage(argument) for argument in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_panels(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_examples(self.epilog, formatter)


class Group(TyperGroup):
    """A noun: runs its default command where none is named, else shows its help."""

    default: str | None = None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        params = self.get_params(ctx)
        options = arity(params)
        asks_help = not set(HELP_OPTIONS).isdisjoint(args)
        if self.default is not None and not asks_help and not ctx.resilient_parsing:
            args = with_default(args, options, self.default, self.commands)
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing and not rest and not _names_command(args, options):
            # On stderr and with the status of a usage error: a script that lost its subcommand
            # must not take a help page for data.
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(2)
        return rest

    def format_options(self, ctx: Any, formatter: Any) -> None:
        rows = [
            (name, command.short_help or (command.help or "").partition("\n\n")[0])
            for name, command in self.commands.items()
            if not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
        _write_panels(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_examples(self.epilog, formatter)


def _behind_options(args: Sequence[str], options: Mapping[str, bool]) -> int:
    """The place of the first argument that is neither a known option nor the value of one."""
    at = 0
    while at < len(args) and args[at].startswith("-"):
        valued = takes_next(args[at], options)
        if valued is None:
            break
        at += 2 if valued else 1
    return at


def _names_command(args: Sequence[str], options: Mapping[str, bool]) -> bool:
    at = _behind_options(args, options)
    return at < len(args) and not args[at].startswith("-")


def _name(argument: TyperArgument) -> str:
    return str(argument.metavar or argument.name).upper()


def _usage(argument: TyperArgument) -> str:
    name = _name(argument) if argument.required else f"[{_name(argument)}]"
    return name if argument.nargs == 1 else f"{name}..."


def _write_panels(params: Iterable[Any], ctx: Any, formatter: Any) -> None:
    """Parameters under the headings of their panels: arguments, own options, shared ones."""
    panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for param in params:
        record = param.get_help_record(ctx)
        if record is None:
            continue
        if isinstance(param, TyperArgument):
            # Without the type that Typer puts behind the name.
            panels["Arguments"].append((_name(param), record[1]))
        else:
            panel = getattr(param, "rich_help_panel", None) or "Options"
            panels.setdefault(panel, []).append(record)
    for title, records in panels.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def _write_examples(epilog: str | None, formatter: Any) -> None:
    """Line by line as written: an example that is wrapped can't be copied."""
    if epilog:
        formatter.write("\nExamples:\n")
        formatter.write("".join(f"  {line}\n" for line in epilog.splitlines()))
