"""A command line that is still being typed in bash: its words, and how a value is put into it."""

from typing import NamedTuple

PLAIN = frozenset("_.,:@%/+=-")
"""What means nothing to a shell, beside letters and digits."""
_ENDS = frozenset(";|&()<>\n")
"""The command ends here, or a file is meant."""


class Typed(NamedTuple):
    """words: those before the cursor as the shell would take them, without expansions; the last is
    the one being typed. replaced: the part of the last that bash replaces begins behind so many of
    its characters. quoted: a quote is open there. plain: nothing in it has a meaning to the shell
    that is not known here."""

    words: list[str]
    replaced: int
    quoted: bool
    plain: bool


def typed(line: str, breaks: str) -> Typed:
    """Reads a line up to the cursor. breaks: COMP_WORDBREAKS, where bash begins what it replaces,
    also in the middle of a word."""
    words, word, begun = [], "", False
    quote, replaced, plain = "", 0, True
    rest = iter(line)
    for char in rest:
        if quote and char == quote:
            quote = ""
        elif quote == "'":
            word += char
        elif char == "\\":
            following = next(rest, "")
            # Within double quotes it is a backslash, but before these.
            word += following if not quote or following in '"\\$`' else char + following
            begun = True
        elif quote:
            plain = plain and char not in "$`"
            word += char
        elif char in "'\"":
            quote, begun, replaced = char, True, len(word)
        elif char in " \t":
            if begun:
                words.append(word)
            word, begun, replaced = "", False, 0
        else:
            plain = plain and char not in "$`" and char not in _ENDS
            word, begun = word + char, True
            if char in breaks:
                replaced = len(word)
    return Typed([*words, word], replaced, bool(quote), plain)


def put(value: str, into: Typed) -> str | None:
    """What stands for a value, from where bash replaces; None where it can't be put there.

    Whatever is no letter, digit or plain sign gets a backslash, so that the shell takes the value
    for one word and carries nothing out. Within quotes that would be another value: only plain
    ones can go there.
    """
    if not value.startswith(into.words[-1]):
        return None
    rest = value[into.replaced :]
    if into.quoted:
        return rest if all(char.isalnum() or char in PLAIN for char in rest) else None
    quoted = "".join(char if char.isalnum() or char in PLAIN else f"\\{char}" for char in rest)
    return quoted
