"""The files that are installed: units/ and etc/, from the checkout or from the installed wheel."""

import pwd
import sys
from functools import cache
from pathlib import Path

import qtctl
from qtctl.deploy import units
from qtctl.errors import QtctlError, RefusedError

BIN = "/usr/local/bin/qtctl"
"""Where the units expect qtctl."""
CONFIG_FILES = ("qtctl.toml", "allocation-target.env", "governor.env")
HIDDEN = ("/tmp", "/var/tmp")
"""A service has private folders under these names."""
_HOMES = ("/home", "/root", "/run/user")
_UNUSABLE = frozenset(" \t\n\r:\\'\"%")


def folder(name: str) -> Path:
    """`units` or `etc`. Errors: QtctlError where the installation is incomplete."""
    package = Path(qtctl.__file__).parent
    for place in (package / "packaged" / name, package.parent / name):
        if place.is_dir():
            return place
    raise QtctlError(f"{name}/ is not part of this installation in {package}: install qtctl again")


@cache
def unit_texts() -> dict[str, str]:
    """The text of each unit, by its name."""
    place = folder("units")
    return {unit: (place / unit).read_text(encoding="utf-8") for unit in units.UNITS}


@cache
def lines() -> frozenset[str]:
    """Every line of the files that come with qtctl: no secret is among them."""
    etc = folder("etc")
    texts = [(etc / name).read_text(encoding="utf-8") for name in CONFIG_FILES]
    return frozenset(line for text in (*texts, *unit_texts().values()) for line in text.split("\n"))


def program(*, staged: bool = False) -> Path:
    """The qtctl of this installation, which is what the services will run. Errors: RefusedError
    where there is none, or the services could not see it; a staged copy is not checked for that."""
    path = Path(sys.prefix) / "bin" / "qtctl"
    if not path.is_file():
        raise RefusedError(f"{path} does not exist: install qtctl with pip into {sys.prefix}")
    for needed in _needed():
        elsewhere = "install it elsewhere (python3 -m venv /opt/qtctl)"
        if not staged and any(needed.is_relative_to(hidden) for hidden in HIDDEN):
            what = f"qtctl runs from {needed}, and a service has a /tmp of its own"
            raise RefusedError(f"{what}: {elsewhere}")
        if _UNUSABLE & set(str(needed)):
            what = f"qtctl runs from {str(needed)!r}, which a unit file can't name"
            raise RefusedError(f"{what}: {elsewhere}")
    return path


def owner_warning() -> str | None:
    """What root should know before it runs a program that somebody else can change."""
    path = program(staged=True).resolve()
    owner = path.stat().st_uid
    if owner == 0:
        return None
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = str(owner)
    return f"{path} belongs to {name}, who can thus change what root and the services run"


def home_dropin() -> str | None:
    """What opens qtctl's own folders to the services, where they are below /home; else None."""
    opened = [path for path in _needed() if any(map(path.is_relative_to, _HOMES))]
    if not opened:
        return None
    lines = "".join(f"BindReadOnlyPaths={path}\n" for path in opened)
    return (
        "# qtctl is installed below a home directory. The service sees these folders there,\n"
        "# read-only, and nothing else. Written by `qtctl deploy`.\n"
        f"[Service]\nProtectHome=tmpfs\n{lines}"
    )


def _needed() -> list[Path]:
    """The folders that a service must read to run this qtctl, none inside another."""
    package = Path(qtctl.__file__).parent
    found = {Path(each).resolve() for each in (sys.prefix, sys.base_prefix, package)}
    return sorted(each for each in found if found.isdisjoint(each.parents))
