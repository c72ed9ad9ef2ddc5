"""The metrics port under more clients than there are descriptors: the loops go on."""

import contextlib
import resource
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from qtctl.domain.entry_ids import ms_of
from qtctl.supervisor.health import MOST_CONNECTIONS, is_own_host
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import DECISION
from tests.services.helpers import send
from tests.supervisor.fakes import FakeService, fetch, running
from tests.support.plans import fields
from tests.support.processes import QTCTL, process, until

CLIENTS = 1_600
DESCRIPTORS = 1_024


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Enough of them for the clients, in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * CLIENTS:
        pytest.skip(f"only {hard} descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * CLIENTS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_slow_clients_without_number_cost_neither_closes_nor_descriptors(
    redis_url: str, store: Store
) -> None:
    limited = f'ulimit -n {DESCRIPTORS}; exec "$@"'
    argv = ["sh", "-c", limited, "sh", *QTCTL, "serve", "governor", "--redis-url", redis_url]
    argv += ["--name", "test", "--set", "governor.metrics_port=0"]
    with process(argv) as child, contextlib.ExitStack() as stack:
        record = store.keys.service("governor", "test")
        metrics = until(lambda: store.run("HGET", record, "metrics"))
        port = int(metrics.rpartition(b":")[2])
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        time.sleep(1)
        # The connection to Redis is lost as well: a new one needs a descriptor.
        store.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        waited = []
        for number in range(5):
            plan = fields(plan_id=f"close-{number}", action="FULL_CLOSE", reduceOnly="true")
            waited.append(queued_sec(store, plan))
            taken = len(list(Path(f"/proc/{child.pid}/fd").iterdir()))
            assert taken <= MOST_CONNECTIONS + 32
            time.sleep(0.5)
        # A machine that is busy may stop it once.
        assert median(waited) < 1.2, waited
        stack.close()
        assert until(lambda: fetch(port, "/livez")[0] == 200)
        assert "watchdog" not in child.stderr


def queued_sec(store: Store, plan: dict[str, str]) -> float:
    """How long a plan is queued until it is permitted, by the server's clock."""
    decision = store.keys.at(DECISION, plan["plan_id"])
    queued = ms_of(send(store, plan)) / 1000
    until(lambda: store.run("HGET", decision, "verdict") == b"permitted")
    return float(store.run("HGET", decision, "decided_at")) - queued


def test_one_who_asks_is_answered_among_slow_clients() -> None:
    with running(FakeService()) as run, contextlib.ExitStack() as stack:
        port = run.ports["allocation"]
        for _ in range(2 * MOST_CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)).send(b"GET /")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=30) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:8044", True),
        ("10.1.2.3", True),
        ("[::1]:8044", True),
        ("[2001:db8::7]", True),
        ("localhost:8044", True),
        ("LOCALHOST", True),
        ("quantum-1:8044", True),
        ("", True),
        (socket.gethostname(), True),
        ("metrics.example.org:8044", True),
        ("qtctl.attacker.example", False),
        ("127.0.0.1.attacker.example:8044", False),
        ("localhost.attacker.example", False),
        ("a:b:c.d", False),
    ],
)
def test_hosts_that_can_only_mean_this_one(host: str, ours: bool) -> None:
    assert is_own_host(host, "metrics.example.org") is ours


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/"])
def test_a_name_that_is_not_ours_reads_nothing(path: str) -> None:
    with running(FakeService()) as run:
        port = run.ports["allocation"]
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: rebound.example:{port}\r\n\r\n".encode())
            answer = client.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.0 403 ")
        assert b"fake_" not in answer
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            assert client.makefile("rb").read().startswith(b"HTTP/1.0 200 ")
