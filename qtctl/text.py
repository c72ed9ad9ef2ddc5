"""Makes text from outside safe to print: nothing in it can move the cursor or start a new line."""

import unicodedata


def escape(text: str) -> str:
    r"""`text` on one line, with every character that is not plainly visible escaped.

    Escaped as `\xNN`, `\uNNNN` or `\UNNNNNNNN`: C0 controls, DEL and C1 (terminal control),
    Unicode format characters (bidi overrides, zero-width marks), line and paragraph separators,
    lone surrogates, private-use and unassigned characters. Letters, signs and blanks of any
    script stay as they are, and so does a backslash: the result is for reading, not for parsing.
    """
    if text.isprintable():
        return text
    return "".join(char if _visible(char) else _escaped(char) for char in text)


def _visible(char: str) -> bool:
    # Blanks other than U+0020 (the ideographic space of Chinese text) don't count as printable.
    return char.isprintable() or unicodedata.category(char) == "Zs"


def _escaped(char: str) -> str:
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    return f"\\U{code:08x}"
