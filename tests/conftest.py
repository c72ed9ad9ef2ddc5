"""A real server for the whole run, emptied for each test. A missing server fails the suite."""

import os
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import Embedded, temporary
from qtctl.wire.schema.keys import Keys

# A machine that is busy makes no test wrong, and neither does luck: the suite has the same examples
# each time, the long form others.
LONG = os.environ.get("TESTS_LONG") == "1"
settings.register_profile(
    "qtctl", deadline=None, suppress_health_check=[HealthCheck.too_slow],
    derandomize=not LONG, database=None,
)  # fmt: skip
settings.load_profile("qtctl")
# Where it is switched off, each process that a test starts would compile the whole of qtctl, and
# each worker all tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Settings of whoever runs the tests are not what is tested; children inherit the environment.
_SETTINGS = ("QTCTL_", "GOV_", "P31_", "REDIS_", "METRICS_")
for _name in [name for name in os.environ if name.startswith(_SETTINGS)]:
    del os.environ[_name]
os.environ["QTCTL_CONFIG"] = os.devnull
# Only tests of the recorder run one: it would write to the home of whoever runs the tests.
os.environ["QTCTL_HISTORY_ENABLED"] = "false"
# And one that runs all the same, without a folder of its own, fails: this one can't be made.
os.environ["XDG_STATE_HOME"] = f"{os.devnull}/state"


@pytest.fixture(scope="session")
def server() -> Iterator[Embedded]:
    """One private server for all tests."""
    with temporary() as embedded:
        # Opens of its first second that wait for a governor's first look are quarantined.
        time.sleep(1.01 - time.time() % 1)
        yield embedded


@pytest.fixture
def redis_url(server: Embedded) -> str:
    """Its URL; every test begins with an empty server."""
    store = Store(server.url, Keys())
    store.run("FLUSHALL")
    store.run("SCRIPT", "FLUSH")
    store.run("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
    store.close()
    return server.url


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """A connection to it with the usual names."""
    store = Store(redis_url, Keys())
    yield store
    store.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How long the loops took to find another primary: seen in every run."""
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in report.user_properties:
            if name == "recovery":
                terminalreporter.write_line(f"recovery, {value}")
