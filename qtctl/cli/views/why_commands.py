"""The command that `qtctl why` ends with: how to fix the cause, or shows more."""

import shlex

from qtctl.cli.views.why_narrator import Narrator
from qtctl.domain.causes import Cause
from qtctl.domain.diagnosis import Kill
from qtctl.domain.gates import GATES
from qtctl.domain.names import plan_id_problem
from qtctl.domain.reasons import Reason
from qtctl.wire.schema.keys import CLOCK_JUMP, HALT_KEPT


def next_command(cause: str, it: Narrator) -> str:
    """The command that fixes it, or shows more."""
    facts = it.facts
    if facts.wrong_types and cause == Cause.PLAN_WAITING:
        return "qtctl doctor"
    if cause in (Cause.HALTED, Cause.REDUCE_ONLY) and not _is_ours(facts.kill):
        return "qtctl doctor"
    command = COMMANDS.get(cause)
    if command is not None:
        by_clock = facts.kill.key.endswith(CLOCK_JUMP.template)
        resumed = resume(facts.kill.symbol, clock=by_clock)
        return command.format(
            symbol=shell_word(facts.symbol),
            since=_typed(facts.since_sec),
            resume=resumed.removeprefix("resume "),
        )
    if facts.last is None or plan_id_problem(facts.last.plan_id) is not None:
        return f"qtctl tail plans -n 20 {shell_word(facts.symbol)}"
    verb = "permit show" if cause in _PERMITS_THERE else "plan show"
    return f"qtctl {verb} {_what_if(cause, it)}{shell_word(facts.last.plan_id)}"


_RESUME = "qtctl resume {resume}"
COMMANDS: dict[str, str] = {
    Cause.HALTED: _RESUME,
    Cause.REDUCE_ONLY: _RESUME,
    Cause.NO_GOVERNOR: "qtctl doctor",
    Cause.GOVERNOR_STUCK: "qtctl doctor",
    Cause.GOVERNOR_NOT_READY: "qtctl doctor",
    Cause.PLAN_WAITING: "qtctl group list",
    Cause.OTHERS_WAITING: "qtctl doctor",
    Cause.PLAN_IDS: "qtctl doctor",
    Cause.NO_TARGET: "qtctl target list",
    Cause.TARGET_UNREADABLE: "qtctl target list {symbol}",
    Cause.TARGET_STALE: "qtctl target list {symbol}",
    Cause.UNREADABLE_PLANS: "qtctl tail rejected",
    Cause.NO_PLAN: "qtctl tail plans -n 3 {symbol}",
    Cause.ALL_SKIPPED: "qtctl tail plans -n 20 {symbol}",
    Cause.PERMIT_WITHDRAWN: "qtctl tail events {symbol}",
    Cause.PERMIT_LATE: "qtctl group list",
    Cause.VERDICT_UNKNOWN: "qtctl tail events",
    Cause.SOME_BLOCKED: "qtctl plan list --blocked --since {since} {symbol}",
    Reason.INVALID_PLAN: "qtctl tail rejected {symbol}",
    # The decision is about the first plan of that id.
    Reason.DUPLICATE_PLAN: "qtctl tail plans -n 20 {symbol}",
    Reason.PLAN_CONFLICT: "qtctl tail plans -n 20 {symbol}",
}
"""Where something other than the plan or the permit shows more."""
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))
_BY_WORD = {str(gate.reason): gate for gate in GATES}
_PERMITS_THERE = (Cause.PERMIT_OPEN, Cause.PERMIT_UNTAKEN)


def shell_word(text: str) -> str:
    """A name that others chose, as one harmless word at the end of a command line."""
    return f"-- {shlex.quote(text)}" if text.startswith("-") else shlex.quote(text)


def _typed(seconds: float) -> str:
    """An age as somebody would type it: `1h`, `90`."""
    whole = round(seconds)
    return next(
        (f"{whole // size}{unit}" for size, unit in _UNITS if whole % size == 0), f"{whole}"
    )


def _is_ours(kill: Kill) -> bool:
    """True if `resume` lifts it; what another system has set is not ours to take back: doctor
    names its owner."""
    return kill.since is not None or kill.key.endswith(HALT_KEPT.template)


def resume(symbol: str = "", *, clock: bool = False) -> str:
    """The command that lifts a halt, or the quarantine after a jump of the clock, without `qtctl`;
    the same words wherever it is offered."""
    reason = "--reason '…'"
    if clock:
        return f"resume --clock {reason}"
    if symbol.startswith("-"):
        return f"resume {reason} {shell_word(symbol)}"
    return f"resume {shell_word(symbol)} {reason}" if symbol else f"resume {reason}"


def _what_if(cause: str, it: Narrator) -> str:
    """For rates: the least limits under which it would have passed; nothing where another gate
    blocks it as well, whatever these limits are."""
    failed = [(check, _BY_WORD.get(str(check.reason))) for check in it.facts.failed]
    if not failed or cause != str(failed[0][0].reason):
        return ""
    asked = ""
    for check, gate in failed:
        if gate is None or gate.wait is None:
            return ""
        assert isinstance(check.value, int | float), "it blocked by a number"
        value = int(check.value) if gate.riskier == "down" else int(check.value) + 1
        asked += f"--what-if {gate.limits[0]}={value} "
    return asked
