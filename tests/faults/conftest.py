"""Fixtures of the breaking tests."""

import logging

import pytest

from tests.faults.scenes import swift

__all__ = ["swift"]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of log lines about what was broken on purpose help nobody."""
    caplog.set_level(logging.CRITICAL, "qtctl")
