"""What an installation puts at each path of a host, before it is known what is there."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from qtctl.deploy import effective, packaged, units, users
from qtctl.deploy.host import ABSENT, Host, State
from qtctl.errors import ConfigError, RefusedError, UsageError
from qtctl.settings.import_env import Note, notes_of

CONFIG_FOLDER = "/etc/quantum"
DROPIN = "qtctl-home.conf"

Owner = tuple[int, int] | None


@dataclass(frozen=True)
class Choices:
    """What the operator asked for. layout: a key of units.LAYOUTS, None for the one in use.
    settings: a folder whose files replace those of /etc/quantum, None to keep them. prefix: where
    qtctl will be on the host that a folder is staged for."""

    layout: str | None = None
    settings: Path | None = None
    restart: bool = False
    prefix: str | None = None


def on_disk(
    host: Host, now: effective.View, choices: Choices, root: Owner, ours: Owner
) -> tuple[dict[str, State], list[str]]:
    """What will be at each path, in the order of installation; and what is kept. root: the owner of
    what is installed; ours: of what only the services may read."""
    wanted: dict[str, State] = {}
    kept = []
    for path, content, asked in _config(choices):
        there = now.read(path)
        if there == ABSENT or asked:
            wanted[path] = State("file", content, mode=0o640, owner=ours)
        elif there.content != content:
            kept.append(path)
    wanted[users.PATH] = State("file", packaged.sysusers().encode(), mode=0o644, owner=root)
    program = _program(host, choices)
    dropin = packaged.home_dropin(None if host.live else program)
    for unit, text in packaged.unit_texts().items():
        if now.read(units.path_of(unit)).target == "/dev/null":
            raise RefusedError(f"{unit} is masked; to allow it: systemctl unmask {unit}")
        wanted[units.path_of(unit)] = State("file", text.encode(), mode=0o644, owner=root)
        path = f"{units.path_of(unit)}.d/{DROPIN}"
        if dropin is not None:
            wanted[path] = State("file", dropin.encode(), mode=0o644, owner=root)
        elif now.read(path) != ABSENT:
            wanted[path] = ABSENT
    ours_there = host.live and Path(program).resolve() == host.place(packaged.BIN)
    if not ours_there and str(program) != packaged.BIN:
        wanted[packaged.BIN] = State("link", target=str(program), owner=root)
    return wanted, kept


def _program(host: Host, choices: Choices) -> PurePosixPath:
    if host.live:
        return PurePosixPath(packaged.program())
    return packaged.staged_program(host.root, choices.prefix)


def _config(choices: Choices) -> Iterable[tuple[str, bytes, bool]]:
    """Path, content, and whether it replaces what is there, of each file of settings. Errors:
    UsageError where the folder that was named has none of them."""
    ours = packaged.folder("etc")
    given = choices.settings
    if given is not None and not any((given / name).is_file() for name in packaged.CONFIG_FILES):
        raise UsageError(f"{given} has none of {', '.join(packaged.CONFIG_FILES)}")
    for name in packaged.CONFIG_FILES:
        named = given is not None and (given / name).is_file()
        source = given / name if given is not None and named else ours / name
        try:
            yield f"{CONFIG_FOLDER}/{name}", source.read_bytes(), named
        except OSError as problem:
            raise UsageError(f"{source} can't be read: {problem.strerror}") from problem


def notes(choices: Choices) -> list[Note]:
    """What importing the EnvironmentFiles of the operator's folder would say: a service that reads
    them leaves out the same."""
    if choices.settings is None:
        return []
    found: list[Note] = []
    paths = (choices.settings / name for name in packaged.CONFIG_FILES if name.endswith(".env"))
    for path in filter(Path.is_file, paths):
        # What can't be read as a whole is refused with the unit that would not start.
        with suppress(ConfigError):
            found += notes_of(path)
    return found


def enabling(now: effective.View, enabled: Sequence[str], owner: Owner) -> dict[str, State]:
    """The links that start our units at boot, as `systemctl enable` makes them."""
    wanted: dict[str, State] = {}
    for unit in units.UNITS:
        if unit not in enabled:
            wanted |= dict.fromkeys(effective.links(now, unit), ABSENT)
        elif not effective.links(now, unit):
            target = units.path_of(unit)
            wanted[f"{units.WANTS}/{unit}"] = State("link", target=target, owner=owner)
    return wanted
