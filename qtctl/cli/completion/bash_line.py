"""A command line that is still being typed in bash: its words, and how a value is put into it."""

from typing import NamedTuple

PLAIN = frozenset("_.,:@%/+=-")
"""What means nothing to a shell, beside letters and digits."""
_ENDS = frozenset(";|&()<>\n")
"""The command ends here, or a file is meant."""


class Typed(NamedTuple):
    """words: those before the cursor as the shell would take them, without expansions; the last is
    the one being typed. replaced: the part of the last that bash replaces begins behind so many of
    its characters. quoted: a quote is open there. mixed: a quote was closed in it, which bash and
    readline see differently. ended: the command ends before, or what is typed is the file of a
    redirection."""

    words: list[str]
    replaced: int
    quoted: bool
    mixed: bool
    ended: bool


def typed(line: str, breaks: str) -> Typed:
    """Reads a line up to the cursor. breaks: COMP_WORDBREAKS, where bash begins what it replaces,
    also in the middle of a word."""
    words, word, begun = [], "", False
    quote, replaced, mixed, ended = "", 0, False, False
    rest = iter(line)
    for char in rest:
        if quote and char == quote:
            quote, mixed = "", True
        elif quote == "'":
            word += char
        elif char == "\\":
            following = next(rest, "")
            # Within double quotes it is a backslash, but before these.
            word += following if not quote or following in '"\\$`' else char + following
            begun = True
        elif quote:
            word += char
        elif char in "'\"":
            quote, begun, replaced = char, True, len(word)
        elif char in " \t":
            if begun:
                words.append(word)
            word, begun, replaced, mixed = "", False, 0, False
        else:
            ended = ended or char in _ENDS
            word, begun = word + char, True
            if char in breaks:
                replaced = len(word)
    return Typed([*words, word], replaced, bool(quote), mixed, ended)


def put(value: str, into: Typed) -> str | None:
    """What stands for a value, from where bash replaces, with a backslash before whatever means
    something to a shell; None where that can't be put there, as within quotes."""
    if into.mixed or not value.startswith(into.words[-1]):
        return None
    rest = value[into.replaced :]
    if into.quoted:
        return rest if all(_is_plain(char) for char in rest) else None
    return "".join(char if _is_plain(char) else f"\\{char}" for char in rest)


def _is_plain(char: str) -> bool:
    return char.isalnum() or char in PLAIN
