"""The colours of words that stand in several tables. They only underline what the text says."""

from typing import Any

_VERDICTS = {
    "permitted": "green",
    "blocked": "red",
    "rejected": "red",
    "withdrawn": "yellow",
    "pass": "green",
    "PASS": "green",
    "FAIL": "bold red",
    "UNSURE": "yellow",
}


def verdict_style(value: Any) -> str:
    """The colour of a verdict, of what became of a permit, or the result of a check."""
    return _VERDICTS.get(str(value), "")


def reason_style(value: Any) -> str:
    """The colour of what a score counts as."""
    return {"ok": "green", "": "", None: ""}.get(value, "yellow")


def action_style(value: Any) -> str:
    """The colour of the size hint in a permit."""
    return "yellow" if value == "DOWNSIZE" else ""


def lifetime_style(ttl_sec: Any) -> str:
    """The colour of a permit's lifetime: one that never expires should not exist."""
    return "red" if ttl_sec == -1 else ""
