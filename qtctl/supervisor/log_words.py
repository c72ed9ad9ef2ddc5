"""A decision in a few words: verdict, plan, symbol, reason, and the hint of a permit.

::

    12:00:01Z permitted open  p1                   BTCUSDT    ok, DOWNSIZE × 0.4444 + 66 s

The whole record stays in the fields of the journal and in the other formats of the log.
"""

import unicodedata
from collections.abc import Mapping
from typing import Final

from qtctl.text import escape

LOGGER: Final = "decisions"
"""The source of the lines that are decisions."""
MOST_PLAN, LEAST_PLAN = 36, 12
"""Cells for a plan_id: a UUID has 36."""
SYMBOL_WIDTH, MOST_SYMBOL = 10, 20
BESIDE_PLAN = 60
"""Cells that verdict, symbol and the longest reason take beside it."""
CUT = "…"


def verdict(message: str) -> str:
    """`permitted`, `blocked` or `rejected`, from the message of the line."""
    return message.removeprefix("plan ")


def words(message: str, fields: Mapping[str, str]) -> str:
    """A decision without its time, uncut: what the journal has as its message."""
    parts = (verdict(message), fields.get("kind"), _name(fields), fields.get("symbol"), why(fields))
    return escape(" ".join(part for part in parts if part))


def line(message: str, fields: Mapping[str, str], width: int) -> tuple[str, str, str]:
    """The same in columns, in at most `width` cells: verdict, then plan and symbol, then why. What
    is too long loses its middle (plan, symbol) or its end."""
    head = _padded(f"{verdict(message):<9} {fields.get('kind', ''):<5}", 15)
    symbol = _padded(shortened(escape(fields.get("symbol", "")), MOST_SYMBOL), SYMBOL_WIDTH)
    cause, plan = escape(why(fields)), escape(_name(fields))
    usual = min(MOST_PLAN, max(LEAST_PLAN, width - BESIDE_PLAN))
    spare = width - cells(head) - cells(symbol) - cells(cause) - 3
    room = max(LEAST_PLAN, min(spare, max(usual, cells(plan))))
    plan = _padded(shortened(plan, room), min(room, usual))
    rest = width - cells(head) - cells(symbol) - cells(plan) - 3
    return head, f"{plan} {symbol}", _without_end(cause, rest)


def why(fields: Mapping[str, str]) -> str:
    """The reason, and what a score makes of a permit's size."""
    reason = fields.get("reason", "")
    if reason != "ok":
        problem = fields.get("problem", "")
        return f"{reason}: {problem}" if problem else reason
    if fields.get("eff_action") == "DOWNSIZE":
        cooldown = fields.get("extra_cooldown_sec", "")
        more = f" + {cooldown} s" if cooldown not in ("", "0") else ""
        return f"ok, DOWNSIZE × {fields.get('eff_factor', '')}{more}"
    hint = fields.get("eff_reason", "")
    return "ok, full size" + (f" ({hint})" if hint not in ("", "ok") else "")


def cells(text: str) -> int:
    """What a text takes on a terminal, or a bit more."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def shortened(text: str, most: int) -> str:
    """A name without its middle where it is too long, since ids differ at both ends."""
    if cells(text) <= most:
        return text
    head, tail = text[: len(text) // 2], text[len(text) // 2 :]
    while cells(head) + cells(tail) > most - 1:
        head, tail = (head[:-1], tail) if len(head) > len(tail) else (head, tail[1:])
    return head + CUT + tail


def _without_end(text: str, most: int) -> str:
    while text and cells(text) > most:
        text = text[:-2] + CUT if len(text) > 1 else ""
    return text


def _name(fields: Mapping[str, str]) -> str:
    """The plan_id; of a plan that could not be read, the id of its entry."""
    return fields.get("plan_id") or fields.get("entry_id", "")


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text))
