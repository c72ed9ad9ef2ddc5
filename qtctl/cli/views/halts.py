"""What is stopped, by whom and why, in words: for the notice that every command gives while it
lasts, and for `halt` and `resume`."""

from collections.abc import Sequence

from qtctl.cli.framework import arguments
from qtctl.cli.framework.context import Context
from qtctl.cli.output import format
from qtctl.errors import UsageError
from qtctl.operator import user_at_host
from qtctl.settings.rules import rules_from
from qtctl.wire.control.clock_jump import ClockJump
from qtctl.wire.control.halt import HaltRequest
from qtctl.wire.control.kill_switch import HaltRecord, KillKey
from qtctl.wire.schema.kill_names import KillNames

MAX_WHY_CHARS = 200
"""A reason is a sentence: it stands in every command's notice."""
_NAMED_SYMBOLS = 3


def notice(rows: Sequence[KillKey], utc: bool) -> str:
    """One line about all that is stopped: every key that is set, and who set it. "" where nothing
    is. The same line for the same stop, whenever it is asked for."""
    keys = [row for row in rows if row.mode.level and not row.symbol]
    symbols = [row for row in rows if row.mode.level and row.symbol]
    parts = [f"{_what(keys)}: " + "; ".join(describe(row, utc) for row in keys)] if keys else []
    parts += [f"{_what([row])} of {row.symbol}: {describe(row, utc)}" for row in symbols][
        :_NAMED_SYMBOLS
    ]
    if len(symbols) > _NAMED_SYMBOLS:
        parts.append(f"and of {len(symbols) - _NAMED_SYMBOLS} more symbols")
    return f"HALTED {'; '.join(parts)}" if parts else ""


def describe(row: KillKey, utc: bool) -> str:
    """One key that is set: its value, and who, why, since when and what was there before."""
    by = f" {by_whom(row.record, utc)}" if row.record else " (not set by qtctl halt)"
    return f"{row.key}={quoted(row.value)}{by}"


def by_whom(record: HaltRecord, utc: bool) -> str:
    """`since 2026-01-28 00:00:00Z by operator:alice@desk: the reason`."""
    why = f": {record.why}" if record.why else ""
    before = f" (before: {quoted(record.before)})" if record.before else ""
    return f"since {format.moment(record.since, utc)} by {record.who}{why}{before}"


def describe_jump(key: str, jump: ClockJump, utc: bool) -> str:
    """`opens are quarantined (quantum:governor:clock_jump): the clock of Redis jumped ahead …`."""
    by = f" by {format.span(jump.jump_sec)}" if jump.jump_sec else ""
    noticed = f", noticed {format.moment(jump.since_ms / 1000, utc)}" if jump.since_ms else ""
    who = f" by {jump.by}" if jump.by else ""
    return f"opens are quarantined ({key}): the clock of Redis jumped ahead{by}{noticed}{who}"


def request(ctx: Context, symbol: str | None, reason: str, *, revoke: bool = False) -> HaltRequest:
    """What is asked for, and by whom. Errors: UsageError, ConfigError."""
    # An argument may hold bytes that are no text, and Redis takes text; a reason is one line.
    why = " ".join(reason.encode("utf-8", "backslashreplace").decode().split())
    if len(why) > MAX_WHY_CHARS:
        raise UsageError(f"--reason is longer than {MAX_WHY_CHARS} characters")
    name = "" if symbol is None else arguments.symbol(symbol)
    governor = ctx.settings.governor
    who = f"operator:{user_at_host(ctx.environ)}"
    names = rules_from(governor, KillNames)
    return HaltRequest(who, why, names, governor.stream_maxlen, name, revoke)


def _what(rows: Sequence[KillKey]) -> str:
    return "opens and closes" if any(row.mode.level > 1 for row in rows) else "opens"


def quoted(value: str) -> str:
    """A value of a kill key, as every command shows it: key='value'."""
    return f"'{value}'"
