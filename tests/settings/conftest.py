"""No test here sees a file of this machine."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for /etc/quantum/qtctl.toml; not there unless a test writes it."""
    path = tmp_path / "etc" / "qtctl.toml"
    path.parent.mkdir()
    monkeypatch.setattr("qtctl.settings.sources.DEFAULT_FILE", path)
    return path
