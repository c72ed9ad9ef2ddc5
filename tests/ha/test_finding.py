"""What is said where the primary can't be found."""

import pytest

from qtctl.errors import RedisUnreachable, UsageError
from qtctl.wire.client.connect import Access
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import temporary
from qtctl.wire.schema.keys import Keys
from tests.support.cli import Cli
from tests.support.guard import guarded
from tests.support.nodes import SERVICE, Node
from tests.support.ports import free_ports


def refused(url: str) -> str:
    with pytest.raises(RedisUnreachable) as caught:
        Store(url, Keys("{quantum}:")).run("PING")
    return str(caught.value)


def test_a_plain_server_is_neither_a_sentinel_nor_a_node_of_a_cluster() -> None:
    port = free_ports(1)[0]
    with temporary(port=port):
        at = f"127.0.0.1:{port}"
        assert f"{at} is no sentinel" in refused(f"redis+sentinel://{at}/x")
        assert f"{at} is no node of a cluster" in refused(f"redis+cluster://{at}")


def test_each_that_was_asked_is_named() -> None:
    one, two = free_ports(2)
    said = refused(f"redis+sentinel://127.0.0.1:{one},127.0.0.1:{two}/x")
    assert f"no Redis at redis://127.0.0.1:{one}" in said
    assert f"no Redis at redis://127.0.0.1:{two}" in said


def test_a_sentinel_that_knows_another_service_or_a_dead_primary() -> None:
    sentinel, dead = free_ports(2)
    with guarded() as guard:
        node = Node(guard, "sentinel", sentinel, [f"sentinel monitor {SERVICE} 127.0.0.1 {dead} 1"])
        node.start("--sentinel")
        at = f"127.0.0.1:{sentinel}"
        assert f"{at} knows no service 'nope'" in refused(f"redis+sentinel://{at}/nope")
        assert f"no Redis at redis://127.0.0.1:{dead}" in refused(
            f"redis+sentinel://{at}/{SERVICE}"
        )
        # And the wrong way round: a plain URL that leads to a sentinel.
        with pytest.raises(RedisUnreachable, match=r"does not know TIME.*redis\+sentinel://host"):
            Store(f"redis://{at}", Keys()).run("TIME")
        node.kill()


def test_servers_and_sentinels_each_have_a_login_of_their_own() -> None:
    server, sentinel = free_ports(2)
    with guarded() as guard:
        primary = Node(guard, "server", server, ["user ops on >pw ~* &* +@all", "user default off"])
        asked = Node(
            guard, "sentinel", sentinel,
            [f"sentinel monitor {SERVICE} 127.0.0.1 {server} 1", "requirepass other",
             f"sentinel auth-user {SERVICE} ops", f"sentinel auth-pass {SERVICE} pw"],
        )  # fmt: skip
        primary.start(login="ops:pw@")
        asked.start("--sentinel", login=":other@")
        at = f"127.0.0.1:{sentinel}/{SERVICE}"
        keys = Keys()
        store = Store(f"redis+sentinel://ops:pw@{at}?sentinel_password=other", keys)
        assert store.run("PING") == b"PONG"
        store.close()
        access = Access(username="ops", password=lambda: "pw")
        store = Store(f"redis+sentinel://{at}?sentinel_password=other", keys, access=access)
        assert store.run("ACL", "WHOAMI") == b"ops"
        store.close()
        assert "refuses the login" in refused(f"redis+sentinel://ops:pw@{at}")
        said = refused(f"redis+sentinel://ops:no@{at}?sentinel_password=other")
        assert f"redis://ops@127.0.0.1:{server}/0 refuses the login" in said
        primary.kill()
        asked.kill()


def test_a_bench_measures_one_server(capsys: pytest.CaptureFixture[str]) -> None:
    said = Cli("redis+sentinel://127.0.0.1:1/x", capsys)("bench", "latency")
    assert said.code == UsageError.exit_code
    assert "one server" in said.err
