"""One server of each kind for all tests here, emptied for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security import servers
from tests.security.servers import Redis


@pytest.fixture(scope="session")
def _valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with servers.valkey(_directory(tmp_path_factory)) as redis:
        yield redis


@pytest.fixture(scope="session")
def _debian_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with servers.debian_redis(_directory(tmp_path_factory)) as redis:
        yield redis


@pytest.fixture(params=["valkey", "redis-server"])
def redis(request: pytest.FixtureRequest) -> Redis:
    """A server with the users of etc/redis-acl.conf."""
    name = "_valkey" if request.param == "valkey" else "_debian_redis"
    found: Redis = request.getfixturevalue(name)
    found.empty()
    return found


def _directory(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("acl")
