"""Fixtures of the services' tests."""

from collections.abc import Iterator

import pytest

from qtctl.services.governor import Governor
from qtctl.wire.client.store import Store
from tests.services.helpers import governor


@pytest.fixture
def gov(store: Store) -> Iterator[Governor]:
    """An open governor."""
    made = governor(store)
    made.open()
    yield made
    made.close()
