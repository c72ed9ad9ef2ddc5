"""What may stand at the end of a command line: commands, options, their values, names in Redis."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.core import TyperArgument, TyperOption

from qtctl.cli.completion import listing
from qtctl.cli.framework.context import Context
from qtctl.cli.framework.parsing import arity, takes_next

Option = tuple[str, str]
"""What may be typed, and what it is in a few words (or "")."""

PATIENCE_SEC = 0.5
"""Whoever pressed TAB waits no longer for Redis."""
WAIT = ("redis.connect_timeout_sec=0.4", "redis.timeout_sec=0.4")


class Answer(NamedTuple):
    """kind: `words`; `open` where what is offered goes on (`--set governor.min_conf=`); `files`
    where the shell knows better. Each of the options begins with what was typed."""

    kind: str
    options: list[Option]


NOTHING = Answer("words", [])
FILES = Answer("files", [])


class Place(NamedTuple):
    """Where a command line ends. found: what is given by now, by the names of the parameters; at:
    the parameter whose value comes now, None for a command's name or an option."""

    command: Any
    context: Any
    found: Mapping[str, Sequence[str]]
    at: Any
    only_values: bool


def answer(words: Sequence[str], ctx: Context) -> Answer:
    """What may follow; words: all behind `qtctl`, the last being typed. ctx: the options that
    do not stand among them."""
    *before, current = words
    place = _place(ctx.root, before)
    if place is None:
        return NOTHING
    if not place.only_values and current.startswith("-"):
        return _option(place, current, ctx)
    if place.at is not None:
        return _value(place, place.at, current, ctx)
    return _kept(_commands(place), current)


def _place(command: Any, before: Sequence[str]) -> Place | None:
    """None where nothing more is expected, or where what stands there is not understood."""
    context = typer.Context(command, info_name="qtctl", resilient_parsing=True)
    found: dict[str, list[str]] = {}
    values = 0
    only_values = False
    rest = iter(before)
    for word in rest:
        params = command.get_params(context)
        if word == "--" and not only_values:
            only_values = True
        elif word.startswith("-") and len(word) > 1 and not only_values:
            option = _named(params, word.partition("=")[0])
            value: str | None = word.partition("=")[2]
            if takes_next(word, arity(params)):
                value = next(rest, None)
                if value is None:
                    return Place(command, context, found, option, True)
            if option is not None:
                found.setdefault(option.name, []).append(value or "")
        elif hasattr(command, "commands"):
            below = command.get_command(context, word)
            if below is None:
                return None
            context = typer.Context(below, parent=context, info_name=word, resilient_parsing=True)
            command = below
        else:
            argument = _argument(params, values)
            if argument is not None:
                found.setdefault(argument.name, []).append(word)
            values += 1
    at = None
    if not hasattr(command, "commands"):
        at = _argument(command.get_params(context), values)
    return Place(command, context, found, at, only_values)


def _named(params: Sequence[Any], spelling: str) -> Any:
    """The option with this spelling, or whose letter ends a bundle of short ones (`-fn`)."""
    short = f"-{spelling[-1]}" if not spelling.startswith("--") else spelling
    for wanted in (spelling, short):
        for param in params:
            if isinstance(param, TyperOption) and wanted in (*param.opts, *param.secondary_opts):
                return param
    return None


def _argument(params: Sequence[Any], place: int) -> Any:
    arguments = [param for param in params if isinstance(param, TyperArgument)]
    for number, argument in enumerate(arguments):
        if argument.nargs == -1 or number == place:
            return argument
    return None


def _commands(place: Place) -> Iterator[Option]:
    for name, command in getattr(place.command, "commands", {}).items():
        if not command.hidden:
            yield name, command.short_help or (command.help or "").partition("\n\n")[0]


def _option(place: Place, current: str, ctx: Context) -> Answer:
    """The spellings of the options, or the value in `--option=value`."""
    params = place.command.get_params(place.context)
    name, equals, value = current.partition("=")
    if equals:
        option = _named(params, name)
        if option is None or option.is_flag:
            return NOTHING
        found = _value(place, option, value, ctx)
        return Answer(found.kind, [(f"{name}={value}", help) for value, help in found.options])
    options = (param for param in params if isinstance(param, TyperOption) and not param.hidden)
    spellings = (
        (spelling, option.help or "")
        for option in options
        for spelling in (*option.opts, *option.secondary_opts)
        if spelling.startswith("--") or len(current) < 2
    )
    return _kept(spellings, current)


def _value(place: Place, param: Any, current: str, ctx: Context) -> Answer:
    """The value of an argument or of an option."""
    if getattr(place.command, "lists", None) is not None and param.name in listing.OFFERED:
        kind, words = listing.offered(place.command.lists, param.name, place.found, current)
        return Answer(kind, _kept(((word, "") for word in words), current).options)
    metavar = param.metavar or ""
    path = place.context.command_path.removeprefix("qtctl ")
    offered = WORDS.get((path, metavar)) or WORDS.get(("", metavar))
    if offered is not None:
        return _kept(((word, "") for word in offered), current)
    if metavar in ("PATH", "FILE", "DIR"):
        return FILES
    if metavar in SETTINGS:
        kind, options = SETTINGS[metavar]
        return Answer(kind, _kept(options(), current).options)
    if metavar == CONTEXT:
        return _kept(((name, "") for name in _contexts(place.found, ctx)), current)
    if isinstance(param, TyperOption):
        choices = metavar.split("|")
        return _kept(((word, "") for word in choices), current) if len(choices) > 1 else NOTHING
    if (path, metavar) == HELP:
        return _kept(_commands(place._replace(command=place.context.find_root().command)), current)
    if (path, metavar) == HISTORY_DAY:
        return _kept(((day, "") for day in _days(place.found, ctx)), current)
    if (path, metavar) == DEPLOYMENT:
        return _kept(((id, "") for id in _deployments(place.found)), current)
    look = NAMES.get((path, metavar)) or NAMES.get(("", metavar))
    return NOTHING if look is None else _names(place.found, look, current, ctx)


