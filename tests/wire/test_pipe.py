"""What is sent ahead is answered in order, and nothing of it is taken for an answer to another."""

from collections.abc import Callable
from typing import Any

import pytest
from redis.connection import AbstractConnection

from qtctl.errors import RedisUnreachable, ServerRefusedError, WireError
from qtctl.wire.client.store import BATCH, Store


def test_replies_come_in_the_order_of_what_was_sent(store: Store) -> None:
    with store.pipe() as pipe:
        pipe.send([("SET", "a", 1), ("INCR", "a")])
        pipe.send([("INCR", "a"), ("GET", "a")], atomic=True)
        pipe.send([b"*1\r\n$4\r\nPING\r\n"])
        assert [pipe.receive() for _ in range(3)] == [[b"OK", 2], [3, b"3"], [b"PONG"]]


def test_an_error_stands_in_its_place(store: Store) -> None:
    store.run("SET", "text", "x")
    one, error, two = store.batch([("GET", "text"), ("INCR", "text"), ("STRLEN", "text")])
    assert (one, two) == (b"x", 1)
    assert "not an integer" in str(error)


def test_what_nobody_received_is_not_taken_for_the_next_answer(store: Store) -> None:
    with store.pipe() as pipe:
        pipe.send([("SET", "a", "old"), ("GET", "a")])
        pipe.send([("GET", "a")] * 3, atomic=True)
    assert store.run("PING") == b"PONG"


def test_a_multi_that_is_refused_leaves_the_others_and_the_connection_as_they_are(
    store: Store,
) -> None:
    refused = [("SET", "a", 1), ("NO_SUCH_COMMAND",)]

    def use() -> None:
        with store.pipe() as pipe:
            pipe.send(refused, atomic=True)
            pipe.send([("SET", "b", 1)])
            pipe.receive()

    with pytest.raises(ServerRefusedError):
        use()
    assert store.batch([("EXISTS", "a"), ("EXISTS", "b")]) == [0, 1]
    with pytest.raises(WireError):
        store.batch(refused * BATCH, atomic=True)
    assert store.run("PING") == b"PONG"


def test_after_an_error_of_ours_the_connection_is_a_new_one(store: Store) -> None:
    store.run("PING")
    before = store.generation

    def use() -> None:
        with store.pipe() as pipe:
            pipe.send([("GET", "a")])
            raise KeyError("ours")

    with pytest.raises(KeyError):
        use()
    assert store.run("PING") == b"PONG"
    assert store.generation == before + 1


def test_a_connection_that_is_cut_in_the_middle_is_no_answer(store: Store) -> None:
    identity = store.run("CLIENT", "ID")
    other = Store(store.url, store.keys)

    def use() -> None:
        with store.pipe() as pipe:
            pipe.send([("GET", "a")])
            pipe.receive()
            other.run("CLIENT", "KILL", "ID", identity)
            pipe.send([("GET", "a")])
            pipe.receive()

    with pytest.raises(RedisUnreachable):
        use()
    other.close()
    assert store.run("PING") == b"PONG"


def test_a_large_batch_comes_whole(store: Store) -> None:
    count = 5 * BATCH + 3
    assert store.batch([("ECHO", number) for number in range(count)]) == [
        str(number).encode() for number in range(count)
    ]


@pytest.mark.parametrize(
    "send",
    [
        lambda store: store.run("ECHO", "one"),
        lambda store: store.batch([("ECHO", "one")]),
        lambda store: store.ask(("ECHO", "one")),
    ],
    ids=["a command", "a batch", "a question"],
)
def test_an_interrupt_before_the_reply_leaves_none_for_the_next_command(
    store: Store, monkeypatch: pytest.MonkeyPatch, send: Callable[[Store], object]
) -> None:
    store.run("PING")

    def interrupted(self: AbstractConnection, *args: Any, **options: Any) -> None:
        sent(self, *args, **options)
        raise KeyboardInterrupt

    sent = AbstractConnection.send_packed_command
    with monkeypatch.context() as patch:
        patch.setattr(AbstractConnection, "send_packed_command", interrupted)
        with pytest.raises(KeyboardInterrupt):
            send(store)
    assert not store.asked
    assert store.run("ECHO", "two") == b"two"
