"""The usual decision, without its record: what a replay of many of them needs, straight from the
columns. Whatever is unusual (a field that is missing, is no number, or stands as text in `exact`)
goes by the record."""

from qtctl.domain import numbers
from qtctl.domain.gates import Facts
from qtctl.domain.reasons import Kind
from qtctl.history.decisions import Decision
from qtctl.history.texts import Loose

_LEVELS = ("0", "1", "2")
_FLAGS = frozenset({"0", "1"})
_FAR_SEC = 1e12


def facts(decision: Decision) -> Facts | None:
    """The facts of a decision whose record has all of them; None where that must be looked up."""
    own = decision.profile
    decided_after, queue_ms = decision.decided_after_ms, decision.queue_age_ms
    if (
        decision.exact is not None
        or decided_after is None
        or queue_ms is None
        or own.kind not in (Kind.OPEN, Kind.CLOSE)
        or own.kill_level not in _LEVELS
        or not _FLAGS.issuperset((own.queued_before_server, own.permitted_before, own.clock_jump))
    ):
        return None
    counts = (decision.opens_5min, decision.opens_1h, decision.opens_total_5min)
    if own.kind == Kind.OPEN and None in counts:
        return None
    try:
        qty, price = _number(decision.qty_text), _number(decision.price_text)
        kill_score, planned = _number(decision.kill_score_text), _number(decision.plan_at_text)
    except ValueError:
        return None
    if planned is not None and abs(planned) > _FAR_SEC:
        return None
    opened, closed = decision.last_open_age_ms, decision.last_close_age_ms
    return Facts(
        symbol=decision.symbol,
        kind=Kind.OPEN if own.kind == Kind.OPEN else Kind.CLOSE,
        queue_age_sec=queue_ms / 1000,
        kill_key=own.kill_key,
        kill_value=own.kill_value,
        kill_level=int(own.kill_level),
        queued_before_server=own.queued_before_server == "1",
        permitted_before=own.permitted_before == "1",
        clock_jump=own.clock_jump == "1",
        plan_age_sec=None
        if planned is None
        else (decision.at_ms + decided_after - round(planned * 1000)) / 1000,
        kill_score=kill_score,
        qty=qty,
        price=price,
        last_open_age_sec=None if opened is None else opened / 1000,
        last_close_age_sec=None if closed is None else closed / 1000,
        opens_5min=counts[0] or 0,
        opens_1h=counts[1] or 0,
        opens_total_5min=counts[2] or 0,
    )


def _number(value: Loose) -> float | None:
    """Errors: ValueError for a text that is no number."""
    if value is None:
        return None
    if not isinstance(value, str):
        return float(value)
    found = numbers.number(value)
    if found is None:
        raise ValueError(value)
    return found
