"""What is installed on this host: our units, their EnvironmentFiles, and the settings by them."""

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from qtctl.deploy import effective, units
from qtctl.deploy.host import Host
from qtctl.errors import ConfigError, QtctlError
from qtctl.settings import RECORDER, SERVICES, Loaded, Settings
from qtctl.settings.environment import parse, valid

_SERVER_UNITS = ("redis-server.service", "redis.service", "valkey-server.service", "valkey.service")
_UNIT_FOLDERS = ("/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system")


class EnvFile(msgspec.Struct, frozen=True):
    """An EnvironmentFile of a unit, path: where it really is (in a staging folder, too). text: None
    where it is not there; problem: why it can't be read."""

    path: str
    optional: bool
    text: str | None
    problem: str = ""

    @property
    def variables(self) -> dict[str, str]:
        """Its variables, as systemd reads them."""
        return valid(parse(self.text or ""))


class Installed(msgspec.Struct, frozen=True):
    """An installed unit. services: what it runs; enabled: does it start at boot; settings: what
    each service would run by, {} where it would not start (`problem` says why), or where
    the files may not be read (`unreadable`)."""

    unit: str
    services: tuple[str, ...]
    enabled: bool
    files: tuple[EnvFile, ...]
    settings: dict[str, Loaded]
    problem: str = ""
    unreadable: str = ""


def installed(host: Host) -> list[Installed]:
    """Our units on a host, those that start at boot first. Never raises: what can't be read is
    reported as a problem."""
    view = effective.View(host, {})
    found = []
    for unit in units.UNITS:
        try:
            text = view.text(units.path_of(unit))
            enabled = unit in view.enabled()
        except QtctlError as problem:
            found.append(Installed(unit, _services(unit), False, (), {}, unreadable=str(problem)))
            continue
        if text is not None:
            found.append(_installed(host, view, unit, text, enabled))
    return sorted(found, key=lambda each: not each.enabled)


def of_service(found: Sequence[Installed], service: str) -> list[tuple[str, Settings]]:
    """The units that run a service, and the settings by which each would start."""
    return [(it.unit, it.settings[service].settings) for it in found if service in it.settings]


def server_unit(host: Host) -> str:
    """The unit of a Redis that is installed on a host, "" for none."""
    for folder in _UNIT_FOLDERS:
        for unit in _SERVER_UNITS:
            with suppress(QtctlError, OSError):
                if host.place(f"{folder}/{unit}").exists():
                    return unit
    return ""


def _installed(host: Host, view: effective.View, unit: str, text: str, enabled: bool) -> Installed:
    services, problem, unreadable = _services(unit), "", ""
    settings: dict[str, Loaded] = {}
    files: Sequence[EnvFile] = ()
    try:
        texts = [text, *(view.text(path) or "" for path in units.dropins(unit, view.names))]
        files = [_file(host, view, *each) for each in units.sources(texts).files]
        loaded = effective.of_unit(view, unit, {unit: text})
        settings = dict.fromkeys(services, loaded)
    except ConfigError as trouble:
        problem = str(trouble)
    except (QtctlError, OSError) as trouble:
        unreadable = str(trouble)
    return Installed(unit, services, enabled, tuple(files), settings, problem, unreadable)


def _file(host: Host, view: effective.View, path: str, optional: bool) -> EnvFile:
    try:
        return EnvFile(str(host.place(path)), optional, view.text(path))
    except (QtctlError, OSError) as problem:
        return EnvFile(path, optional, None, str(problem))


def _services(unit: str) -> tuple[str, ...]:
    name = units.SERVICE[unit]
    return (*SERVICES, RECORDER) if name == "all" else (name,)
