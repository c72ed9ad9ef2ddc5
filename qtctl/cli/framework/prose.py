"""Prose on a terminal: broken between words, and never inside a command that somebody may copy."""

import os
import re
import sys
from typing import TextIO

_WORD = re.compile(r"(\s*)(\(?'[^']*'\S*|\S+)")
_INDENT = "  "


def fitted(text: str, on: TextIO | None = None) -> str:
    """A line for stderr, or another stream: as it is, or where that is a terminal, in lines that
    fit it."""
    stream = sys.stderr if on is None else on
    try:
        width = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return text
    return "\n".join(lines(text, width)) if width else text


def lines(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters, the first excepted all indented; what stands in single
    quotes stays together, and a word that is longer stays whole."""
    out = [""]
    for blanks, word in _WORD.findall(text):
        if len(out[-1]) + len(blanks) + len(word) <= width or not out[-1].strip():
            out[-1] += blanks + word
        else:
            out.append(_INDENT + word)
    return out
