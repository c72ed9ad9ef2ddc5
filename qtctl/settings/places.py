"""Where qtctl keeps what must outlive a process, by the environment."""

from collections.abc import Mapping
from pathlib import Path

from qtctl.errors import ConfigError
from qtctl.settings.model import History

UNITS_HISTORY = (Path("/var/lib/quantum-recorder/history"), Path("/var/lib/qtctl/history"))
"""Below the StateDirectory of the units, which a shell does not know."""


def state_directory(environ: Mapping[str, str]) -> Path:
    """`$STATE_DIRECTORY` (the first where systemd names several), else `$XDG_STATE_HOME/qtctl`,
    else `~/.local/state/qtctl`. Errors: ConfigError where there is no home."""
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    xdg = environ.get("XDG_STATE_HOME", "")
    if xdg.startswith("/"):  # XDG: a relative path must be ignored
        return Path(xdg) / "qtctl"
    try:
        home = Path(environ.get("HOME") or Path.home())
    except RuntimeError:  # a user id that no user has, as in a container
        raise ConfigError(
            "no HOME, and this user id has no home directory: set STATE_DIRECTORY to a folder for "
            "the embedded server and the history"
        ) from None
    return home / ".local" / "state" / "qtctl"


def history_folder(history: History, environ: Mapping[str, str]) -> Path:
    """[history] dir, else `history` in the state directory. Errors: as state_directory."""
    return Path(history.dir) if history.dir else state_directory(environ) / "history"


def history_to_read(history: History, environ: Mapping[str, str]) -> Path:
    """The folder to read: where nobody has set one and this user has none, that of the units."""
    folder = history_folder(history, environ)
    if history.dir or _is_there(folder):
        return folder
    return next((each for each in UNITS_HISTORY if _is_there(each)), folder)


def _is_there(folder: Path) -> bool:
    """True also where this user may not look into it: whoever reads it then is told why not."""
    try:
        return folder.is_dir()
    except PermissionError:
        return True
