"""Where the history lies: what a unit, a shell and a setting make of it."""

from pathlib import Path

import pytest

from qtctl.settings import places
from qtctl.settings.model import History
from qtctl.settings.places import history_folder, history_to_read, state_directory
from tests.support.users import AS_ROOT, OPERATOR, as_user, open_folder

HOME = {"HOME": "/home/op"}
STATE = "/home/op/.local/state/qtctl"


@pytest.mark.parametrize(
    ("given", "state", "history"),
    [
        (None, STATE, f"{STATE}/history"),
        ("", STATE, f"{STATE}/history"),
        ("/s/qtctl", "/s/qtctl", "/s/qtctl/history"),
        ("/s/qtctl:/s/quantum-history", "/s/qtctl", "/s/quantum-history/history"),
        ("/s/quantum-history:/s/qtctl", "/s/qtctl", "/s/quantum-history/history"),
        # Nothing else than the history goes into its folder, which others may read.
        ("/s/quantum-history", STATE, "/s/quantum-history/history"),
        ("/s/a:/s/b", "/s/a", "/s/a/history"),
    ],
)
def test_the_folders_by_the_state_directory(given: str | None, state: str, history: str) -> None:
    environ = HOME | ({} if given is None else {"STATE_DIRECTORY": given})
    assert state_directory(environ) == Path(state)
    assert history_folder(History(), environ) == Path(history)
    assert history_folder(History(dir="/data/h"), environ) == Path("/data/h")


def test_a_reader_takes_the_setting_then_its_own_then_that_of_the_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units, own = tmp_path / "quantum-history" / "history", tmp_path / "state" / "qtctl" / "history"
    monkeypatch.setattr(places, "UNITS_HISTORY", units)
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    assert history_to_read(History(), environ) == own, "none is there: where one would be made"
    units.mkdir(parents=True)
    assert history_to_read(History(), environ) == units
    own.mkdir(parents=True)
    assert history_to_read(History(), environ) == own
    assert history_to_read(History(dir="/none"), environ) == Path("/none"), "never another one"


@AS_ROOT
def test_a_folder_of_the_units_that_may_not_be_entered_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open_folder() as folder:
        units = folder / "quantum-history" / "history"
        units.mkdir(parents=True)
        units.parent.chmod(0o750)
        monkeypatch.setattr(places, "UNITS_HISTORY", units)

        def read() -> str:
            return str(history_to_read(History(), {"XDG_STATE_HOME": "/nowhere"}))

        assert as_user(OPERATOR, OPERATOR, read) == str(units)
