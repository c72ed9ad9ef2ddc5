"""What may be a symbol and what a plan_id.

Source: docs/rules.md#names.
"""

import re
import unicodedata

MAX_CHARS = 64
_GLOBS = frozenset("*?[]{}")
_PLAIN_SYMBOL = re.compile(rf"[0-9A-Za-z_./@+-]{{1,{MAX_CHARS}}}").fullmatch
_PLAIN_PLAN_ID = re.compile(rf"(?!p33:|p26:)[0-9A-Za-z_.:/@+-]{{1,{MAX_CHARS}}}").fullmatch
"""The common cases, in one call."""
PROOF_SYMBOLS = "QTPROOF"
"""What the symbols of `qtctl proof --live` begin with: no exchange has such ones."""
FOREIGN_PLAN_IDS = ("p33:", "p26:")
"""`permit:p33:*` and `permit:p26:*` belong to other systems."""


def symbol_problem(text: str) -> str | None:
    """What is wrong with a symbol, or None."""
    if _PLAIN_SYMBOL(text):
        return None
    if ":" in text:
        return "has a colon"
    return _name_problem(text)


def plan_id_problem(text: str) -> str | None:
    """What is wrong with a plan_id, or None."""
    if _PLAIN_PLAN_ID(text):
        return None
    if text.startswith(FOREIGN_PLAN_IDS):
        return "starts with the mark of another system's permits (p33:, p26:)"
    return _name_problem(text)


def _name_problem(text: str) -> str | None:
    if not text:
        return "is empty"
    if len(text) > MAX_CHARS:
        return f"is longer than {MAX_CHARS} characters"
    if text.isalnum():  # Letters and digits of any script.
        return None
    for char in text:
        if char.isspace():
            return "has whitespace in it"
        if char in _GLOBS:
            return f"has {char!r} in it"
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return "has a control character in it"
    return None


def ascii_upper(text: str) -> str:
    """With ASCII letters in upper case and everything else as it is."""
    return text.upper() if text.isascii() else text.encode().upper().decode()


def same_symbol(one: str, other: str) -> bool:
    """True for two spellings that the governor counts as one symbol."""
    return ascii_upper(one) == ascii_upper(other)