def _kept(options: Iterable[Option], current: str) -> Answer:
    kept = ((word, help) for word, help in options if word.startswith(current))
    return Answer("words", [(word, " ".join(help.split())) for word, help in kept])


def _keys() -> Iterable[Option]:
    from qtctl.settings import fields

    sections = dict.fromkeys((field.section for field in fields()), "")
    return (sections | {field.path: field.description for field in fields()}).items()


def _assignments() -> Iterable[Option]:
    from qtctl.settings import fields

    return ((f"{field.path}=", field.description) for field in fields())


def _limits() -> Iterable[Option]:
    from qtctl.domain.what_if import LIMIT_NAMES

    return ((f"{name}=", "") for name in LIMIT_NAMES)


def _contexts(given: Mapping[str, Sequence[str]], ctx: Context) -> list[str]:
    """The contexts of the file that the line, else this shell names; none where it is no file."""
    from qtctl.settings import contexts

    config = given.get("config", (ctx.config,))[-1]
    with suppress(Exception):
        return contexts.names(None if config is None else Path(config), ctx.environ)
    return []


def _days(given: Mapping[str, Sequence[str]], ctx: Context) -> list[str]:
    """The days of the history that the line, else this shell means, the newest first."""
    from qtctl.history.folder import days_in
    from qtctl.settings.places import history_to_read

    with suppress(Exception):
        if "folder" in given:
            return days_in(Path(given["folder"][-1]))[::-1]
        sets = (*ctx.sets, *given.get("sets", ()))
        config = given.get("config", (ctx.config,))[-1]
        asked = Context(config=config, sets=sets, environ=ctx.environ, print_warnings=False)
        return days_in(history_to_read(asked.settings.history, ctx.environ))[::-1]
    return []


def _deployments(given: Mapping[str, Sequence[str]]) -> list[str]:
    """What was deployed on this host, the newest first; nothing where that may not be read."""
    from qtctl.deploy.host import Host
    from qtctl.deploy.records import Records

    root = given.get("root", ("/",))[-1]
    with suppress(Exception):
        records = Records(Host(Path(root), live="root" not in given)).all()
        return [record.id for record in reversed(records)]
    return []


def _names(given: Mapping[str, Sequence[str]], look: str, head: str, ctx: Context) -> Answer:
    """What `look`, a function of `wire.queries.completion`, finds by the options on the line;
    asked in a thread, since the wait for a host that is gone can't be interrupted."""
    found: list[str] = []
    asked = Context(
        redis_url=given.get("redis_url", (ctx.redis_url,))[-1],
        config=given.get("config", (ctx.config,))[-1],
        context=given.get("context", (ctx.context,))[-1],
        sets=(*ctx.sets, *given.get("sets", ()), *WAIT),
        environ=ctx.environ,
        print_warnings=False,
    )

    def ask() -> None:
        from qtctl.wire.queries import completion

        # Whatever is wrong: the command itself reports it, when it is run.
        with suppress(Exception), asked.store(notice=False) as store:
            found.extend(getattr(completion, look)(store, head))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE_SEC)
    names = [name for name in list(found) if name.startswith(head) and _can_be_typed(name)]
    return Answer("words", [(name, "") for name in names])


def _can_be_typed(name: str) -> bool:
    """Nothing that could steer a terminal, that is taken for an option, or that stands for a bad
    byte."""
    return name.isprintable() and name[:1] != "-" and "\\" not in name


WORDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("serve", "SERVICE"): ("allocation", "governor", "recorder", "all"),
    ("config diff", "SERVICE"): ("allocation", "governor", "recorder"),
    ("logs", "SERVICE"): ("allocation", "governor", "recorder"),
    ("tail", "STREAM"): ("proposed", "plans", "events", "decisions", "passes", "rejected"),
    ("", "STREAM"): ("plans", "proposed", "events", "decisions", "passes", "rejected"),
    ("proof", "STEP"): ("step1", "step2", "all"),
    ("bench", "SUITE"): ("allocation", "governor", "governors", "latency", "memory", "publishing",
                         "startup", "history", "evidence", "all"),
    ("inject plan", "SIDE"): ("BUY", "SELL"),
    ("history export", "TABLE"): ("decisions", "proposals", "passes", "events", "rejected",
                                  "services", "servers", "halts", "gaps"),
}  # fmt: skip
"""Fixed words, by the command ("" is any) and the metavar of the argument or option."""
SETTINGS: dict[str, tuple[str, Callable[[], Iterable[Option]]]] = {
    "KEY": ("words", _keys),
    "SECTION.KEY=VALUE": ("open", _assignments),
    "KEY=VALUE": ("open", _limits),
}
CONTEXT = "CONTEXT"
DEPLOYMENT = ("rollback", "ID")
HISTORY_DAY = ("history show", "DAY")
HELP = ("help", "COMMAND")
NAMES: dict[tuple[str, str], str] = {
    ("resume", "SYMBOL"): "halted",
    ("", "SYMBOL"): "symbols",
    ("permit show", "ID"): "permits",
    ("permit take", "ID"): "permits",
    ("plan show", "ID"): "plan_ids",
    ("plan explain", "ID"): "plan_ids",
    ("", "GROUP"): "groups",
}
"""Arguments whose values are asked of Redis; as in WORDS."""
