"""Makes text from outside safe to print: nothing in it can move the cursor or start a new line."""

import re
import unicodedata

INVISIBLE = (
    "[\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ue000-\uf8ff\ufdd0-\ufdef"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]"
)
"""What shows nothing, or changes what is shown, as a pattern (help pages do without it, so it is
compiled at its first use): controls from DEL on, format characters, all that Unicode calls
default-ignorable (tags and variation selectors can carry a text that nobody sees), blanks that look
like none, private use, noncharacters."""


def escape(text: str) -> str:
    r"""`text` on one line, with every character that is not plainly visible escaped.

    Escaped as `\xNN`, `\uNNNN` or `\UNNNNNNNN`: C0 controls, DEL and C1 (terminal control),
    Unicode format characters (bidi overrides, zero-width marks, tags, variation selectors), line
    and paragraph separators, lone surrogates, private-use and unassigned characters. Letters, signs
    and blanks of any script stay as they are, and so does a backslash: the result is for reading,
    not for parsing.
    """
    if text.isprintable() and (text.isascii() or re.search(INVISIBLE, text) is None):
        return text
    return "".join(char if _visible(char) else _escaped(char) for char in text)


def _visible(char: str) -> bool:
    # Blanks other than U+0020 (the ideographic space of Chinese text) don't count as printable.
    visible = char.isprintable() or unicodedata.category(char) == "Zs"
    return visible and re.match(INVISIBLE, char) is None


def _escaped(char: str) -> str:
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    return f"\\U{code:08x}"
