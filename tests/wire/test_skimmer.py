"""What is read bit by bit is what hiredis reads, but for what is too long or too much."""

import random
from typing import Any

import pytest

from qtctl.errors import RedisUnreachable, ReplyTooLarge
from qtctl.wire.client import pipe as pipe_module
from qtctl.wire.client import skimmer
from qtctl.wire.client.pipe import Large
from qtctl.wire.client.skimmer import KEEP_BYTES, Head, Part
from qtctl.wire.client.store import Store

EVERYTHING = [
    ("SET", "text", "x"),
    ("GET", "text"),
    ("GET", "nothing"),
    ("INCR", "text"),
    ("INCR", "number"),
    ("RPUSH", "list", "", "a", b"\x00\r\n$5\r\n", "c" * 5_000),
    ("LRANGE", "list", 0, -1),
    ("XADD", "stream", "1-1", "name", "value", "name", ""),
    ("XADD", "stream", "1-2", "name", "x" * 70_000),
    ("XINFO", "STREAM", "stream"),
    ("XRANGE", "stream", "-", "+"),
    ("BLPOP", "none", "0.01"),
    ("EVAL", "return {1, {}, {2, false, {err = 'ERR inside'}}, 'end'}", 0),
    ("PING",),
]
NOT_TWICE = {"INCR", "RPUSH", "XADD"}


def plain(reply: Any) -> Any:
    """Errors are compared by their text."""
    if isinstance(reply, list):
        return [plain(each) for each in reply]
    return (type(reply), str(reply)) if isinstance(reply, Exception) else reply


@pytest.mark.parametrize("after_bytes", [0, 1, 20, 100, 5_000, 50_000, 100_000])
@pytest.mark.parametrize("atomic", [False, True])
def test_every_reply_is_what_it_would_have_been(
    store: Store, monkeypatch: pytest.MonkeyPatch, after_bytes: int, atomic: bool
) -> None:
    """Wherever the reading changes hands; the connection is good for the next command."""
    store.batch(EVERYTHING)
    again = [command for command in EVERYTHING if command[0] not in NOT_TWICE]
    expected = store.batch(again, atomic=atomic)
    monkeypatch.setattr(pipe_module, "LARGE_BYTES", after_bytes)
    monkeypatch.setattr(pipe_module, "_READ_BYTES", random.Random(after_bytes).randint(1, 3_000))
    for way in Large:
        assert plain(store.batch(again, atomic=atomic, large=way)) == plain(expected)
        assert store.run("PING") == b"PONG"


def test_of_a_long_value_the_beginning_is_kept(store: Store) -> None:
    long = random.Random(1).randbytes(3_000_000)
    store.run("RPUSH", "list", "before", long, long[:KEEP_BYTES], long[: KEEP_BYTES + 1], "behind")
    before, cut, whole, just, behind = store.reply(("LRANGE", "list", 0, -1), Large.SKIM)
    assert (before, whole, behind) == (b"before", long[:KEEP_BYTES], b"behind")
    for head, length in ((cut, 3_000_000), (just, KEEP_BYTES + 1)):
        assert isinstance(head, Head)
        assert head[:KEEP_BYTES] == long[:KEEP_BYTES]
        assert skimmer.length_of(head) == length
        with pytest.raises(UnicodeDecodeError):
            bytes(b"x" + head[KEEP_BYTES:]).decode()


def test_what_is_too_much_is_dropped_or_cut_off(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe_module, "MOST_BYTES", 2_000_000)
    store.run("RPUSH", "list", *["x" * 1_000] * 5_000)
    kept = store.reply(("LRANGE", "list", 0, -1), Large.SKIM)
    assert isinstance(kept, Part)
    assert 1_000_000 < sum(map(len, kept)) < 2_000_000
    assert store.run("PING") == b"PONG"
    before = store.generation
    with pytest.raises(ReplyTooLarge):
        store.reply(("LRANGE", "list", 0, -1), Large.CUT)
    assert store.run("PING") == b"PONG"
    assert store.generation == before + 1


def test_a_connection_that_ends_within_a_large_reply_is_no_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.run("RPUSH", "list", *["x" * 1_000_000] * 40)
    identity = store.run("CLIENT", "ID")
    other = Store(store.url, store.keys)

    def use() -> None:
        with store.pipe(large=Large.SKIM) as pipe:
            pipe.send([("LRANGE", "list", 0, -1)])
            other.run("CLIENT", "KILL", "ID", identity)
            pipe.receive()

    with pytest.raises(RedisUnreachable):
        use()
    other.close()
    assert store.run("PING") == b"PONG"
