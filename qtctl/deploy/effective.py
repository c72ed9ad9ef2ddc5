"""The settings that the services would have by the files of a host, before and after a change."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qtctl.deploy import units
from qtctl.deploy.host import ABSENT, Host, State
from qtctl.errors import ConfigError, UsageError
from qtctl.settings import Loaded, contexts, load
from qtctl.settings.environment import parse, valid
from qtctl.settings.sources import DEFAULT_FILE, refuse_oversized


@dataclass(frozen=True)
class View:
    """The files of a host after changes (path to state)."""

    _host: Host
    _changes: Mapping[str, State]

    def read(self, path: str) -> State:
        """What will be at a path."""
        return self._changes[path] if path in self._changes else self._host.read(path)

    def text(self, path: str) -> str | None:
        """The text of a file, links followed where they stay on the host; None without one.
        Errors: ConfigError for one that no person has written."""
        state = self.read(path)
        if state.kind == "link":
            # One hop, and on this host: what a link in a staging folder means there.
            target = posixpath.join(posixpath.dirname(path), state.target)
            state = self.read(posixpath.normpath(target))
        if state.kind != "file":
            return None
        refuse_oversized(state.content, f"file {path}")
        return state.content.decode("utf-8", "backslashreplace")

    def names(self, folder: str) -> list[str]:
        """The names in a folder."""
        place = self._host.place(f"{folder}/x").parent
        there = {each.name for each in place.iterdir()} if place.is_dir() else set()
        for path, state in self._changes.items():
            above, _, name = path.rpartition("/")
            if above == folder:
                there = there - {name} if state == ABSENT else there | {name}
        return sorted(there)

    def enabled(self) -> list[str]:
        """Which of our units start at boot."""
        return [unit for unit in units.UNITS if links(self, unit)]


def links(view: View, unit: str) -> list[str]:
    """The links that make a unit start with a target: `…/multi-user.target.wants/UNIT`."""
    folders = [
        f"{units.FOLDER}/{name}"
        for name in view.names(units.FOLDER)
        if name.endswith((".wants", ".requires"))
    ]
    extra = [] if units.WANTS in folders else [units.WANTS]
    found = [f"{folder}/{unit}" for folder in [*folders, *extra]]
    return [path for path in found if view.read(path).kind != "absent"]


def effective(view: View, packaged: Mapping[str, str]) -> dict[str, Loaded]:
    """What `allocation` and `governor` run by: the settings of the unit that is enabled, else of
    the two separate ones. `packaged` has the text of units that are not installed.

    Errors: ConfigError for settings with which a service would not start.
    """
    enabled = view.enabled()
    if units.SINGLE in enabled and units.GOVERNOR not in enabled:
        both = of_unit(view, units.SINGLE, packaged)
        return {"allocation": both, "governor": both}
    loops = (units.ALLOCATION, units.GOVERNOR)
    return {units.SERVICE[unit]: of_unit(view, unit, packaged) for unit in loops}


def records(view: View, packaged: Mapping[str, str]) -> bool:
    """False where [history] enabled is false: then no recorder is to run by itself. True also for
    settings with which it would not start: the start says so."""
    try:
        return of_unit(view, units.RECORDER, packaged).settings.history.enabled
    except ConfigError:
        return True


def of_unit(view: View, unit: str, packaged: Mapping[str, str]) -> Loaded:
    """What a unit runs by; `packaged` has its text where it is not installed. Errors:
    ConfigError."""
    text = view.text(units.path_of(unit))
    texts = [packaged[unit] if text is None else text]
    texts += [view.text(path) or "" for path in units.dropins(unit, view.names)]
    found = units.sources(texts)
    environ = dict(found.variables)
    for path, _ in found.files:
        environ |= valid(parse(view.text(path) or ""))
    config = found.config or environ.pop("QTCTL_CONFIG", "") or str(DEFAULT_FILE)
    try:
        loaded = load(
            config=Path(config), content=view.text(config) or "", environ=environ,
            redis_url=found.redis_url, sets=found.sets, service=units.SERVICE[unit],
            context=found.context,
        )  # fmt: skip
        if loaded.context is not None:
            raise contexts.refused_by_services(loaded.context, loaded.context_origin)
        return loaded
    except (ConfigError, UsageError) as problem:
        why = str(problem).replace("(environment ", f"({unit}, ")
        raise ConfigError(f"{unit} would not start: {why}") from problem
