"""Commands as bytes for the wire. hiredis packs them, and must be given no number.

It takes the `repr` of a number without looking whether there is one (pack.c, up to 3.5.0). There is
none where a signal arrives within and its handler raises, as those of SIGTERM and Ctrl-C do: the
process then dies by SIGSEGV, and nothing is cleaned up.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import hiredis
import msgspec

Word = str | bytes
"""A word as hiredis may be given it."""


class Fixed(msgspec.Struct, frozen=True):
    """Words of many commands, packed once for all of them."""

    words: tuple[str, ...]
    packed: bytes


Part = Sequence[Word] | Fixed
"""Some words of a command, packed already or not."""
_WORDS = frozenset({str, bytes})


def without_numbers(words: Iterable[Any]) -> tuple[Any, ...]:
    """The same words, numbers as text."""
    given = tuple(words)
    if _WORDS.issuperset(map(type, given)):
        return given
    return tuple([repr(each) if _is_number(each) else each for each in given])


def fixed(words: Iterable[str]) -> Fixed:
    """These, packed."""
    given = tuple(words)
    return Fixed(given, packed_words(given))


def texts(part: Sequence[str] | Fixed) -> list[str]:
    """The words of a part that is text, not packed."""
    return [*(part.words if isinstance(part, Fixed) else part)]


def packed_parts(parts: Iterable[Part]) -> bytes:
    """All words of these as they stand within a command."""
    return b"".join(
        [part.packed if isinstance(part, Fixed) else packed_words(part) for part in parts]
    )


def words_of(parts: Iterable[Part]) -> list[Word]:
    """The same, not packed."""
    out: list[Word] = []
    for part in parts:
        out += part.words if isinstance(part, Fixed) else part
    return out


def packed_words(words: Sequence[Word]) -> bytes:
    """Words as they stand within a command."""
    whole: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]
    return whole.partition(b"\n")[2]


def packed(words: Sequence[Word], more: int = 0) -> bytes:
    """A command as it stands on the wire, of which so many more words follow."""
    whole: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]
    if not more:
        return whole
    return b"*%d\r\n" % (len(words) + more) + whole.partition(b"\n")[2]


def _is_number(word: Any) -> bool:
    """True for what hiredis takes for a number; it refuses what derives from int, a bool too."""
    return type(word) is int or isinstance(word, float)
