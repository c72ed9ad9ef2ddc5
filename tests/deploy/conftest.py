"""Hosts to deploy to."""

from pathlib import Path

import pytest

from tests.deploy.hosts import Live, Staging


@pytest.fixture
def staging(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Staging:
    """An empty staging folder."""
    return Staging(tmp_path / "stage", capsys)


@pytest.fixture
def live(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Live:
    """A host on which nothing is installed yet."""
    return Live(tmp_path, capsys, monkeypatch)
