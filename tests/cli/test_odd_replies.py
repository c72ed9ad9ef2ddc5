"""What answers speaks Redis's protocol and gives replies that Redis never gives: 3, and which.

Never an internal error, whatever the command and whatever the reply.
"""

from collections.abc import Iterator

import hiredis
import pytest

from qtctl.simulate import demo_traffic
from qtctl.wire.client import shapes
from qtctl.wire.client.store import Store
from qtctl.wire.private_server.embedded import Embedded
from qtctl.wire.private_server.folder import SOCKET
from tests.services.helpers import governor, send, serve_all
from tests.support.cli import Cli
from tests.support.plans import fields
from tests.support.proxy import Proxy

LINES = (
    "status", "doctor", "target list", "eff list", "permit list", "permit show {id}", "plan list",
    "plan show {id}", "tail plans", "tail events -o json", "why BTCUSDT", "group list",
    "stream list", "permit take {id} --force", "inject eff XUSDT 0.2", "inject plan XUSDT --force",
    "inject clear", "halt BTCUSDT --reason x --force", "resume BTCUSDT --yes --reason x",
    "halt --dry-run", "serve governor --once", "serve allocation --once",
    "group recover --dry-run", "top -n 1",
)  # fmt: skip
ODD = {
    "an integer": b":7\r\n",
    "a status": b"+OK\r\n",
    "nothing": b"$-1\r\n",
    "an empty list": b"*0\r\n",
    "a list of one": b"*1\r\n$1\r\nx\r\n",
    "lists in a list": b"*2\r\n*1\r\n:1\r\n*1\r\n:2\r\n",
}
TOLERANT = ("doctor", "top", "status")
"""They show what they could not read, or go on with the rest."""
ASIDE = ("GET", "HGETALL", "SCRIPT", "DEL")
"""Of a banner, of a script that is known already, and of a record at the end."""
NOT_ASIDE = (("GET", "permit", "show"), ("HGETALL", "plan", "show"))


@pytest.fixture
def proxy(server: Embedded, store: Store) -> Iterator[Proxy]:
    """In front of a server with something of everything."""
    demo_traffic.scores_and_targets(store)
    judging = governor(store)
    judging.open()
    send(store, fields(plan_id="p1", symbol="BTCUSDT"))
    serve_all(judging)
    judging.close()
    with Proxy(server.directory / SOCKET) as through:
        yield through


def odd(name: str, answer: bytes) -> bool:
    """True where Redis never answers any form of this command so."""
    reader = hiredis.Reader()
    reader.feed(answer)
    reply = reader.gets()
    shape = shapes.SHAPES.get(name)
    if shape is None:
        return False
    forms = shape.values() if not callable(shape) else [shape]
    return not any(form(reply) for form in forms)


@pytest.mark.parametrize("line", LINES)
def test_a_reply_of_a_wrong_kind_is_no_internal_error(
    proxy: Proxy, store: Store, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    cli, words = Cli(proxy.url, capsys), line.format(id="p1").split()
    cli(*words)
    for name in sorted({*proxy.seen} - {"EXPIRE", "MULTI", "CLIENT", "SUBSCRIBE", "SELECT"}):
        for kind, answer in ODD.items():
            proxy.answers, proxy.answered = {name: answer}, 0
            said = cli(*words)
            shown = said.out + said.err
            assert "internal error" not in shown, (line, name, kind, said)
            if not proxy.answered or (name in ASIDE and (name, *words[:2]) not in NOT_ASIDE):
                continue
            if odd(name, answer) and words[0] not in TOLERANT:
                assert said.code == 3, (line, name, kind, said)
                assert "does not behave like Redis: it answers " + name in shown, (name, kind)
