"""Where qtctl keeps what must outlive a process, by the environment."""

from collections.abc import Mapping
from pathlib import Path

from qtctl.errors import ConfigError
from qtctl.settings.model import History

HISTORY_STATE = "quantum-history"
"""The StateDirectory of the units that is for the history alone: group qt may read it."""
UNITS_HISTORY = Path("/var/lib") / HISTORY_STATE / "history"
"""Where the units keep it, which a shell does not know."""


def state_directory(environ: Mapping[str, str]) -> Path:
    """`$STATE_DIRECTORY` (the first that is not for the history, where systemd names several), else
    `$XDG_STATE_HOME/qtctl`, else `~/.local/state/qtctl`. Errors: ConfigError where there is no
    home."""
    given = [each for each in _given(environ) if each.name != HISTORY_STATE]
    if given:
        return given[0]
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
    """Where a recorder writes: [history] dir, else `history` in the `$STATE_DIRECTORY` named
    quantum-history, else in the state directory. Errors: as state_directory."""
    if history.dir:
        return Path(history.dir)
    own = [each for each in _given(environ) if each.name == HISTORY_STATE]
    return (own[0] if own else state_directory(environ)) / "history"


def history_to_read(history: History, environ: Mapping[str, str]) -> Path:
    """Where a reader looks: the same, but where nobody has set it and this user has none, that of
    the units on this host. Errors: as state_directory."""
    folder = history_folder(history, environ)
    if history.dir or _is_there(folder):
        return folder
    return UNITS_HISTORY if _is_there(UNITS_HISTORY) else folder


def _is_there(folder: Path) -> bool:
    """True also where this user may not look into it: reading it then gives the reason."""
    try:
        return folder.is_dir()
    except PermissionError:
        return True


def _given(environ: Mapping[str, str]) -> list[Path]:
    return [Path(each) for each in environ.get("STATE_DIRECTORY", "").split(":") if each]
