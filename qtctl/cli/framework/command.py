"""What all commands share: the options that mean the same everywhere, and how one is registered.

A command is a function whose first parameter is its `Context`; the decorator adds the common
options::

    app = group("permit", help="Permits of the governor, with the time they have left.")

    @command(app, "list")
    def list_permits(ctx: Context, cap: Annotated[str | None, opt("--cap USD")] = None) -> None:
        \"\"\"Permits in Redis, the one that expires first on top.

        Examples:
            qtctl permit list
            qtctl permit -o json
        \"\"\"

The docstring is the help page; what stands under `Examples:` is printed as it is. What a command
returns is its exit code, None for 0.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import typer
from typer.models import ArgumentInfo, OptionInfo

from qtctl.cli.framework.context import Context
from qtctl.cli.framework.options import keywords, option
from qtctl.cli.framework.parsing import HELP_OPTIONS, Command, Group
from qtctl.errors import UsageError

if TYPE_CHECKING:
    # Only for the checker: help pages of what lists nothing do without its options.
    from qtctl.cli.framework.list_options import Lists

F = TypeVar("F", bound=Callable[..., Any])

OUTPUTS = ("table", "json", "ndjson")
ROWS = ("csv",)
"""What commands that print rows take beside these."""
PANEL = "Common options, before or after the command"


def command(
    app: typer.Typer,
    name: str | None = None,
    *,
    hidden: bool = False,
    outputs: tuple[str, ...] = (),
    lists: "Lists | None" = None,
) -> Callable[[F], F]:
    """Register a function, which stays callable as it is, as a command of `app`. `outputs` are
    further words that `-o` takes here; `lists` gives it the options of every list."""

    def register(function: F) -> F:
        own = list(inspect.signature(function).parameters.values())[1:]
        for parameter in own:
            _name_value(parameter)
        allowed = OUTPUTS + outputs + (ROWS if lists is not None else ())

        def run(ctx: typer.Context, **given: Any) -> None:
            context = _context(ctx, allowed)
            arguments = {parameter.name: given[parameter.name] for parameter in own}

            def call(context: Context) -> None:
                code = function(context, **arguments)
                if code:
                    raise typer.Exit(code)

            if lists is None:
                call(context)
                return
            from qtctl.cli.framework.pager import paged
            from qtctl.cli.framework.repeating import repeat

            context.listing = lists.asked(given, context.utc)
            if context.listing.watch_sec is not None:
                # It goes on until it is interrupted: what a single pass would exit with is no end.
                repeat(context, lambda context: function(context, **arguments))
                return
            with paged(context, pages=not arguments.get(lists.follows)):
                call(context)

        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        more = [] if lists is None else lists.parameters()
        _set_signature(run, [context, *own, *more, *_common(allowed)])
        help, examples = _help_and_examples(function)
        app.command(
            name or function.__name__.replace("_", "-"),
            cls=type("ListCommand", (Command,), {"lists": lists}) if lists else Command,
            help=help,
            epilog=examples,
            hidden=hidden,
        )(run)
        return function

    return register


def group(name: str, *, help: str, examples: str, default: str | None = None) -> typer.Typer:
    """A noun with commands; bare, or with options only, it runs its `default` command."""
    cls = type("NounGroup", (Group,), {"default": default})
    if default is not None:
        help = f"{help}\n\nWithout a command: {default}."
    app = new_app(name, cls=cls, help=help, epilog=inspect.cleandoc(examples))
    app.callback()(common_callback())
    return app


def new_app(name: str, **more: Any) -> typer.Typer:
    """A Typer with plain help that leaves errors to `exit.py`, for a module with one command;
    nouns take `group`."""
    return typer.Typer(
        name=name,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": list(HELP_OPTIONS)},
        **more,
    )


def common_callback(**more: Any) -> Callable[..., None]:
    """What makes the common options stand before a subcommand, too; `_context` reads them there.
    more: annotations of further options, by name."""

    def callback(**given: Any) -> None:
        """Nothing to do here: the command collects the options of all levels."""

    _set_signature(callback, [*keywords(more), *_common(OUTPUTS)])
    return callback


_option = partial(option, rich_help_panel=PANEL)
_COMMON: dict[str, Any] = {
    "redis_url": _option(str, "--redis-url URL", "redis://, rediss://, unix://, embedded:, …"),
    "context": _option(
        str,
        "--context CONTEXT",
        "A Redis by its name in the file, [contexts.NAME]. Default: $QTCTL_CONTEXT.",
    ),
    "confirm_context": _option(
        str, "--confirm-context CONTEXT", "Answer the question for a protected context's name."
    ),
    "config": _option(
        str, "--config PATH", "TOML file. Default: $QTCTL_CONFIG, else /etc/quantum/qtctl.toml."
    ),
    "sets": _option(list[str], "--set SECTION.KEY=VALUE", "Override a setting; repeatable."),
    "utc": _option(bool, "--utc/--local", "Times in tables. Default: --utc."),
    "numbers": _option(bool, "--numbers", "JSON numbers where Redis has numbers as text."),
    "pager": _option(bool, "--pager/--no-pager", "Default: lists on a terminal."),
    "debug": _option(bool, "--debug", "Show the traceback of an error."),
}


def _common(outputs: Sequence[str]) -> list[inspect.Parameter]:
    """The common options as keyword parameters; None where one is not given."""
    output = _option(str, f"-o, --output {'|'.join(outputs)}", "Default: table.")
    return keywords({"output": output, **_COMMON})


def _context(ctx: typer.Context, outputs: Sequence[str]) -> Context:
    """The common options of all levels as one: the deeper one wins, `--set` adds up."""
    merged: dict[str, Any] = {}
    sets: list[str] = []
    levels: list[Any] = [ctx]
    while levels[-1].parent is not None:
        levels.append(levels[-1].parent)
    for params in (level.params for level in reversed(levels)):
        for name in ("output", *_COMMON):
            if params.get(name) is not None:
                merged[name] = params[name]
        sets += params.get("sets") or ()
        output = params.get("output")
        if output is not None and output not in outputs:
            raise UsageError(f"--output {output!r} must be one of {', '.join(outputs)}")
    start = ctx.find_object(Context) or Context()
    merged |= {"sets": tuple(sets), "root": ctx.find_root().command}
    return replace(start, **merged)


def _set_signature(function: Any, parameters: Sequence[inspect.Parameter]) -> None:
    """Typer reads both: the signature and the annotations."""
    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    function.__signature__ = inspect.Signature(keyword)
    function.__annotations__ = {p.name: p.annotation for p in keyword}


def _name_value(parameter: inspect.Parameter) -> None:
    """`--ttl TTL` instead of `--ttl <str>`, where the author gave no better metavar."""
    base, *metadata = get_args(parameter.annotation) or (parameter.annotation,)
    choices = base is bool or bool in get_args(base) or getattr(base, "__origin__", 0) is Literal
    for info in metadata:
        if isinstance(info, (ArgumentInfo, OptionInfo)) and not info.metavar and not choices:
            info.metavar = parameter.name.upper()


def _help_and_examples(function: Callable[..., Any]) -> tuple[str, str]:
    """The two parts of a docstring; the examples without their indentation."""
    text, _, examples = (inspect.getdoc(function) or "").partition("\nExamples:\n")
    return text.strip(), inspect.cleandoc("\n" + examples)
