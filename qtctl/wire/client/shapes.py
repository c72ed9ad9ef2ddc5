"""What Redis answers to each command that we send, so that whatever else answers is found at once.

Only types and the form of ids and times are looked at: the content of keys is data, and is judged
where it is read. A command that is not named here is not looked at.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from redis.exceptions import RedisError

from qtctl.wire.client.skimmer import Head, Part

Command = tuple[Any, ...] | bytes
"""A command as words, or already packed (`packing.py` packs what is written often)."""
Shape = Callable[[Any], bool]
"""True for a reply as Redis gives it."""
_ID = re.compile(r"\d{1,20}-\d{1,20}\Z", re.ASCII)
_ID_BYTES = re.compile(rb"\d{1,20}-\d{1,20}\Z")
_TEXT = frozenset({bytes, str, Head})
_MAYBE = frozenset({*_TEXT, type(None)})
_PACKED = frozenset({bytes})
_KINDS = {int: "an integer", type(None): "nothing"}


class OddReplyError(RedisError):
    """A reply of a kind that Redis does not give to this command."""


def is_text(reply: Any) -> bool:
    return type(reply) in _TEXT


def is_text_or_nothing(reply: Any) -> bool:
    return type(reply) in _MAYBE


def is_number(reply: Any) -> bool:
    return type(reply) is int


def is_list(reply: Any) -> bool:
    return isinstance(reply, list)


def are_texts(reply: Any) -> bool:
    return isinstance(reply, list) and _TEXT.issuperset(map(type, reply))


def are_texts_or_nothing(reply: Any) -> bool:
    return isinstance(reply, list) and _MAYBE.issuperset(map(type, reply))


def are_pairs(reply: Any) -> bool:
    """Texts in pairs: name, value, name, value, …"""
    return are_texts(reply) and (len(reply) % 2 == 0 or isinstance(reply, Part))


def are_entries(reply: Any) -> bool:
    """Of a stream: each has an id, and fields or (deleted while pending) none."""
    return isinstance(reply, list) and all(map(_is_entry, reply))


def are_streams(reply: Any) -> bool:
    """Streams by name, each with entries; or nothing new. A plan alone waits for each call made
    from here on."""
    if reply is None:
        return True
    if not isinstance(reply, list) or not reply:
        return False
    for each in reply:
        if not isinstance(each, list) or len(each) != 2 or type(each[0]) not in _TEXT:
            return False
        if not are_entries(each[1]):
            return False
    return True


def is_page(reply: Any) -> bool:
    """A cursor, and what is on the page."""
    return is_list(reply) and len(reply) == 2 and _is_decimal(reply[0]) and are_texts(reply[1])


def is_claim(reply: Any) -> bool:
    """A cursor, entries (or nothing, where they are gone), and ids of those that are gone."""
    return (
        isinstance(reply, list)
        and len(reply) in (2, 3)
        and is_id(reply[0])
        and isinstance(reply[1], list)
        and all(each is None or _is_entry(each) for each in reply[1])
        and all(map(are_texts, reply[2:]))
    )


def are_rows(*fields: str) -> Shape:
    """Rows, each a flat list of names and values, with these among the names."""
    return lambda reply: isinstance(reply, list) and all(_has(row, fields) for row in reply)


def is_row(*fields: str) -> Shape:
    """One of them."""
    return lambda reply: _has(reply, fields)


def is_pending(reply: Any) -> bool:
    """The summary of a group, or entries with consumer, idle time and deliveries."""
    if not isinstance(reply, list):
        return False
    if len(reply) == 4 and is_number(reply[0]):
        return is_text_or_nothing(reply[1]) and (reply[3] is None or isinstance(reply[3], list))
    return all(
        isinstance(row, list) and list(map(type, row[2:])) == [int, int] and are_texts(row[:2])
        and is_id(row[0])
        for row in reply
    )  # fmt: skip


def is_id(reply: Any) -> bool:
    """The id of an entry."""
    return is_text(reply) and _ID.match(_as_text(reply)) is not None


def is_anything(_reply: Any) -> bool:
    return True


_XINFO = {
    "GROUPS": are_rows("name", "pending", "last-delivered-id"),
    "CONSUMERS": are_rows("name", "pending", "idle"),
    "STREAM": is_row("length", "first-entry", "last-entry", "last-generated-id"),
}
_CLIENT = {"ID": is_number, "TRACKING": is_text, "TRACKINGINFO": is_row("flags", "redirect")}
SHAPES: Mapping[str, Shape | dict[str, Shape]] = {
    **dict.fromkeys(
        ("DBSIZE", "DECR", "DEL", "EXISTS", "EXPIRE", "HDEL", "HSET", "HSETNX", "INCR", "PTTL",
         "TTL", "UNLINK", "XACK", "XDEL", "XLEN", "XTRIM", "ZADD", "ZCARD", "ZCOUNT", "ZREM"),
        is_number,
    ),
    **dict.fromkeys(("INFO", "PING", "SCRIPT", "TYPE"), is_text),
    **dict.fromkeys(("DUMP", "GET", "HGET", "SET"), is_text_or_nothing),
    **dict.fromkeys(("ZRANGE", "ZREVRANGE"), are_texts),
    **dict.fromkeys(("HMGET", "MGET"), are_texts_or_nothing),
    **dict.fromkeys(("SCAN", "ZSCAN"), is_page),
    **dict.fromkeys(("XRANGE", "XREVRANGE"), are_entries),
    **dict.fromkeys(("XREAD", "XREADGROUP"), are_streams),
    "CLIENT": _CLIENT,
    "CLUSTER": is_list,
    "HGETALL": are_pairs,
    "MEMORY": lambda reply: reply is None or is_number(reply),
    "ROLE": lambda reply: is_list(reply) and bool(reply) and is_text(reply[0]),
    "SENTINEL": are_pairs,
    "TIME": lambda reply: are_texts(reply) and len(reply) == 2 and all(map(_is_decimal, reply)),
    "XADD": is_id,
    "XAUTOCLAIM": is_claim,
    "XINFO": _XINFO,
    "XPENDING": is_pending,
    "ZMSCORE": lambda reply: are_texts_or_nothing(reply) and all(map(_is_score, reply)),
}  # fmt: skip
_ONE_EACH = frozenset({"HMGET", "ZMSCORE"})
"""A reply for each word behind the key."""
SCRIPTS: Mapping[str, Shape] = {
    "acknowledge": is_number,
    "commit_permit": lambda reply: are_words(reply, 2, (int,)) or reply == [b"score"],
    "drop_consumers": are_texts,
    "drop_empty": is_number,
    "halt": lambda reply: are_words(reply, 4),
    "inject_clear": is_text,
    "inject_hash": lambda reply: (
        are_words(reply, 1, (int,)) and starts(reply, free=1, written=1, refused=3)
    ),
    "probe_step": is_text,
    "reject_plan": is_text,
    "resume": lambda reply: are_words(reply, 1) and starts(reply, refused=3, nothing=1, resumed=2),
    "set_back_group": lambda reply: reply is None or are_words(reply, 3),
    "take_permit": lambda reply: is_text_or_nothing(reply) or are_pairs(reply),
    "withdraw_open": is_text,
}
"""Of our own scripts."""


def are_words(reply: Any, least: int, more: tuple[type, ...] = ()) -> bool:
    """So many texts at least; behind them these types too."""
    if not is_list(reply) or len(reply) < least:
        return False
    return are_texts(reply[:least]) and {*_TEXT, *more}.issuperset(map(type, reply[least:]))


def starts(reply: Sequence[bytes | str], **least: int) -> bool:
    """One of these words comes first, and so many in all at least."""
    return len(reply) >= least.get(_as_text(reply[0]), len(reply) + 1)


def check(command: Command, reply: Any) -> None:
    """Raises OddReplyError for a reply that Redis does not give to the command; an error reply is
    always one that it may give. Of packed commands only HMGET is looked at."""
    if isinstance(reply, Exception):
        return
    if isinstance(command, bytes):
        if b"HMGET" in command[:16]:
            wanted = int(command[1 : command.index(b"\r")]) - 2
            if not are_texts_or_nothing(reply) or len(reply) != wanted:
                raise odd("HMGET", reply)
        return
    name = str(command[0])
    shape = SHAPES.get(name)
    if shape is None:
        return
    if isinstance(shape, dict):
        name = f"{name} {command[1]}"
        shape = shape.get(str(command[1]).upper(), is_anything)
    fits = shape(reply)
    if fits and name in _ONE_EACH:
        fits = len(reply) == len(command) - 2
    if fits and name[0] == "Z" and "WITHSCORES" in command:
        fits = len(reply) % 2 == 0 and all(map(_is_score, reply[1::2]))
    if not fits:
        raise odd(name, reply)


def check_all(commands: Sequence[Command], replies: Sequence[Any]) -> None:
    """The same for many. Where all are packed it costs next to nothing: of HMGET it is seen that
    there are texts, and whoever reads them knows how many there must be."""
    if not _PACKED.issuperset(map(type, commands)):
        for command, reply in zip(commands, replies, strict=True):
            check(command, reply)
    elif commands and b"HMGET" in commands[0][:16]:
        lists = [reply for reply in replies if isinstance(reply, list)]
        if not _MAYBE.issuperset(map(type, chain.from_iterable(lists))):
            raise odd("HMGET", lists)
        if len(lists) < len(replies):
            for reply in replies:
                if not isinstance(reply, list | Exception):
                    raise odd("HMGET", reply)


def check_script(name: str, reply: Any) -> None:
    """The same for the reply to one of our scripts."""
    shape = SCRIPTS.get(name, is_anything)
    if not isinstance(reply, Exception) and not shape(reply):
        raise odd(f"EVALSHA (our script {name})", reply)


def odd(command: str, reply: Any) -> OddReplyError:
    """The error for a reply that Redis does not give."""
    kind = "a list" if isinstance(reply, list) else _KINDS.get(type(reply), "a text")
    return OddReplyError(f"it answers {command} with {kind}, as Redis never does")


def _is_entry(each: Any) -> bool:
    if not isinstance(each, list) or len(each) != 2:
        return False
    id_, fields = each
    if _ID_BYTES.match(id_) is None if type(id_) is bytes else not is_id(id_):
        return False
    if fields is None:
        return True
    if not isinstance(fields, list) or not _TEXT.issuperset(map(type, fields)):
        return False
    return len(fields) % 2 == 0 or isinstance(fields, Part)


def _has(row: Any, fields: Sequence[str]) -> bool:
    if not isinstance(row, list) or len(row) % 2 or not are_texts(row[::2]):
        return False
    return {*fields} <= {*map(_as_text, row[::2])}


def _is_score(reply: bytes | str | None) -> bool:
    try:
        float(reply or 0)
    except ValueError:
        return False
    return True


def _is_decimal(reply: Any) -> bool:
    return is_text(reply) and _as_text(reply).isdecimal()


def _as_text(reply: bytes | str) -> str:
    return reply if isinstance(reply, str) else reply.decode("ascii", "backslashreplace")
