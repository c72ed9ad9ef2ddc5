"""The files that are installed: units/ and etc/, from the checkout or from the installed wheel."""

import pwd
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path, PurePath, PurePosixPath

import qtctl
from qtctl.deploy import units
from qtctl.errors import QtctlError, RefusedError

BIN = "/usr/local/bin/qtctl"
"""Where the units expect qtctl."""
CONFIG_FILES = ("qtctl.toml", "allocation-target.env", "governor.env")
SYSUSERS = "etc/sysusers.d/qtctl.conf"
PREFIX = "/opt/qtctl"
"""Where qtctl is installed on a host that another one stages for, unless --prefix names another."""
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


def sysusers_file() -> Path:
    """Where the file about the user of the services is in this installation."""
    return folder("etc").parent / SYSUSERS


@cache
def sysusers() -> str:
    """The text of the file about the user of the services."""
    return sysusers_file().read_text(encoding="utf-8")


@cache
def lines() -> frozenset[str]:
    """Every line of the files that come with qtctl: no secret is among them."""
    etc = folder("etc")
    texts = [(etc / name).read_text(encoding="utf-8") for name in CONFIG_FILES]
    texts.append(sysusers())
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


def staged_program(root: Path, prefix: str | None) -> PurePosixPath:
    """The qtctl of the host that a folder is staged for: in `prefix`, else this one if it is in the
    folder, else in PREFIX. The stager's own place means nothing there."""
    own = Path(sys.prefix).resolve()
    if prefix is None and own.is_relative_to(root):
        prefix = f"/{own.relative_to(root)}"
    return PurePosixPath(prefix or PREFIX) / "bin" / "qtctl"


def warnings() -> Iterator[str]:
    """What root should know before it has services run this program: somebody else can change it;
    the services can't read it."""
    path = program(staged=True).resolve()
    owner = path.stat().st_uid
    if owner != 0:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        yield f"{path} belongs to {name}, who can thus change what root and the services run"
    for needed in _needed():
        # systemd itself opens what is below a home directory.
        above = () if any(map(needed.is_relative_to, _HOMES)) else needed.parents
        shut = [each for each in (*above, needed) if not each.stat().st_mode & 0o001]
        if shut or not needed.stat().st_mode & 0o004:
            place = (*shut, needed)[0]
            yield f"the services can't read {needed}: chmod -R go+rX {place}"


def home_dropin(staged: PurePosixPath | None = None) -> str | None:
    """What opens qtctl's own folders to the services, where they are below /home; else None.
    staged: the program on another host, of which nothing else is known."""
    needed: Sequence[PurePath] = _needed() if staged is None else [staged.parents[1]]
    opened = [path for path in needed if any(map(path.is_relative_to, _HOMES))]
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
