"""The four units, the two ways to run them, and where an installed unit gets its settings.

A unit file is read as systemd reads it: drop-ins after it, an empty assignment clears what came
before. Only what determines settings is read. See systemd.syntax(7), systemd.exec(5).
"""

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

FOLDER = "/etc/systemd/system"
WANTS = f"{FOLDER}/multi-user.target.wants"
ALLOCATION = "quantum-allocation-target.service"
GOVERNOR = "quantum-governor.service"
RECORDER = "quantum-recorder.service"
SINGLE = "qtctl.service"
UNITS = (ALLOCATION, GOVERNOR, RECORDER, SINGLE)
"""In the order in which they start: a recorder that does not start keeps nobody else from it."""
LAYOUTS = {"separate": (ALLOCATION, GOVERNOR, RECORDER), "together": (SINGLE,)}
SERVICE = {ALLOCATION: "allocation", GOVERNOR: "governor", RECORDER: "recorder", SINGLE: "all"}

_OPTIONS = {
    "--config": "config", "--context": "context", "--redis-url": "redis_url", "--set": "sets",
}  # fmt: skip


def path_of(unit: str) -> str:
    """Where the file of a unit is installed."""
    return f"{FOLDER}/{unit}"


@dataclass
class Sources:
    """Where a service takes its settings from, by its unit. files: EnvironmentFiles in order, each
    with whether it may be missing. The rest are options, named as in `settings.load`."""

    variables: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, bool]] = field(default_factory=list)
    config: str | None = None
    context: str | None = None
    redis_url: str | None = None
    sets: tuple[str, ...] = ()


def sources(texts: Iterable[str]) -> Sources:
    """Read a unit's file and its drop-ins, in this order."""
    found = Sources()
    command = ""
    for key, value in _assignments(texts):
        if key == "Environment":
            pairs = (word.partition("=") for word in _words(value))
            more = {name: text for name, equals, text in pairs if equals}
            found.variables = {**found.variables, **more} if value else {}
        elif key == "EnvironmentFile":
            file = (value.removeprefix("-"), value.startswith("-"))
            found.files = [*found.files, file] if value else []
        elif key == "ExecStart":
            command = value
    _read_command(found, _words(command))
    return found


def dropins(unit: str, listed: Callable[[str], Sequence[str]]) -> list[str]:
    """The paths of a unit's drop-ins; `listed` gives the names in a folder."""
    folder = f"{path_of(unit)}.d"
    return [f"{folder}/{name}" for name in sorted(listed(folder)) if name.endswith(".conf")]


def _assignments(texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Assignments of the [Service] section."""
    for text in texts:
        section = ""
        for line in _lines(text):
            if line.startswith("["):
                section = line
            elif section == "[Service]" and "=" in line:
                key, _, value = line.partition("=")
                yield key.strip(), value.strip()


def _lines(text: str) -> Iterable[str]:
    """Lines without comments, continued ones as one. A comment does not end a continued line."""
    pending = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith(("#", ";")):
            continue
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        if pending or line:
            yield (pending + line).strip()
        pending = ""
    if pending:
        yield pending.strip()


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _read_command(found: Sources, words: Sequence[str]) -> None:
    """The options of `qtctl serve` among the words of a command."""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name not in _OPTIONS:
            continue
        given = value if equals else next(rest, "")
        if name == "--set":
            found.sets = (*found.sets, given)
        else:
            setattr(found, _OPTIONS[name], given)
